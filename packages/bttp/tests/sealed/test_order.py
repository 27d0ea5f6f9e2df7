"""What a subscriber remembers: replays, gaps, forgotten sessions; against a model that remembers everything."""

from __future__ import annotations

import pytest
from btlib.kinds import Kind
from bttp.sealed import RefusedMessageError
from bttp.sealed._order import AHEAD, Heard, Place
from hypothesis import given, settings
from hypothesis import strategies as st

MAX_AGE = 1000
NOW = 1_000_000


def hear(heard: Heard, stream: bytes, sequence: int, sent: int = NOW, now: int = NOW) -> int | Kind:
    """How many are missing before it; or why it is refused."""
    place = Place(stream, sequence, sent)
    try:
        missing = heard.judge(place, now)
    except RefusedMessageError as error:
        return error.kind
    heard.note(place)
    return missing


def test_gaps_are_counted_and_nothing_comes_twice_or_late() -> None:
    heard = Heard(MAX_AGE)
    said = [hear(heard, b"a", number) for number in (5, 6, 9, 9, 7, 8, 5, 10, 2**64 - 1)]
    late = Kind.ROLLBACK
    assert said == [0, 0, 2, late, late, late, late, 0, 2**64 - 12]


def test_streams_do_not_mix() -> None:
    heard = Heard(MAX_AGE)
    assert [hear(heard, stream, 3) for stream in (b"a", b"b", b"a")] == [0, 0, Kind.ROLLBACK]


def test_a_session_begins_fresh_and_may_be_slow_afterwards() -> None:
    heard = Heard(MAX_AGE)
    assert hear(heard, b"a", 0, NOW - MAX_AGE - 1) is Kind.ROLLBACK
    assert hear(heard, b"a", 0, NOW - MAX_AGE) == 0
    assert hear(heard, b"a", 1, NOW - MAX_AGE, NOW + 10 * MAX_AGE) == 0


def test_no_message_comes_from_the_future() -> None:
    heard = Heard(MAX_AGE)
    assert hear(heard, b"a", 0, NOW + AHEAD) == 0
    assert hear(heard, b"a", 1, NOW + AHEAD + 1) is Kind.INVALID
    assert hear(heard, b"b", 0, NOW + AHEAD + 1) is Kind.INVALID


def test_a_forgotten_session_cannot_be_played_again() -> None:
    heard = Heard(MAX_AGE, limit=2)
    for number, stream in enumerate((b"a", b"b", b"a", b"c")):  # b goes: it was not heard for longest
        assert hear(heard, stream, number, NOW + number) == (1 if number == 2 else 0)
    assert hear(heard, b"b", 1, NOW + 1) is Kind.ROLLBACK
    assert hear(heard, b"d", 0, NOW + 2) == 0


def test_what_is_only_judged_changes_nothing() -> None:
    heard = Heard(MAX_AGE)
    for _ in range(2):
        assert heard.judge(Place(b"a", 7, NOW), NOW) == 0
    assert hear(heard, b"a", 3) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 9), st.integers(0, 5)), max_size=60))
def test_nothing_is_ever_heard_twice_whatever_a_broker_does(told: list[tuple[bytes, int, int]]) -> None:
    """Any sequence of streams, numbers and times, with a memory for two streams only. Whoever publishes gives each
    number once, with the time of its sealing; the broker says them in whatever order, as often as it likes."""
    heard = Heard(10, limit=2)
    delivered: list[tuple[bytes, int]] = []
    last: dict[bytes, int] = {}
    for stream, number, _ in told:
        sent = 100 + number  # a number has one time, as the signature fixes it
        answer = hear(heard, stream, number, sent, 105)
        if isinstance(answer, Kind):
            continue
        assert (stream, number) not in delivered
        assert answer in (0, number - last.get(stream, -1) - 1)
        delivered.append((stream, number))
        last[stream] = number


@pytest.mark.parametrize("count", [1, 100])
def test_the_memory_is_bounded(count: int) -> None:
    heard = Heard(MAX_AGE, limit=10)
    for number in range(count * 10):
        hear(heard, str(number).encode(), 0, NOW + number)
    assert len(heard._last) == 10
