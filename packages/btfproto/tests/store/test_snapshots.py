"""Snapshots of an embedded store: what only it has to do for them. What every store promises is in `check_store`."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from btfproto.errors import StoreError
from btfproto.store import EmbeddedStore, HeadWant, Snapshots
from btfproto.store._past_rows import kept_alone
from btfproto.testing._store_tools import A, B, C, block_id, change, head_of, must_commit, records_of, run
from btlib.kinds import Kind
from hypothesis import given
from hypothesis import strategies as st

BIG = b"x" * 20_000


@contextmanager
def opened(directory: Path, **options: int) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(directory, segment_size=options.get("segment_size", 50_000))
    try:
        yield store
    finally:
        store.close()


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / "segments").iterdir())


def compact(store: EmbeddedStore) -> None:
    for _ in store.compact(0.9):
        pass


def test_compaction_moves_what_only_a_snapshot_needs(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for version in range(20):  # two blocks share each segment: one is kept, the other is garbage
            must_commit(store, change(block_id(version), 0, run(0, 0, b"%02d" % version * 9_000)))
            must_commit(store, change(A, version, run(0, 0, BIG)))
        store.create_snapshot("s", 1)
        for version in range(20):
            must_commit(store, change(block_id(version), 1, run(0, 0, b"new"), run(1, 0, BIG)))
        for version in range(20):
            must_commit(store, change(block_id(version), 2, removed=True))
        full = size_of(tmp_path)
        compact(store)
        kept = sum(len(b"%02d" % version * 9_000) for version in range(20)) + len(BIG)
        assert kept < size_of(tmp_path) < min(full, kept * 1.2)
        past = store.at("s")
        for version in range(20):
            assert records_of(past, block_id(version), 0, 0, 1) == [b"%02d" % version * 9_000]


def test_deleting_a_snapshot_and_compacting_gives_its_room_back(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        must_commit(store, *(change(block_id(n), 0, run(0, 0, BIG, BIG)) for n in range(10)))
        store.create_snapshot("s", 1)
        must_commit(store, *(change(block_id(n), 1, removed=True) for n in range(10)))
        compact(store)
        assert size_of(tmp_path) > 400_000
        store.delete_snapshot("s")
        compact(store)
        assert size_of(tmp_path) == 0


def test_a_large_run_of_a_snapshot_is_moved_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btfproto.store._compaction.STEP_BYTES", 30_000)
    records = [bytes([n]) * 10_000 for n in range(12)]
    with opened(tmp_path) as store:
        must_commit(store, change(A, 0, run(0, 0, *records)), change(B, 0, run(0, 0, *records * 2)))
        store.create_snapshot("s", 1)
        must_commit(store, change(A, 1, removed=True))
        must_commit(store, change(B, 1, run(0, 1, b"other")), change(C, 0, run(0, 0, *records * 3)))
        must_commit(store, change(C, 1, removed=True))
        for _ in store.compact(2.0):  # also what is all alive
            assert records_of(store.at("s"), A, 0, 0, 12) == records
        assert records_of(store.at("s"), B, 0, 0, 24) == records * 2
        assert records_of(store, B, 0, 0, 3) == [records[0], b"other", records[2]]
    with opened(tmp_path) as store:
        assert records_of(store.at("s"), A, 0, 0, 12) == records


def test_a_reader_of_the_past_survives_a_compaction(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)), change(B, 0, run(0, 0, BIG, BIG, BIG)))
        store.create_snapshot("s", 1)
        past = store.at("s")
        assert records_of(past, A, 0, 0, 1) == [BIG]
        must_commit(store, change(A, 1, removed=True))
        store.delete_snapshot("s")
        store.create_snapshot("s", 1)
        past = store.at("s")
        assert records_of(past, B, 0, 0, 3) == [BIG, BIG, BIG]
        must_commit(store, change(B, 1, run(0, 0, b"one", b"two")))
        for _ in store.compact(2.0):
            pass
        assert records_of(past, B, 0, 0, 3) == [BIG, BIG, BIG]


def test_tombstones_that_a_snapshot_has_are_not_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        must_commit(store, change(A, 0), change(B, 0))
        must_commit(store, change(A, 1, removed=True))
        store.create_snapshot("s", 1)
        must_commit(store, change(B, 1, removed=True))
        assert store.forget_tombstones([(A, 2), (B, 2)]) == 1
        assert head_of(store.at("s"), A) is not None
        assert head_of(store.at("s"), B) is not None
        must_commit(store, change(B, 0, run(0, 0, b"a new one")))  # another row for the same block
        assert records_of(store.at("s"), B, 0, 0, 1) == [None]
        store.delete_snapshot("s")
        assert store.forget_tombstones([(A, 2)]) == 1


def test_snapshots_are_found_again_when_the_store_is_opened(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        taken = store.create_snapshot("s", 5)
    with opened(tmp_path) as store:
        assert store.snapshots() == [taken]
        must_commit(store, change(A, 1, run(0, 0, b"new")))
    with opened(tmp_path) as store:
        assert records_of(store.at("s"), A, 0, 0, 1) == [BIG]


def test_a_closed_store_tells_nothing_of_its_past(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    must_commit(store, change(A, 0))
    store.create_snapshot("s", 1)
    past = store.at("s")
    store.close()
    asks: list[Callable[[], object]] = [store.snapshots, lambda: store.at("s"), lambda: past.read_heads([HeadWant(A)])]
    for ask in asks:
        with pytest.raises(StoreError) as caught:
            ask()
        assert caught.value.kind is Kind.UNREACHABLE


@pytest.mark.parametrize("act", ["create_snapshot", "delete_snapshot"])
def test_no_room_for_a_change_of_snapshots_changes_nothing(tmp_path: Path, act: str) -> None:
    with opened(tmp_path / "store") as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        store.create_snapshot("s", 1)
        original = getattr(store._index, act)

        def full(*arguments: object) -> None:
            raise StoreError(Kind.NO_SPACE, "full")

        setattr(store._index, act, full)
        with pytest.raises(StoreError, match="full"):
            store.create_snapshot("t", 1) if act == "create_snapshot" else store.delete_snapshot("s")
        setattr(store._index, act, original)
        must_commit(store, change(A, 1, run(0, 0, b"new")))
        assert [snapshot.name for snapshot in store.snapshots()] == ["s"]
        assert records_of(store.at("s"), A, 0, 0, 1) == [BIG]


def test_a_failed_group_keeps_what_snapshots_have(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        store.create_snapshot("s", 1)
        pages = store._index._writer.execute("PRAGMA page_count").fetchone()[0]
        store._index._writer.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreError) as caught:
            must_commit(store, change(A, 1, run(0, 0, b"y" * 16_000)), change(B, 0, run(0, 0, b"z" * 16_000)))
        assert caught.value.kind is Kind.NO_SPACE
        store._index._writer.execute("PRAGMA max_page_count=1000000")
        assert store.snapshots()[0].kept == 0
        must_commit(store, change(A, 1, run(0, 0, b"new")))
        assert store.snapshots()[0].kept == len(BIG)
        shutil.copytree(tmp_path / "store", tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    with opened(tmp_path / "copy") as store:
        assert records_of(store.at("s"), A, 0, 0, 1) == [BIG]


def test_a_store_of_format_1_can_be_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)), change(B, 0, run(0, 0, b"small")))
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as db, db:
        for table in ("snapshots", "old_heads", "old_runs"):
            db.execute(f"DROP TABLE {table}")
        for table in ("heads", "runs"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN born")
        db.execute("UPDATE state SET format=1")
    with opened(tmp_path) as store:
        assert isinstance(store, Snapshots)
        store.create_snapshot("s", 1)
        must_commit(store, change(A, 1, run(0, 0, b"new")), change(B, 1, removed=True))
        assert records_of(store.at("s"), A, 0, 0, 1) == [BIG]
        assert records_of(store.at("s"), B, 0, 0, 1) == [b"small"]


SPANS = st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(1, 100)).map(lambda t: (t[0], t[0] + t[1], t[2]))


@given(st.lists(st.integers(0, 25), max_size=6).map(sorted), st.lists(SPANS))
def test_what_a_snapshot_keeps_alone_is_what_no_other_covers(
    cursors: list[int], spans: list[tuple[int, int, int]]
) -> None:
    expected = [
        sum(
            size
            for born, died, size in spans
            if born <= cursor < died and not any(born <= c < died for j, c in enumerate(cursors) if j != i)
        )
        for i, cursor in enumerate(cursors)
    ]
    assert kept_alone(cursors, spans) == expected
