"""Compaction that was asked for, and tombstones that are forgotten: of an embedded store, while others commit."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from btfproto.errors import StoreError
from btfproto.store import (
    Absent,
    BlockChange,
    Commit,
    Committed,
    EmbeddedStore,
    HeadWant,
    RecordRef,
    RecordRun,
)
from btlib.kinds import Kind

SEGMENT = 1 << 16
RECORD = 20_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path / "store", segment_size=SEGMENT)
    yield opened
    opened.close()


def block(number: int) -> bytes:
    return number.to_bytes(16, "little")


def content(number: int, version: int) -> bytes:
    return random.Random(number * 1000 + version).randbytes(RECORD)


def put(store: EmbeddedStore, number: int, version: int, *, removed: bool = False, turn: int = 0) -> None:
    change = BlockChange(
        block=block(number),
        expected=version - 1,
        version=version,
        signed=b"signed",
        removed=removed,
        runs=[] if removed else [RecordRun(0, 0, [content(number, version)])],
    )
    request = random.Random((turn * 100 + number) * 7919 + version).randbytes(16)
    assert isinstance(store.commit(Commit(request=request, changes=[change])), Committed)


def record(store: EmbeddedStore, number: int) -> object:
    return store.read_records(block(number), [RecordRef(0, 0)]).records[0]


def size(store: EmbeddedStore) -> int:
    return sum(path.stat().st_size for path in (store.directory / "segments").iterdir())


def test_dead_bytes_are_given_back_and_living_ones_stay(store: EmbeddedStore) -> None:
    for number in range(40):
        put(store, number, 1)
    for number in range(0, 40, 2):
        put(store, number, 2, removed=True)
    moving, dead = store.compactable(0.9)
    assert dead >= 20 * RECORD * 0.9
    assert sum(store.compact(0.9)) >= moving
    assert size(store) < 20 * (RECORD + 200)
    for number in range(1, 40, 2):
        assert record(store, number) == content(number, 1)


def test_a_store_that_was_compacted_opens_again(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store", segment_size=SEGMENT)
    for number in range(20):
        put(store, number, 1)
    for number in range(10):
        put(store, number, 2, removed=True)
    for _ in store.compact(0.9):
        pass
    store.close()
    again = EmbeddedStore(tmp_path / "store", segment_size=SEGMENT)
    assert [record(again, number) for number in range(10, 20)] == [content(number, 1) for number in range(10, 20)]
    put(again, 99, 1)
    assert record(again, 99) == content(99, 1)
    again.close()


def test_compaction_ends_where_all_is_alive_and_where_nothing_is(store: EmbeddedStore) -> None:
    assert sum(store.compact(0.9)) == 0
    for number in range(10):
        put(store, number, 1)
    assert sum(store.compact(0.9)) == 0
    for number in range(10):
        put(store, number, 2, removed=True)
    assert sum(store.compact(0.9)) == 0
    assert size(store) == 0
    put(store, 50, 1)
    assert record(store, 50) == content(50, 1)


def test_commits_go_on_while_segments_are_emptied(store: EmbeddedStore) -> None:
    for number in range(60):
        put(store, number, 1)
    for number in range(0, 60, 3):
        put(store, number, 2, removed=True)

    def overwrite() -> None:
        for number in range(1, 60, 3):
            put(store, number, 2)

    writer = threading.Thread(target=overwrite)
    writer.start()
    for _ in store.compact(0.99):
        pass
    writer.join()
    for number in range(60):
        expected = {0: None, 1: content(number, 2), 2: content(number, 1)}[number % 3]
        assert record(store, number) == expected


def test_a_step_that_is_not_finished_harms_nothing(store: EmbeddedStore) -> None:
    for number in range(20):
        put(store, number, 1)
    for number in range(0, 20, 2):
        put(store, number, 2, removed=True)
    next(iter(store.compact(0.9)))
    put(store, 99, 1)
    for number in range(1, 20, 2):
        assert record(store, number) == content(number, 1)


def test_a_tombstone_of_the_named_version_is_forgotten_alone(store: EmbeddedStore) -> None:
    put(store, 1, 1)
    put(store, 2, 1)
    put(store, 2, 2, removed=True)
    put(store, 3, 1)
    put(store, 3, 2, removed=True)
    assert store.forget_tombstones([(block(1), 1), (block(2), 2), (block(3), 1), (block(4), 1)]) == 1
    assert store.read_heads([HeadWant(block(2))]) == [Absent()]
    assert [summary.block for summary in store.scan(None, 9)] == [block(1), block(3)]
    assert store.status().blocks == 1
    put(store, 2, 1, turn=1)
    assert record(store, 2) == content(2, 1)


def test_a_store_that_lost_a_segment_opens_for_what_is_left(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store", segment_size=SEGMENT)
    for number in range(8):
        put(store, number, 1)
    store.close()
    first = tmp_path / "store" / "segments" / "00000001.seg"
    first.unlink()
    with pytest.raises(StoreError, match="it is missing"):
        EmbeddedStore(tmp_path / "store", segment_size=SEGMENT)
    left = EmbeddedStore(tmp_path / "store", segment_size=SEGMENT, damaged=True)
    assert record(left, 7) == content(7, 1)
    with pytest.raises(StoreError, match="lacks a segment") as caught:
        record(left, 0)
    assert caught.value.kind is Kind.INTEGRITY
    with pytest.raises(StoreError, match="is damaged, and opened to be read") as caught:
        put(left, 9, 1)
    assert caught.value.kind is Kind.READ_ONLY
    left.close()
    assert not first.exists()
