"""Timers: something to do at a moment, once or again and again, unless it is cancelled before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ._loops import Loop


class Owned(Protocol):
    """What ends with a life of an actor: a timer, a subscription."""

    @property
    def done(self) -> bool: ...

    def cancel(self) -> None: ...


class Timer:
    """A pending action. Ticks of a repeated one keep their distance from the first; missed ones are left out."""

    __slots__ = ("_action", "_interval", "_loop", "_when", "done")

    def __init__(self, loop: Loop, delay: float, action: Callable[[], object], interval: float | None = None) -> None:
        self._loop = loop
        self._action = action
        self._interval = interval
        self._when = loop.now() + delay
        self.done = False
        loop.at(self._when, self)

    def cancel(self) -> None:
        """Do not do it. Idempotent."""
        self.done = True

    def expire(self) -> None:
        if self._interval is None:
            self.done = True
        else:
            missed = max(0, (self._loop.now() - self._when) // self._interval)
            self._when += (missed + 1) * self._interval
            self._loop.at(self._when, self)
        self._action()
