"""When a reconnecting link dials whom, and when it calls again: under a clock that stands still until it is moved."""

from __future__ import annotations

import pytest
from btlib.kinds import Kind
from bttp import (
    AuthenticationError,
    BttpError,
    ConnectionLostError,
    DeadlineError,
    NotSentError,
    Reconnection,
    RemoteError,
    Repeat,
    UnreachableError,
)
from bttp._endpoints import TcpEndpoint
from bttp._redial import Pauses, Retry, Round, interleave
from hypothesis import given
from hypothesis import strategies as st

A, B, C = (TcpEndpoint(name, 1) for name in "abc")
DOWN = UnreachableError("nobody there")
REFUSED = AuthenticationError("not you", kind=Kind.FORBIDDEN)
LOST = ConnectionLostError("the connection was lost")


def test_attempts_start_one_after_the_other_until_one_wins() -> None:
    attempts = Round([A, B, C], 0.25, 10.0)
    assert attempts.start(10.0) == A
    assert attempts.start(10.1) is None
    assert attempts.next_time() == 10.25
    assert attempts.start(10.25) == B
    attempts.won = True
    assert attempts.start(99.0) is None
    assert attempts.over


def test_an_attempt_that_fails_lets_the_next_start_at_once_if_nobody_else_is_under_way() -> None:
    attempts = Round([A, B, C], 0.25, 0.0)
    assert attempts.start(0.0) == A
    attempts.failed(DOWN, 0.01)
    assert attempts.start(0.01) == B
    assert attempts.start(0.26) == C
    over = []
    for now in (0.27, 0.28):
        attempts.failed(DOWN, now)
        over.append(attempts.over)
    assert over == [False, True]
    assert attempts.next_time() is None


def test_a_round_without_candidates_is_over() -> None:
    assert Round([], 0.25, 0.0).over


@pytest.mark.parametrize(
    ("errors", "refusal"), [([], None), ([DOWN], None), ([REFUSED], REFUSED), ([DOWN, REFUSED], None)]
)
def test_waiting_is_vain_only_where_all_refuse(errors: list[BttpError], refusal: BttpError | None) -> None:
    attempts = Round([A, B], 0.0, 0.0)
    for error in errors:
        attempts.start(0.0)
        attempts.failed(error, 0.0)
    assert attempts.refusal is refusal


def test_pauses_double_up_to_a_bound_and_begin_again_after_a_good_link() -> None:
    pauses = Pauses(Reconnection(first_pause=1.0, max_pause=10.0, stable_seconds=5.0))
    assert [pauses.failed(1.0) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert pauses.lost(4.9, 1.0) == 10.0
    assert pauses.lost(5.0, 1.0) == 0.0
    assert pauses.failed(1.0) == 1.0


@given(st.floats(0, 1), st.integers(0, 2000))
def test_a_pause_is_between_half_and_all_of_what_it_could_be(chance: float, failures: int) -> None:
    pauses = Pauses(Reconnection(first_pause=0.1, max_pause=30.0))
    for _ in range(failures):
        whole = pauses.failed(1.0)
    if failures:
        assert 0.5 * whole <= pauses.failed(chance) <= 30.0


def test_a_lost_call_is_repeated_only_with_a_key() -> None:
    with pytest.raises(ConnectionLostError):
        Retry(None, None, 0.0).after(LOST, False, 0.0)
    assert Retry(b"k", None, 0.0).after(LOST, False, 0.0) == 0.0


@pytest.mark.parametrize("error", [NotSentError("the link is closed"), UnreachableError("the link is draining")])
def test_what_was_not_sent_is_sent_again_without_a_key_and_is_no_repeat(error: BttpError) -> None:
    assert Retry(None, None, 0.0).after(error, False, 0.0) == 0.0
    retry = Retry(b"k", None, 0.0)
    assert retry.sending(1, 0.0) is None
    retry.after(error, False, 0.0)
    assert retry.sending(2, 0.0) is None
    retry.after(LOST, False, 0.0)
    assert retry.sending(3, 1.5) == Repeat(instance=2, elapsed=1501)
    retry.after(error, True, 2.0)
    assert retry.sending(4, 3.0) == Repeat(instance=2, elapsed=3001)


def test_a_repeated_call_that_is_under_way_is_asked_for_again_ever_more_rarely() -> None:
    busy = RemoteError("under way", kind=Kind.BUSY)
    retry = Retry(b"k", None, 0.0)
    pauses = [retry.after(busy, True, 1.0) for _ in range(7)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    with pytest.raises(RemoteError, match="under way"):
        retry.after(busy, True, 59.1)
    assert Retry(b"k", 1000.0, 0.0).after(busy, True, 999.0) == 0.1
    with pytest.raises(RemoteError):
        Retry(b"k", None, 0.0).after(busy, False, 0.0)


def test_other_answers_are_answers() -> None:
    gone = RemoteError("gone", kind=Kind.STALE)
    with pytest.raises(RemoteError, match="gone"):
        Retry(b"k", None, 0.0).after(gone, True, 0.0)


def test_the_deadline_counts_over_all_links() -> None:
    retry = Retry(None, 2.0, 10.0)
    assert retry.remaining(11.5) == 0.5
    with pytest.raises(DeadlineError, match="within 2 s"):
        retry.remaining(12.0)
    assert "nobody there" in str(retry.late(DOWN))
    assert Retry(None, None, 0.0).remaining(1e9) is None


def test_families_take_turns() -> None:
    six = [TcpEndpoint(f"::{n}", 1) for n in range(3)]
    four = [TcpEndpoint(f"127.0.0.{n}", 1) for n in range(2)]
    found = [(6, six[0]), (6, six[1]), (6, six[1]), (4, four[0]), (6, six[2]), (4, four[1])]
    assert interleave(found) == [six[0], four[0], six[1], four[1], six[2]]
    assert interleave([]) == []
