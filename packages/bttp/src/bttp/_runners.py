"""Handlers on asyncio that begin at once, where their message was read, and go on in a task only if they wait.

Most handlers never do, and a task for each would cost more than the rest of its call. A *runner* is a task that has
finished a handler and waits for one that needs it:

    idle -> a handler begins as in its task -> it returned: still idle
                                            -> it waits: the runner goes on with it, and is idle again

What a handler sees is a task of its own: `current_task` is the runner's, which nobody else uses meanwhile, and context
variables are its own. Where no runner is idle, or a task runs already, the handler begins in a new task, which becomes
a runner. All of it belongs to the thread of one event loop.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # documented for those who extend asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Generic, TypeAlias, TypeVar

MAX_IDLE = 64  #: runners kept: about 3 kB each; enough that a usual load of handlers that wait starts no tasks

_T = TypeVar("_T")
#: What a runner does: called in its task, or never where that ends before.
Job: TypeAlias = Callable[[], Awaitable[None]]


class Course(Generic[_T]):
    """A coroutine that has begun and waits for something. To await it, once, is to go on with it."""

    __slots__ = ("_context", "_coroutine", "_thrown", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, _T], context: Context, waits_for: Any) -> None:
        self._coroutine = coroutine
        self._context = context
        self._waits_for = waits_for
        self._thrown: BaseException | None = None

    def interrupt(self, error: asyncio.CancelledError) -> None:
        """Its task was cancelled before it could go on: as asyncio does, by way of what it waits for if that works."""
        if self._waits_for is None or not self._waits_for.cancel():
            self._thrown = error

    def __await__(self) -> Generator[Any, Any, _T]:
        run, coroutine, waits_for, error = self._context.run, self._coroutine, self._waits_for, self._thrown
        while True:
            if error is None:
                try:
                    yield waits_for
                except BaseException as thrown:  # also what ends the task: all of it is the coroutine's
                    error = thrown
            try:
                if error is None:
                    waits_for = run(coroutine.send, None)
                else:
                    waits_for, error = run(coroutine.throw, error), None
            except StopIteration as returned:
                result: _T = returned.value
                return result


class Runner:
    """One task that is idle, or goes on with a handler."""

    def __init__(self, runners: Runners) -> None:
        self.task: asyncio.Task[None]
        self._runners = runners
        self._wake: asyncio.Future[None]
        self._course: Course[Any] | None = None
        self._job: Job | None = None

    @property
    def ready(self) -> bool:
        """Whether a handler may begin: it is idle, and nobody has cancelled it."""
        return not self._wake.done()

    def begin(self, coroutine: Coroutine[Any, Any, _T]) -> _T | Course[_T]:
        """Run it until it returns or waits. Then say `go_on`. Raises what it raises."""
        loop, context = self._runners.loop, copy_context()
        _enter_task(loop, self.task)
        try:
            waits_for = context.run(coroutine.send, None)
        except StopIteration as returned:
            result: _T = returned.value
            return result
        finally:
            _leave_task(loop, self.task)
        self._course = Course(coroutine, context, waits_for)
        return self._course

    def go_on(self, job: Job) -> None:
        """Do this, which awaits the course that has just begun."""
        self._job = job
        self._runners.idle.remove(self)
        if not self._wake.done():
            self._wake.set_result(None)

    async def live(self, job: Job) -> None:
        """The task: this first, then whatever has begun."""
        self.task = asyncio.current_task()  # type: ignore[assignment]
        await job()
        while len(self._runners.idle) < MAX_IDLE and not self.task.cancelling():
            job = await self._next()
            await job()

    async def _next(self) -> Job:
        self._wake = self._runners.loop.create_future()
        self._runners.idle.append(self)
        try:
            await self._wake
        except asyncio.CancelledError as error:
            if self._job is None or self._course is None:
                self._runners.idle.remove(self)
                raise
            self._course.interrupt(error)
        assert self._job is not None
        job, self._job, self._course = self._job, None, None
        return job


class Runners:
    """All tasks of handlers of one owner, which ends them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.tasks: set[asyncio.Task[None]] = set()
        self.idle: list[Runner] = []

    def start(self, job: Job) -> None:
        """Do it in a task, which is a runner afterwards."""
        self.add(self.loop.create_task(Runner(self).live(job)))

    def add(self, task: asyncio.Task[None]) -> None:
        """End this one, too."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def take(self) -> Runner | None:
        """One for a handler to begin in, if that can be."""
        if self.idle and asyncio.current_task(self.loop) is None and (runner := self.idle[-1]).ready:
            return runner
        return None

    def cancel(self) -> None:
        """End all of them; afterwards wait for `tasks`."""
        for task in self.tasks:
            task.cancel()
