"""Checks of what several users of one store see: events, leases, concurrent threads."""

from __future__ import annotations

import threading

from btlib.kinds import Kind

from ..store import (
    Absent,
    Acquire,
    Change,
    Committed,
    Conflict,
    Events,
    Fenced,
    HeadWant,
    LeaseBusy,
    LeaseFree,
    LeaseHeld,
    RecordRef,
    RecordRun,
    Records,
    Release,
    Store,
    Unchanged,
)
from ._store_tools import (
    ANN,
    BOB,
    WAIT,
    A,
    B,
    C,
    change,
    commit,
    commit_of,
    must_commit,
    refused,
    run,
    store_check,
)


@store_check
def a_watch_tells_what_was_committed_after_the_cursor(store: Store) -> None:
    begin = store.watch(0, ANN, WAIT).cursor
    must_commit(store, change(A, 0), change(B, 0))
    end = must_commit(store, change(A, 1))
    events = store.watch(begin, ANN, WAIT)
    assert events == Events(end, [Change(A, 1), Change(B, 1), Change(A, 2)])
    assert store.watch(end, ANN, 0.0) == Events(end, [])


@store_check
def a_refused_or_repeated_commit_is_no_event(store: Store) -> None:
    first = commit_of(change(A, 0))
    store.commit(first)
    cursor = store.watch(0, ANN, WAIT).cursor
    assert commit(store, change(A, 0)) == Conflict(A, 1)
    store.commit(first)
    assert store.watch(cursor, ANN, 0.0) == Events(cursor, [])


@store_check
def a_cursor_that_the_store_does_not_know_is_lost(store: Store) -> None:
    must_commit(store, change(A, 0))
    cursor = store.watch(0, ANN, WAIT).cursor
    assert store.watch(cursor + 1000, ANN, WAIT) == Events(cursor, [], lost=True)


@store_check
def a_waiting_watch_wakes_up_at_a_commit(store: Store) -> None:
    cursor = store.watch(0, ANN, WAIT).cursor
    seen: list[Events] = []
    watcher = threading.Thread(target=lambda: seen.append(store.watch(cursor, ANN, WAIT)))
    watcher.start()
    end = must_commit(store, change(A, 0))
    watcher.join(WAIT)
    assert seen == [Events(end, [Change(A, 1)])]


@store_check
def a_lease_has_one_holder_and_a_renewal_keeps_its_fence(store: Store) -> None:
    first = store.lease(Acquire(A, ANN, 10_000))
    assert isinstance(first, LeaseHeld)
    assert first.milliseconds <= 10_000
    busy = store.lease(Acquire(A, BOB, 10_000))
    assert isinstance(busy, LeaseBusy)
    assert 0 < busy.milliseconds <= 10_000
    again = store.lease(Acquire(A, ANN, 10_000))
    assert isinstance(again, LeaseHeld)
    assert again.fence == first.fence


@store_check
def a_fence_grows_when_the_holder_changes(store: Store) -> None:
    first = store.lease(Acquire(A, ANN, 10_000))
    assert store.lease(Release(A, ANN)) == LeaseFree()
    second = store.lease(Acquire(A, BOB, 10_000))
    assert isinstance(first, LeaseHeld)
    assert isinstance(second, LeaseHeld)
    assert second.fence > first.fence


@store_check
def a_release_by_another_does_nothing(store: Store) -> None:
    store.lease(Acquire(A, ANN, 10_000))
    assert store.lease(Release(A, BOB)) == LeaseFree()
    assert isinstance(store.lease(Acquire(A, BOB, 10_000)), LeaseBusy)


@store_check
def a_commit_under_an_old_fence_changes_nothing(store: Store) -> None:
    old = store.lease(Acquire(A, ANN, 10_000))
    store.lease(Release(A, ANN))
    new = store.lease(Acquire(A, BOB, 10_000))
    assert isinstance(old, LeaseHeld)
    assert isinstance(new, LeaseHeld)
    late = commit_of(change(B, 0), fences=[(C, 0), (A, old.fence)])
    assert store.commit(late) == Fenced(A, new.fence)
    assert store.read_heads([HeadWant(B)]) == [Absent()]
    assert isinstance(store.commit(commit_of(change(B, 0), fences=[(A, new.fence)])), Committed)


@store_check
def the_holder_is_told_once_that_another_waits(store: Store) -> None:
    store.lease(Acquire(A, ANN, 10_000))
    cursor = store.watch(0, ANN, WAIT).cursor
    store.lease(Acquire(A, BOB, 10_000))
    assert store.watch(cursor, BOB, 0.0).wanted == []
    assert store.watch(cursor, ANN, WAIT).wanted == [A]
    assert store.watch(cursor, ANN, 0.0).wanted == []


@store_check
def concurrent_commits_are_atomic_and_none_is_lost(store: Store) -> None:
    """Threads raise two blocks together; whoever loses tries again. A reader never sees a torn block."""
    rounds = 12
    failures: list[Records] = []
    must_commit(store, change(A, 0, *_pattern(1)), change(B, 0, *_pattern(1)))

    def writer() -> None:
        done = 0
        while done < rounds:
            version = store.read_records(A, []).version
            answer = commit(
                store, change(A, version, *_pattern(version + 1)), change(B, version, *_pattern(version + 1))
            )
            done += isinstance(answer, Committed)

    def reader() -> None:
        while len(finished) < len(writers):
            found = store.read_records(A, [RecordRef(0, 0), RecordRef(0, 1), RecordRef(1, 0)])
            if [bytes(record or b"") for record in found.records] != _records(found.version):
                failures.append(found)

    finished: list[int] = []

    def counted() -> None:
        try:
            writer()
        finally:
            finished.append(1)

    writers = [threading.Thread(target=counted) for _ in range(5)]
    threads = [*writers, threading.Thread(target=reader)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT * 4)
    assert not failures, f"a reader saw records of two versions: {failures[0]}"
    assert store.read_heads([HeadWant(A, 1 + 5 * rounds), HeadWant(B, 1 + 5 * rounds)]) == [Unchanged(), Unchanged()]


def _records(version: int) -> list[bytes]:
    return [b"%d" % version * 900, b"%d" % (version + 1) * 900, b"%d" % version]


def _pattern(version: int) -> list[RecordRun]:
    first, second, node = _records(version)
    return [run(0, 0, first, second), run(1, 0, node)]


@store_check
def a_closed_store_refuses_everything(store: Store) -> None:
    must_commit(store, change(A, 0))
    store.close()
    store.close()
    for call in (
        lambda: store.read_heads([HeadWant(A)]),
        lambda: store.read_records(A, []),
        lambda: commit(store, change(A, 1)),
        lambda: store.scan(None, 1),
        lambda: store.watch(1, ANN, 0.0),
        lambda: store.lease(Acquire(A, ANN, 1)),
        store.status,
    ):
        with refused(Kind.UNREACHABLE):
            call()
