"""A store on a device that is really full: a tmpfs of a few MiB. What was acknowledged stays, and deleting works."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from btfproto.errors import StoreError
from btfproto.store import Acquire, EmbeddedStore, LeaseHeld, RecordHole
from btfproto.store._index import INDEX_NAME
from btfproto.store._reserve import LEAST, Reserve, reserve_size
from btfproto.testing._store_tools import block_id, change, head_of, must_commit, records_of, run
from btlib.kinds import Kind

MIB = 2**20
SIZE = 24 * MIB
RECORD = bytes(range(256)) * 64


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small device")
    place = tmp_path / "device"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], check=False)
    if done.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def content(number: int, size: int = 6) -> list[bytes]:
    return [number.to_bytes(4, "big") + RECORD for _ in range(size)]


def fill(store: EmbeddedStore, size: int = 6, first: int = 0) -> int:
    """Blocks that are committed until there is no room; how many."""
    return next(number for number in range(first, 100_000) if not takes(store, number, *content(number, size)))


def takes(store: EmbeddedStore, number: int, *records: bytes) -> bool:
    """Whether a new block finds room."""
    kinds = []
    try:
        must_commit(store, change(block_id(number), 0, run(0, 0, *records)))
    except StoreError as error:
        kinds.append(error.kind)
    assert set(kinds) <= {Kind.NO_SPACE}
    return not kinds


def take_the_rest(device: Path) -> Path:
    """Another program's file takes all that is left."""
    filler = device / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return filler


def check(store: EmbeddedStore, first: int, end: int) -> None:
    for number in range(first, end):
        assert records_of(store, block_id(number), 0, 0, 6) == content(number), number
    with closing(sqlite3.connect(store.directory / INDEX_NAME)) as index:
        assert index.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def remove(store: EmbeddedStore, number: int) -> None:
    must_commit(store, change(block_id(number), 1, removed=True))


def test_what_was_acknowledged_is_there_and_deleting_gives_room_back_for_writing_on(device: Path) -> None:
    store = EmbeddedStore(device / "store")
    count = fill(store)
    check(store, 0, count)
    before = store.status().available
    for number in range(count // 2):
        remove(store, number)
    assert store.status().available > before + 4 * MIB
    for number in range(1000, 1000 + count // 4):
        must_commit(store, change(block_id(number), 0, run(0, 0, *content(number))))
    check(store, count // 2, count)
    check(store, 1000, 1000 + count // 4)
    store.close()


def test_deleting_works_without_a_free_byte(device: Path) -> None:
    store = EmbeddedStore(device / "store")
    count = fill(store)
    take_the_rest(device)
    assert store.status().available == 0
    for number in range(0, count, 2):  # half of each segment
        remove(store, number)
    assert store.status().available > 0
    for number in range(1, count, 2):
        assert records_of(store, block_id(number), 0, 0, 6) == content(number)
    must_commit(store, change(block_id(5000), 0, run(0, 0, *content(5000))))
    store.close()


def test_it_is_opened_and_goes_on_without_a_free_byte(device: Path) -> None:
    store = EmbeddedStore(device / "store")
    count = fill(store)
    store.close()
    take_the_rest(device)
    store = EmbeddedStore(device / "store")
    check(store, 0, count)
    with pytest.raises(StoreError) as refused:
        must_commit(store, change(block_id(5000), 0, run(0, 0, *content(5000))))
    assert refused.value.kind is Kind.NO_SPACE
    for number in range(count // 2):
        remove(store, number)
    must_commit(store, change(block_id(5000), 0, run(0, 0, *content(5000))))
    check(store, count // 2, count)
    store.close()


def test_what_takes_room_does_not_get_the_reserve(device: Path) -> None:
    store = EmbeddedStore(device / "store")
    count = fill(store, size=1)
    take_the_rest(device)
    for number in range(200):
        with pytest.raises(StoreError):
            must_commit(store, change(block_id(6000 + number), 0, run(0, 0, *content(number))))
    remove(store, 0)
    assert count > 100
    store.close()


def test_a_lease_can_be_had_and_truncated_what_was_written_without_a_free_byte(device: Path) -> None:
    store = EmbeddedStore(device / "store")
    fill(store)
    take_the_rest(device)
    assert isinstance(store.lease(Acquire(b"k" * 16, b"h" * 16, 1000)), LeaseHeld)
    must_commit(store, change(block_id(0), 1, holes=[RecordHole(0, 0, 6)]))
    store.close()


def test_snapshots_are_deleted_and_segments_emptied_without_a_free_byte(device: Path) -> None:
    store = EmbeddedStore(device / "store")
    count = fill(store)
    remove(store, count - 1)
    store.create_snapshot("one", 1)
    for number in range(count // 2):
        remove(store, number)
    fill(store, first=10_000)
    assert takes(store, 20_000, *content(20_000)) is False, "the snapshot has it all"
    take_the_rest(device)
    store.delete_snapshot("one")
    for _ in store.compact(0.9):
        pass
    check(store, count // 2, count - 1)
    assert takes(store, 30_000, *content(30_000))
    store.close()


def test_the_reserve_comes_back_when_there_is_room_again(device: Path) -> None:
    store = EmbeddedStore(device / "store")
    reserve = Reserve(device / "store")
    assert reserve.held
    other = device / "other"
    other.write_bytes(bytes(8 * MIB))
    count = fill(store)
    take_the_rest(device)
    Reserve(device / "store").release()
    take_the_rest(device)
    with pytest.raises(StoreError):
        must_commit(store, change(block_id(5000), 0, run(0, 0, *content(5000))))
    other.unlink()
    assert takes(store, 5000, *content(5000))
    assert reserve.held
    assert head_of(store, block_id(count - 1)) is not None
    store.close()


def test_a_device_that_fills_up_between_commits_does_not_break_the_index(device: Path) -> None:
    """Whatever of the log and the index finds no room: the store goes on when there is some again."""
    store = EmbeddedStore(device / "store")
    taken = 0
    for _ in range(30):
        filler = take_the_rest(device)
        taken = next(number for number in range(taken, taken + 1000) if not takes(store, number, RECORD[:1000]))
        filler.unlink()
        must_commit(store, change(block_id(taken), 0, run(0, 0, RECORD[:1000])))
        taken += 1
    assert all(records_of(store, block_id(number), 0, 0, 1) == [RECORD[:1000]] for number in range(taken))
    store.close()


def test_a_reserve_is_a_small_part_of_a_small_device_and_bounded_on_a_large_one() -> None:
    assert reserve_size(MIB) == LEAST
    assert reserve_size(256 * MIB) == 4 * MIB
    assert reserve_size(2**44) == 32 * MIB


def test_losing_the_reserve_loses_nothing(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    must_commit(store, change(block_id(1), 0, run(0, 0, b"one")))
    Reserve(tmp_path).release()
    must_commit(store, change(block_id(2), 0, run(0, 0, b"two")))
    store.close()
    store = EmbeddedStore(tmp_path)
    assert Reserve(tmp_path).held
    assert records_of(store, block_id(2), 0, 0, 1) == [b"two"]
    store.close()
