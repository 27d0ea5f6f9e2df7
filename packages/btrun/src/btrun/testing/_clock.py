"""An asyncio loop whose clock jumps instead of waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar, cast

T = TypeVar("T")


class HangError(Exception):
    """Everybody waits, and nothing is to come: the program would hang for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing; tells how long it should have waited."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise HangError("everybody waits, and no timer is set: this would hang for ever")
        self._jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        super().__init__(_JumpingSelector(self._advance))

    def time(self) -> float:
        return self._virtual_now

    def _advance(self, seconds: float) -> None:
        self._virtual_now += seconds


def run_virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run an async program to its end in virtual time; takes no longer than its work. Raises HangError."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(cast(Coroutine[object, object, T], main()))
