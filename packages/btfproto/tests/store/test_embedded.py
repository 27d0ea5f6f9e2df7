"""What only the embedded store does: it survives, it locks, it refuses damage, it gives space back."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from btfproto.errors import StoreError
from btfproto.store import (
    REPLAY_RECORDS,
    Acquire,
    Committed,
    EmbeddedStore,
    Events,
    Fenced,
    LeaseBusy,
    LeaseHeld,
    LockHolder,
    RecordRef,
    lock_holder,
)
from btfproto.store._group import Group, Position
from btfproto.store._index import Changes
from btfproto.store._writer import _Ticket
from btfproto.testing._store_tools import ANN, BOB, A, B, C, change, commit_of, must_commit, records_of, run
from btlib.kinds import Kind

BIG = b"x" * 20_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_second_opener_learns_who_has_the_store(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, program="btfsd", endpoint=f"unix:{tmp_path}/btfsd.sock")
    assert lock_holder(tmp_path) == LockHolder(os.getpid(), "btfsd", f"unix:{tmp_path}/btfsd.sock")
    with pytest.raises(StoreError, match=f"btfsd \\(process {os.getpid()}\\); stop it first, or use .*sock") as caught:
        EmbeddedStore(tmp_path)
    assert caught.value.kind is Kind.BUSY
    store.close()
    assert lock_holder(tmp_path) is None
    EmbeddedStore(tmp_path).close()


def test_a_store_where_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make the store"):
        EmbeddedStore(tmp_path / "file" / "store")
    (tmp_path / "lock").mkdir()
    with pytest.raises(StoreError, match=r"cannot open .*lock"):
        EmbeddedStore(tmp_path)


def test_nobody_holds_a_store_that_does_not_exist(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None


def test_a_store_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "deep" / "store")
    must_commit(store, change(A, 0, run(0, 0, BIG)))
    store.close()
    assert (tmp_path / "deep/store").stat().st_mode & 0o777 == 0o700
    assert next((tmp_path / "deep/store/segments").iterdir()).stat().st_mode & 0o777 == 0o600


def test_requests_are_remembered_over_a_restart_and_the_oldest_forgotten(tmp_path: Path) -> None:
    first, last = commit_of(change(A, 0)), commit_of(change(C, 0))
    store = EmbeddedStore(tmp_path)
    store.commit(first)
    for version in range(REPLAY_RECORDS - 1):
        store.commit(commit_of(change(B, version)))
        if version > 5:
            break
    store.commit(last)
    store.close()
    store = EmbeddedStore(tmp_path)
    assert isinstance(store.commit(first), Committed)
    assert isinstance(store.commit(last), Committed)
    assert store.status().blocks == 3
    store.close()


def test_cursors_grow_over_a_restart_and_old_ones_are_lost(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    old = store.watch(0, ANN, 0.0).cursor
    end = must_commit(store, change(A, 0))
    store.close()
    store = EmbeddedStore(tmp_path)
    assert store.watch(end, ANN, 0.0) == Events(end, [])
    assert store.watch(old, ANN, 0.0) == Events(end, [], lost=True)
    assert must_commit(store, change(A, 1)) == end + 1
    store.close()


def test_a_mark_outlives_the_process_and_tells_of_nothing_but_commits(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    for version in range(3):
        must_commit(store, change(A, version, run(0, 0, BIG)))
    must_commit(store, change(A, 3, removed=True))
    mark = store.mark()
    store.create_snapshot("one", 7)
    for _ in store.compact(1.0):
        pass
    store.delete_snapshot("one")
    store.forget_tombstones([(A, 4)])
    assert store.mark() == mark
    store.close()
    store = EmbeddedStore(tmp_path)
    assert store.mark() == mark
    store.close()
    other = EmbeddedStore(tmp_path / "other")
    assert other.mark().store != mark.store
    other.close()


def test_leases_end_with_the_process_but_old_fences_stay_old(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    first = store.lease(Acquire(A, ANN, 60_000))
    store.close()
    store = EmbeddedStore(tmp_path)
    second = store.lease(Acquire(A, BOB, 60_000))
    store.close()
    store = EmbeddedStore(tmp_path)
    assert isinstance(first, LeaseHeld)
    assert isinstance(second, LeaseHeld)
    assert store.commit(commit_of(change(B, 0), fences=[(A, first.fence)])) == Fenced(A, second.fence)
    assert isinstance(store.commit(commit_of(change(B, 0), fences=[(A, second.fence)])), Committed)
    assert store.lease(Acquire(A, BOB, 60_000)) == second
    store.close()


def test_a_lease_runs_out_by_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    store = EmbeddedStore(tmp_path, clock=clock)
    first = store.lease(Acquire(A, ANN, 5_000))
    clock.now += 4.0
    assert store.lease(Acquire(A, BOB, 5_000)) == LeaseBusy(1_000)
    clock.now += 1.5
    second = store.lease(Acquire(A, BOB, 5_000))
    assert isinstance(first, LeaseHeld)
    assert isinstance(second, LeaseHeld)
    assert second.fence == first.fence + 1
    store.close()


def test_a_segment_that_nothing_names_any_more_is_deleted(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, segment_size=30_000)
    for version in range(6):
        must_commit(store, change(A, version, run(0, 0, BIG, BIG)))
    must_commit(store, change(B, 0))
    assert len(list((tmp_path / "segments").iterdir())) <= 2
    assert records_of(store, A, 0, 0, 2) == [BIG, BIG]
    store.close()
    store = EmbeddedStore(tmp_path, segment_size=30_000)
    assert records_of(store, A, 0, 0, 2) == [BIG, BIG]
    must_commit(store, change(A, 6, removed=True))
    must_commit(store, change(B, 1))
    must_commit(store, change(B, 2))
    assert len(list((tmp_path / "segments").iterdir())) <= 1
    store.close()


def test_compaction_bounds_the_space_of_a_file_that_is_written_again_and_again(tmp_path: Path) -> None:
    chooser = random.Random(1)
    store = EmbeddedStore(tmp_path, segment_size=500_000)
    content: list[bytes | None] = [BIG] * 100
    must_commit(store, change(A, 0, run(0, 0, *[BIG] * 100)), change(B, 0, run(0, 0, b"still", b"here" * 9_000)))
    for version in range(1, 60):
        index = chooser.randrange(95)
        content[index : index + 5] = [b"%d" % version * 10_000] * 5
        must_commit(store, change(A, version, run(0, index, *[b"%d" % version * 10_000] * 5)))
    used = sum(path.stat().st_size for path in (tmp_path / "segments").iterdir())
    assert used < 2.5 * store.status().stored_bytes + 500_000
    assert records_of(store, A, 0, 0, 100) == content
    assert records_of(store, B, 0, 0, 2) == [b"still", b"here" * 9_000]
    store.close()
    store = EmbeddedStore(tmp_path)
    assert records_of(store, A, 0, 0, 100) == content
    store.close()


def test_a_segment_is_emptied_once_even_where_the_group_would_pay_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[bytes] = []
    move = Group.move

    def counted(
        group: Group, block: bytes, segment: int, budget: int, start: Position, read: Callable[[int, int, int], bytes]
    ) -> tuple[int, Position | None]:
        moved.append(block)
        return move(group, block, segment, budget, start, read)

    monkeypatch.setattr(Group, "move", counted)
    store = EmbeddedStore(tmp_path, segment_size=300_000)
    must_commit(store, change(A, 0, run(0, 0, *[BIG] * 16)))
    must_commit(store, change(A, 1, run(0, 0, *[BIG] * 14)))
    must_commit(store, change(B, 0, run(0, 0, *[BIG] * 40)))
    assert moved == [A]
    assert records_of(store, A, 0, 0, 16) == [BIG] * 16
    store.close()


def test_a_reader_whose_segment_was_removed_reads_the_new_place(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, segment_size=30_000)
    must_commit(store, change(A, 0, run(0, 0, BIG, BIG)))
    old = store._cache.load(A)
    assert old is not None
    for version in range(1, 4):
        must_commit(store, change(A, version, run(0, 0, BIG, b"%d" % version * 9_000)))
    assert not (tmp_path / "segments" / "00000001.seg").exists()
    store._cache._blocks[A] = old
    found = store.read_records(A, [RecordRef(0, 1)])
    assert (found.version, found.records) == (4, [b"3" * 9_000])
    store.close()


def test_who_is_interrupted_while_waiting_passes_the_lead_on(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    writer = store._writer
    first, second = _Ticket(commit_of(change(A, 0))), _Ticket(commit_of(change(B, 0)))

    class Interrupted:
        def acquire(self) -> None:
            writer._hand_over([])
            raise KeyboardInterrupt

        def release(self) -> None:
            pass

    writer._led = True
    writer._waiting = [first, second]
    first.wake = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        writer._wait(first)
    assert (writer._waiting, second.leads, second.wake.locked()) == ([second], True, False)
    writer._wait(second)
    writer._lead()
    must_commit(store, change(B, 1))
    assert store.status().blocks == 1
    store.close()


def test_a_damaged_segment_is_not_compacted_and_stops_no_commit(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, segment_size=50_000)
    must_commit(store, change(A, 0, run(0, 0, BIG)), change(B, 0, run(0, 0, BIG, BIG)))
    flip(tmp_path / "segments" / "00000001.seg", 41)
    must_commit(store, change(B, 1, run(0, 0, BIG, BIG)))
    for version in range(5):
        must_commit(store, change(C, version, run(0, 0, BIG, BIG)))
    assert records_of(store, A, 0, 0, 1) == [BIG]
    assert (tmp_path / "segments" / "00000001.seg").exists()
    store.close()


@pytest.mark.parametrize("keep", [0, 39, 40, 30_000])
def test_a_truncated_segment_is_named_when_the_store_is_opened(tmp_path: Path, keep: int) -> None:
    store = EmbeddedStore(tmp_path)
    must_commit(store, change(A, 0, run(0, 0, BIG, BIG)))
    store.close()
    segment = tmp_path / "segments" / "00000001.seg"
    os.truncate(segment, keep)
    with pytest.raises(StoreError, match=f"{segment} is damaged: it has {keep} bytes") as caught:
        EmbeddedStore(tmp_path)
    assert caught.value.kind is Kind.INTEGRITY
    segment.unlink()
    with pytest.raises(StoreError, match="it is missing"):
        EmbeddedStore(tmp_path)


def test_a_segment_truncated_while_the_store_is_open_is_named_by_the_read(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    must_commit(store, change(A, 0, run(0, 0, BIG, BIG)))
    os.truncate(tmp_path / "segments" / "00000001.seg", 30_000)
    assert records_of(store, A, 0, 0, 1) == [BIG]
    with pytest.raises(StoreError, match=r"00000001\.seg is damaged: it ends before") as caught:
        records_of(store, A, 0, 1, 1)
    assert caught.value.kind is Kind.INTEGRITY
    store.close()


@pytest.mark.parametrize("at", [0, 8, 12, 20, 36])
def test_a_damaged_segment_header_is_named_when_the_store_is_opened(tmp_path: Path, at: int) -> None:
    store = EmbeddedStore(tmp_path)
    must_commit(store, change(A, 0, run(0, 0, BIG)))
    store.close()
    flip(tmp_path / "segments" / "00000001.seg", at)
    with pytest.raises(StoreError, match=r"00000001\.seg is damaged"):
        EmbeddedStore(tmp_path)


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    must_commit(store, change(A, 0, run(0, 0, BIG)))
    store.close()
    for at in range(100):
        flip(tmp_path / "index.sqlite", at)
    with pytest.raises(StoreError, match=r"index\.sqlite") as caught:
        EmbeddedStore(tmp_path)
    assert caught.value.kind is Kind.INTEGRITY


def test_segments_without_an_index_are_no_new_store(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    must_commit(store, change(A, 0, run(0, 0, BIG)))
    store.close()
    (tmp_path / "index.sqlite").unlink()
    with pytest.raises(StoreError, match=r"its index .* is gone") as caught:
        EmbeddedStore(tmp_path)
    assert caught.value.kind is Kind.INTEGRITY
    assert (tmp_path / "segments" / "00000001.seg").exists()


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store._index._writer.execute("UPDATE state SET format = 3")
    store.close()
    with pytest.raises(StoreError, match="has format 3, this program knows 2") as caught:
        EmbeddedStore(tmp_path)
    assert caught.value.kind is Kind.NOT_SUPPORTED


def test_threads_that_commit_at_the_same_time_share_syncs(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    groups: list[int] = []
    write = store._index.write

    def counted(changes: Changes) -> None:
        groups.append(len(changes.requests))
        write(changes)

    def commit_twenty(block: bytes) -> None:
        for version in range(20):
            must_commit(store, change(block, version))

    store._index.write = counted  # type: ignore[method-assign]
    threads = [threading.Thread(target=commit_twenty, args=(bytes([n]) * 16,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert sum(groups) == 160
    assert len(groups) < 120


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))
