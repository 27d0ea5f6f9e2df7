"""Doors: where requests reach an actor as they are, without its mailbox and without the wire of this package.

    class Files(Actor):
        async def on_start(self) -> None:
            self.answer(self.server.handle)                      # requests to the actor's own path
            self.answer(self.server.changes, below="changes")    # and to a name below it

It is for services that have a wire of their own, or whose requests must not wait for each other. A handler is what a
`bttp.Router` takes: `async def` runs in the runtime's loop, `def` in the threads of the server that serves the router.
All else stays the actor's: it is supervised, inspected and stopped as any other, and may have handlers of messages too.

- Requests are counted; they are no messages, so a trace does not show them.
- What a handler raises is the caller's answer where it is a BlocktreeError. Anything else is a defect: the caller is
  told so, and this life of the actor ends.
- While the actor is started anew, requests wait: at most `PATIENCE`, and not beyond their deadlines.
- At `<actor's path>/.bt` the actor is reached as others are, with messages, monitors and requests to stop.

A name that has a door keeps it as long as the runtime: when the actor is gone for good, nobody answers there.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.from_thread
import anyio.lowlevel
import bttp
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ._states import State
from .errors import NoSuchActorError, RunError, UnavailableError, UsageError
from .reasons import Down

if TYPE_CHECKING:
    from ._cell import Cell
    from ._loops import Wait
    from ._runtime import Runtime

Buffer: TypeAlias = bytes | bytearray | memoryview
Answer: TypeAlias = Buffer | Sequence[Buffer] | None
TaskHandler: TypeAlias = Callable[[bttp.Request], Awaitable[Answer]]
ThreadHandler: TypeAlias = Callable[[bttp.Request], Answer]
DoorHandler: TypeAlias = TaskHandler | ThreadHandler

PATIENCE = 5.0  #: seconds: the pauses of a few failures in a row, and less than callers of such services wait
INNER = ".bt"  #: below the path of an actor with doors: where it is reached as other actors are


class Door:
    """One path of an actor; it outlives the lives of the actor. The subclasses say where its handlers run."""

    def __init__(self, path: BlockPath, cell: Cell) -> None:
        self.path = path
        self.cell = cell
        self.under_way = 0
        self.handled = 0

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for: a life answers, or none will."""
        raise NotImplementedError

    def closed(self, down: Down) -> None:
        """A life of the actor ended, perhaps the last one."""
        raise NotImplementedError

    def _defect(self) -> RunError:
        """What the caller is told of it."""
        return RunError(
            f"{self.path} failed to answer, which is a defect of it; its log has the details", kind=Kind.INTERNAL
        )

    def _check(self) -> None:
        """After waiting. Raises NoSuchActorError, UnavailableError."""
        if self.cell.state is State.ENDED:
            raise NoSuchActorError(f"{self.path} does not answer any more: {self.cell.ended}")
        if not self.settled:
            raise UnavailableError(f"{self.path} is being started anew", hint="try again soon")


class TaskDoor(Door):
    """Its handlers are `async`; everything happens in the runtime's thread."""

    def __init__(self, path: BlockPath, cell: Cell) -> None:
        super().__init__(path, cell)
        self._handler: TaskHandler | None = None
        self._waits: list[Wait] = []

    async def __call__(self, request: bttp.Request) -> Answer:
        handler = self._handler
        if handler is None or self.cell.state is not State.RUNNING:
            handler = await self._wait_open(request)
        self.under_way += 1
        try:
            return await handler(request)
        except BlocktreeError:
            raise
        except Exception as error:
            if handler is self._handler:  # of this life
                self.cell.fail_soon(error)
            raise self._defect() from error
        finally:
            self.under_way -= 1
            self.handled += 1

    @property
    def settled(self) -> bool:
        state = self.cell.state
        return state is State.ENDED or (state is State.RUNNING and self._handler is not None)

    def opened(self, handler: TaskHandler) -> None:
        """A life answers."""
        self._handler = handler
        self._wake()

    def closed(self, down: Down) -> None:
        self._handler = None
        if not down.restarting:
            self._wake()

    def _wake(self) -> None:
        waits, self._waits = self._waits, []
        for wait in waits:
            if not wait.done():
                wait.set_result(None)

    async def _wait_open(self, request: bttp.Request) -> TaskHandler:
        with anyio.move_on_after(_patience(request)):
            while not self.settled:
                wait = self.cell.runtime.loop.make_wait()
                self._waits.append(wait)
                await wait
        self._check()
        assert self._handler is not None
        return self._handler


class ThreadDoor(Door):
    """Its handlers block; they run in several threads at once."""

    def __init__(self, path: BlockPath, cell: Cell) -> None:
        super().__init__(path, cell)
        self._handler: ThreadHandler | None = None
        self._changed = threading.Condition(threading.Lock())
        self._token = anyio.lowlevel.current_token()

    def __call__(self, request: bttp.Request) -> Answer:
        handler = self._handler
        if handler is None or self.cell.state is not State.RUNNING:
            handler = self._wait_open(request)
        with self._changed:
            self.under_way += 1
        try:
            return handler(request)
        except BlocktreeError:
            raise
        except Exception as error:
            with contextlib.suppress(anyio.RunFinishedError):
                anyio.from_thread.run_sync(self._fail, handler, error, token=self._token)
            raise self._defect() from error
        finally:
            with self._changed:
                self.under_way -= 1
                self.handled += 1

    @property
    def settled(self) -> bool:
        state = self.cell.state
        return state is State.ENDED or (state is State.RUNNING and self._handler is not None)

    def opened(self, handler: ThreadHandler) -> None:
        """A life answers."""
        with self._changed:
            self._handler = handler
            self._changed.notify_all()

    def closed(self, down: Down) -> None:
        with self._changed:
            self._handler = None
            self._changed.notify_all()

    def _fail(self, handler: ThreadHandler, error: Exception) -> None:
        if handler is self._handler:
            self.cell.fail_soon(error)

    def _wait_open(self, request: bttp.Request) -> ThreadHandler:
        with self._changed:
            self._changed.wait_for(lambda: self.settled, _patience(request))
        self._check()
        handler = self._handler
        if handler is None:  # it ended again since
            raise UnavailableError(f"{self.path} is being started anew", hint="try again soon")
        return handler


class Doors:
    """Those of one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._by_name: dict[str, dict[str, Door]] = {}  # actor → name below it

    def open(self, cell: Cell, handler: DoorHandler, below: str) -> None:
        """See Actor.answer."""
        if cell.state is not State.RUNNING:
            raise UsageError(f"{cell.path} does not run yet, or any more", hint="use answer() in on_start")
        known = self._by_name.setdefault(cell.name, {})
        door = known.get(below)
        if door is None or door.cell is not cell:
            door = known[below] = self._make(cell, handler, below, door)
            cell.add_watcher(door.closed)
        if (isinstance(door, TaskDoor) and _is_async(handler)) or (isinstance(door, ThreadDoor) and not _is_async(handler)):
            door.opened(handler)  # type: ignore[arg-type]
        else:
            raise UsageError(f"{door.path} was answered in another way: `async def` and `def` cannot take turns")

    def of(self, name: str) -> Sequence[Door]:
        """The doors of an actor."""
        return tuple(self._by_name.get(name, {}).values())

    def _make(self, cell: Cell, handler: DoorHandler, below: str, known: Door | None) -> Door:
        if known is not None:  # of an actor that is gone; the router knows it
            known.cell = cell
            return known
        runtime = self._runtime
        if runtime.block_path is None:
            raise UsageError("a runtime without a path cannot be reached by others", hint="Runtime(identity, path)")
        place = BlockPath(runtime.block_path.root, (*runtime.block_path.names, *cell.name.split("/")))
        path = place.child(below) if below else place
        door = TaskDoor(path, cell) if _is_async(handler) else ThreadDoor(path, cell)
        if not self._by_name[cell.name]:
            runtime.router.add(place.child(INNER), runtime.remote)
        runtime.router.add(path, door)
        return door


def _is_async(handler: DoorHandler) -> bool:
    return inspect.iscoroutinefunction(handler)


def _patience(request: bttp.Request) -> float:
    left = PATIENCE if request.deadline is None else request.deadline - time.monotonic()
    return max(0.0, min(PATIENCE, left))
