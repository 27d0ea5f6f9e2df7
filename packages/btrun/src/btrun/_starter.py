"""Starts tasks for those who are in none: timers, callbacks of links, whoever sends from a callback.

Task groups start children only from within a task. This is that task. What it starts is shielded, so that a runtime
that is cancelled still ends its actors in order; `close`, which comes after that, cancels it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TypeAlias

import anyio
import anyio.abc

from ._loops import Loop, Wait

Work: TypeAlias = Callable[[], Coroutine[object, object, None]]


class Starter:
    """One task that starts others in its group."""

    def __init__(self, loop: Loop, group: anyio.abc.TaskGroup) -> None:
        self._loop = loop
        self._group = group
        self._queue: deque[Work] = deque()
        self._wait: Wait | None = None
        self._closed = False
        self._scopes: dict[anyio.CancelScope, None] = {}
        group.start_soon(self._run)

    def start(self, work: Work) -> None:
        """Have it run as a task, soon."""
        self._queue.append(work)
        self._wake()

    def close(self) -> None:
        """Start nothing any more, and cancel what was started."""
        self._closed = True
        for scope in list(self._scopes):
            scope.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    async def _run(self) -> None:
        with anyio.CancelScope(shield=True):
            while not self._closed:
                while self._queue:
                    self._group.start_soon(self._shielded, self._queue.popleft())
                self._wait = self._loop.make_wait()
                await self._wait

    async def _shielded(self, work: Work) -> None:
        if self._closed:
            return
        with anyio.CancelScope(shield=True) as scope:
            self._scopes[scope] = None
            try:
                await work()
            finally:
                del self._scopes[scope]
