"""What the runtime needs of an event loop: a clock, something to park on, one timer, a pause.

On asyncio these are futures and the loop's own timer, since a message through anyio's objects costs ten times as much.
On trio they are made of anyio's. Everything here belongs to the thread of its loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Generator
from functools import partial
from typing import Protocol, cast

import anyio
import anyio.abc
import anyio.lowlevel

from ._deadlines import Deadlines

InvalidStateError = asyncio.InvalidStateError


class Wait(Protocol):
    """Somebody parks on it, once; somebody else wakes him, once. An asyncio future is one."""

    def set_result(self, result: object, /) -> None:
        """Raises InvalidStateError when it is done."""
        ...

    def set_exception(self, error: BaseException, /) -> None: ...

    def done(self) -> bool:
        """Whether it was woken, or its waiter was cancelled."""
        ...

    def __await__(self) -> Generator[object, None, object]: ...


class RunningTask(Protocol):
    """A task as it is cancelled by others: asyncio's."""

    def cancel(self) -> object: ...

    def uncancel(self) -> object: ...


class Timed(Protocol):
    """Something that happens when its time has come, unless it is done before."""

    @property
    def done(self) -> bool: ...

    def expire(self) -> None: ...


class Loop(Deadlines[Timed]):
    """The running event loop, and all deadlines of one runtime in one heap under one timer."""

    def __init__(self) -> None:
        super().__init__()
        self._due = math.inf

    def now(self) -> float:
        """Seconds on the loop's monotonic clock."""
        raise NotImplementedError

    def make_wait(self) -> Wait:
        raise NotImplementedError

    def pause(self) -> Awaitable[None]:
        """Let all others that can run take their turn."""
        raise NotImplementedError

    def running_task(self) -> RunningTask | None:
        """The task that runs this, if it can be cancelled by itself."""
        return None

    def start(self, group: anyio.abc.TaskGroup) -> None:
        """Begin; what needs a task gets one from this group."""

    def stop(self) -> None:
        """No deadline counts any more."""

    def at(self, when: float, entry: Timed) -> None:
        """Call `entry.expire` at this moment, unless `entry.done` by then."""
        self.add(when, entry)
        if when < self._due:  # a timer that fires too early looks again: cheaper than a new one for every entry
            self._arm(when)

    def _arm(self, when: float) -> None:
        """Set the timer to this, which is earlier than it is set to."""
        raise NotImplementedError

    def _sweep(self, due: float) -> None:
        # asyncio fires timers up to the clock's resolution early; without `due` that would be for ever too early
        now = max(self.now(), due)
        while (entry := self.pop_expired(now)) is not None:
            entry.expire()
        if (when := self.next()) is not None and when < self._due:
            self._arm(when)


class AsyncioLoop(Loop):
    """asyncio, uvloop, and every other loop with asyncio's interface."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.now = loop.time  # type: ignore[method-assign]
        self.make_wait = loop.create_future  # type: ignore[method-assign]
        if isinstance(loop, asyncio.BaseEventLoop):  # it does these two in Python; what it calls itself is cheaper
            if type(loop).time is asyncio.BaseEventLoop.time:
                self.now = time.monotonic  # type: ignore[method-assign]
            if type(loop).create_future is asyncio.BaseEventLoop.create_future:
                self.make_wait = partial(asyncio.Future, loop=loop)  # type: ignore[method-assign]

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def running_task(self) -> RunningTask | None:
        return asyncio.current_task(self._loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        self._timer = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        due, self._due = self._due, math.inf
        self._timer = None
        self._sweep(due)


class AnyioWait:
    """A parking place of anyio's parts."""

    __slots__ = ("_cancelled", "_error", "_event", "_result")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._cancelled = False
        self._result: object = None
        self._error: BaseException | None = None

    def set_result(self, result: object, /) -> None:
        if self.done():
            raise InvalidStateError  # as a future does
        self._result = result
        self._event.set()

    def set_exception(self, error: BaseException, /) -> None:
        self._error = error
        self._event.set()

    def done(self) -> bool:
        return self._cancelled or self._event.is_set()

    def __await__(self) -> Generator[object, None, object]:
        return cast(Generator[object, None, object], self._wait().__await__())

    async def _wait(self) -> object:
        try:
            await self._event.wait()
        except BaseException:
            self._cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return self._result


class AnyioLoop(Loop):
    """trio, through anyio."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = anyio.Event()
        self._stopped = False
        self.now = anyio.current_time  # type: ignore[method-assign]
        self.make_wait = AnyioWait  # type: ignore[method-assign]

    def pause(self) -> Awaitable[None]:
        return anyio.lowlevel.checkpoint()

    def start(self, group: anyio.abc.TaskGroup) -> None:
        group.start_soon(self._keep_time)

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()

    def _arm(self, when: float) -> None:
        self._due = when
        self._changed.set()

    async def _keep_time(self) -> None:
        while not self._stopped:
            # Shielded: when the runtime is cancelled, its actors still end in time; `stop` ends this.
            with anyio.move_on_after(self._due - self.now(), shield=True) as scope:
                await self._changed.wait()
            self._changed = anyio.Event()
            if scope.cancelled_caught:
                due, self._due = self._due, math.inf
                self._sweep(due)


def running_loop() -> Loop:
    """The loop that runs this code."""
    try:
        return AsyncioLoop()
    except RuntimeError:
        return AnyioLoop()
