"""The event log and the lease table, without a store and without a clock."""

from __future__ import annotations

import threading

import pytest
from btfproto.errors import StoreError
from btfproto.store import Acquire, Change, Events, LeaseBusy, LeaseFree, LeaseHeld, Release
from btfproto.store._events import EVENTS_AT_ONCE, EventLog
from btfproto.store._leases import MAX_LEASE_MILLISECONDS, Leases
from btfproto.testing._store_tools import ANN, BOB, A, B, C

WAIT = 30.0


def nobody() -> list[bytes]:
    return []


def changes(count: int) -> list[Change]:
    return [Change(A, number + 1) for number in range(count)]


def test_events_come_in_whole_commits_and_the_cursor_says_how_far() -> None:
    log = EventLog(5)
    log.append([changes(EVENTS_AT_ONCE - 1), changes(1), changes(1)])
    events = log.wait(5, nobody, WAIT)
    assert (events.cursor, len(events.changes)) == (7, EVENTS_AT_ONCE)
    assert log.wait(7, nobody, WAIT) == Events(8, changes(1))


def test_a_commit_larger_than_an_answer_is_given_whole() -> None:
    log = EventLog(1)
    log.append([changes(EVENTS_AT_ONCE * 2)])
    assert len(log.wait(1, nobody, WAIT).changes) == EVENTS_AT_ONCE * 2


def test_who_fell_behind_what_is_kept_is_lost() -> None:
    log = EventLog(1, kept=10)
    log.append([changes(4) for _ in range(5)])
    assert log.wait(3, nobody, WAIT) == Events(6, [], lost=True)
    assert log.wait(4, nobody, WAIT) == Events(6, changes(4) * 2)


def test_closing_wakes_who_waits() -> None:
    log = EventLog(1)
    errors: list[StoreError] = []

    def watch() -> None:
        try:
            log.wait(1, nobody, WAIT)
        except StoreError as error:
            errors.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    log.close()
    thread.join(WAIT)
    with pytest.raises(StoreError, match="closed"):
        raise errors[0]


class Table:
    """Leases, and what was made durable."""

    def __init__(self) -> None:
        self.durable: dict[bytes, tuple[bytes, int]] = {}
        self.leases = Leases({}, lambda key, holder, fence: self.durable.update({key: (holder, fence)}))

    def restart(self) -> None:
        self.leases = Leases(self.durable, lambda key, holder, fence: self.durable.update({key: (holder, fence)}))


def test_a_lease_runs_out_and_the_next_holder_gets_a_larger_fence() -> None:
    leases = Table().leases
    assert leases.request(Acquire(A, ANN, 5_000), 0.0) == LeaseHeld(1, 5_000)
    assert leases.request(Acquire(A, BOB, 5_000), 4.999) == LeaseBusy(1)
    assert leases.request(Acquire(A, BOB, 5_000), 5.0) == LeaseHeld(2, 5_000)
    assert leases.request(Acquire(A, ANN, 5_000), 6.0) == LeaseBusy(4_000)
    assert leases.fence(A) == 2


def test_a_holder_that_comes_back_after_its_time_keeps_its_fence_if_nobody_came_between() -> None:
    leases = Table().leases
    leases.request(Acquire(A, ANN, 5_000), 0.0)
    assert leases.request(Acquire(A, ANN, 5_000), 60.0) == LeaseHeld(1, 5_000)


def test_nobody_holds_up_others_for_longer_than_the_limit() -> None:
    assert Table().leases.request(Acquire(A, ANN, 2**31), 0.0) == LeaseHeld(1, MAX_LEASE_MILLISECONDS)


def test_a_fence_is_durable_before_it_is_given_and_a_failure_gives_none() -> None:
    def fail(key: bytes, holder: bytes, fence: int) -> None:
        raise StoreError(StoreError.default_kind, "the disk is gone")

    leases = Leases({}, fail)
    with pytest.raises(StoreError):
        leases.request(Acquire(A, ANN, 5_000), 0.0)
    assert leases.fence(A) == 0


def test_after_a_restart_leases_are_free_and_fences_go_on() -> None:
    table = Table()
    table.leases.request(Acquire(A, ANN, 60_000), 0.0)
    table.restart()
    assert table.leases.request(Acquire(A, BOB, 5_000), 1.0) == LeaseHeld(2, 5_000)
    table.restart()
    assert table.leases.request(Acquire(A, BOB, 5_000), 2.0) == LeaseHeld(2, 5_000)


def test_only_a_new_holder_needs_a_new_fence() -> None:
    leases = Table().leases
    assert leases.needs_fence(Acquire(A, ANN, 5_000), 0.0)
    leases.request(Acquire(A, ANN, 5_000), 0.0)
    assert not leases.needs_fence(Acquire(A, ANN, 5_000), 1.0)
    assert not leases.needs_fence(Acquire(A, BOB, 5_000), 1.0)
    assert not leases.needs_fence(Release(A, BOB), 1.0)
    assert leases.needs_fence(Acquire(A, BOB, 5_000), 9.0)


def test_wanted_leases_are_told_to_their_holder_alone_and_once_for_each_request() -> None:
    leases = Table().leases
    for key in (A, B, C):
        leases.request(Acquire(key, ANN, 60_000), 0.0)
    leases.request(Acquire(A, BOB, 5_000), 1.0)
    leases.request(Acquire(C, BOB, 5_000), 1.0)
    assert leases.take_wanted(BOB, 1.0) == []
    leases.request(Acquire(C, ANN, 60_000), 1.5)
    assert leases.take_wanted(ANN, 2.0) == [A, C]
    assert leases.take_wanted(ANN, 2.0) == []
    leases.request(Acquire(A, BOB, 5_000), 3.0)
    assert leases.take_wanted(ANN, 3.0) == [A]
    assert leases.request(Release(A, ANN), 4.0) == LeaseFree()
    assert leases.request(Acquire(A, BOB, 5_000), 4.0) == LeaseHeld(2, 5_000)
