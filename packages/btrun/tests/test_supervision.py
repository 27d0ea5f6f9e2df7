"""The decisions of supervisors, without any actor."""

from __future__ import annotations

import pytest
from btrun import Backoff, Restart, Strategy, Supervision
from btrun._supervision import Drop, GiveUp, Recover, Restarts, Verdict
from hypothesis import given
from hypothesis import strategies as st

CHILDREN = ("a", "b", "c")
STILL = Backoff(first=1.0, factor=2.0, most=10.0, jitter=0.0)


def decide(strategy: Strategy, name: str, restart: Restart = Restart.PERMANENT, failed: bool = True) -> Verdict:
    restarts = Restarts(Supervision(strategy=strategy, backoff=STILL), lambda: 0.0)
    return restarts.ended(name, CHILDREN, restart, failed, 0.0)


@pytest.mark.parametrize(
    ("strategy", "stop", "start"),
    [
        (Strategy.ONE_FOR_ONE, (), ("b",)),
        (Strategy.ONE_FOR_ALL, ("c", "a"), ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, ("c",), ("b", "c")),
    ],
)
def test_each_strategy_names_who_stops_and_who_starts(
    strategy: Strategy, stop: tuple[str, ...], start: tuple[str, ...]
) -> None:
    assert decide(strategy, "b") == Recover(stop, start, 1.0)


@pytest.mark.parametrize(
    ("restart", "failed", "again"),
    [
        (Restart.PERMANENT, True, True),
        (Restart.PERMANENT, False, True),
        (Restart.TRANSIENT, True, True),
        (Restart.TRANSIENT, False, False),
        (Restart.TEMPORARY, True, False),
        (Restart.TEMPORARY, False, False),
    ],
)
def test_each_kind_of_child_is_restarted_when_it_should(restart: Restart, failed: bool, again: bool) -> None:
    verdict = decide(Strategy.ONE_FOR_ONE, "b", restart, failed)
    assert isinstance(verdict, Recover if again else Drop)


def test_failures_in_a_row_double_the_pause_up_to_the_most() -> None:
    restarts = Restarts(Supervision(intensity=100, period=10.0, backoff=STILL), lambda: 0.0)
    now, pauses = 0.0, []
    for _ in range(6):
        verdict = restarts.ended("a", CHILDREN, Restart.PERMANENT, True, now)
        assert isinstance(verdict, Recover)
        pauses.append(verdict.pause)
        now += verdict.pause + 1.0
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_a_long_life_ends_the_row() -> None:
    restarts = Restarts(Supervision(period=10.0, backoff=STILL), lambda: 0.0)
    restarts.ended("a", CHILDREN, Restart.PERMANENT, True, 0.0)
    verdict = restarts.ended("a", CHILDREN, Restart.PERMANENT, True, 11.5)
    assert isinstance(verdict, Recover)
    assert verdict.pause == 1.0


@given(
    intensity=st.integers(0, 5),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=30),
)
def test_it_gives_up_exactly_when_more_failed_in_the_period_than_it_may(intensity: int, gaps: list[float]) -> None:
    restarts = Restarts(Supervision(intensity=intensity, period=10.0), lambda: 0.5)
    times: list[float] = []
    for gap in gaps:
        times.append((times[-1] if times else 0.0) + gap)
        recent = [time for time in times if time >= times[-1] - 10.0]
        verdict = restarts.ended("a", CHILDREN, Restart.PERMANENT, True, times[-1])
        assert isinstance(verdict, GiveUp) == (len(recent) > intensity)
        if isinstance(verdict, GiveUp):
            break


@given(failures=st.integers(1, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_negative_nor_above_the_most(failures: int, random: float) -> None:
    assert 0 <= Backoff().pause(failures, random) <= Backoff().most
