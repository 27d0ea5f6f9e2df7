"""What a supervisor does when a child ends. Pure: time and randomness are arguments.

    one for one     only the child that failed starts anew
    one for all     all children stop (the last first) and start anew (the first first)
    rest for one    so do the failed one and those that were started after it

More than `intensity` failures within `period` seconds, and the supervisor gives up: it stops its children and fails
itself, and its own supervisor decides; the runtime's raises EscalationError. Each failure of a child in a row doubles
the pause before its next life; a life of `period` seconds ends the row.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeAlias

import msgspec


class Restart(enum.Enum):
    """When a child is started again."""

    PERMANENT = "permanent"  #: always, also when it stopped by itself
    TRANSIENT = "transient"  #: when it failed
    TEMPORARY = "temporary"  #: never


class Strategy(enum.Enum):
    """Who is started again with a child that failed."""

    ONE_FOR_ONE = "one for one"
    ONE_FOR_ALL = "one for all"
    REST_FOR_ONE = "rest for one"


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """The pause before the n-th life in a row that began with a failure: first · factor^(n-1), at most `most` seconds,
    of which a random part of up to `jitter` is left out, so that many do not come back at one moment."""

    first: float = 0.05
    factor: float = 2.0
    most: float = 30.0
    jitter: float = 0.5

    def pause(self, failures: int, random: float) -> float:
        """Seconds to wait; `random` is in [0, 1)."""
        exponent = min(failures - 1, 64)  # beyond it every sensible `most` is reached, and floats would overflow
        return min(self.most, self.first * self.factor**exponent) * (1 - self.jitter * random)


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """How a supervisor acts."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 5
    period: float = 10.0
    backoff: Backoff = Backoff()


class Recover(msgspec.Struct, frozen=True):
    """Stop these (they live), in this order; after the pause start those, in that order."""

    stop: tuple[str, ...]
    start: tuple[str, ...]
    pause: float


class Drop(msgspec.Struct, frozen=True):
    """The child is not started again."""


class GiveUp(msgspec.Struct, frozen=True):
    """Too many failures."""

    failures: int


Verdict: TypeAlias = Recover | Drop | GiveUp


class Restarts:
    """What one supervisor remembers of failures."""

    def __init__(self, supervision: Supervision, random: Callable[[], float]) -> None:
        self._supervision = supervision
        self._random = random
        self._failures: deque[float] = deque()
        self._rows: dict[str, tuple[int, float]] = {}  # by child: failures in a row, start of its present life

    def ended(self, name: str, children: Collection[str], restart: Restart, failed: bool, now: float) -> Verdict:
        """What to do now that `name` ended. `children`: all that exist, in the order in which they were started."""
        if restart is Restart.TEMPORARY or (restart is Restart.TRANSIENT and not failed):
            self._rows.pop(name, None)
            return Drop()
        how = self._supervision
        self._failures.append(now)
        while self._failures[0] < now - how.period:
            self._failures.popleft()
        if len(self._failures) > how.intensity:
            return GiveUp(len(self._failures))
        affected = _affected(how.strategy, name, children)
        others = tuple(child for child in reversed(affected) if child != name)
        return Recover(others, affected, self._pause(name, now))

    def forget(self, name: str) -> None:
        """The child is gone for good."""
        self._rows.pop(name, None)

    def clear(self) -> None:
        """The supervisor itself starts anew."""
        self._failures.clear()
        self._rows.clear()

    def _pause(self, name: str, now: float) -> float:
        failures, began = self._rows.get(name, (0, now))
        failures = failures + 1 if now - began <= self._supervision.period else 1
        pause = self._supervision.backoff.pause(failures, self._random())
        self._rows[name] = failures, now + pause
        return pause


def _affected(strategy: Strategy, name: str, children: Collection[str]) -> tuple[str, ...]:
    if strategy is Strategy.ONE_FOR_ONE:
        return (name,)
    if strategy is Strategy.ONE_FOR_ALL:
        return tuple(children)
    return tuple(children)[list(children).index(name) :]
