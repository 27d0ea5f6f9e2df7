"""Doors: where requests reach an actor as they are, without its mailbox and without the wire of this package.

    class Files(Actor):
        def __init__(self, server: FileServer) -> None:
            self.answer(server.handle)                      # requests to the actor's own path
            self.answer(server.changes, below="changes")    # and to a name below it

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
    from ._runtime import Runtime

Buffer: TypeAlias = bytes | bytearray | memoryview
Answer: TypeAlias = Buffer | Sequence[Buffer] | None
TaskHandler: TypeAlias = Callable[[bttp.Request], Awaitable[Answer]]
ThreadHandler: TypeAlias = Callable[[bttp.Request], Answer]
DoorHandler: TypeAlias = TaskHandler | ThreadHandler

PATIENCE = 5.0  #: seconds: the pauses of a few failures in a row, and less than callers of such services wait
LOOK = 0.02  #: seconds between two looks whether a new life has begun: less than the shortest pause before one
INNER = ".bt"  #: below the path of an actor with doors: where it is reached as other actors are


class Door:
    """One path of an actor; it outlives the lives of the actor. The subclasses say where its handlers run."""

    def __init__(self, path: BlockPath, cell: Cell) -> None:
        self.path = path
        self.cell = cell
        self.handler: DoorHandler | None = None  #: of the present life
        self.under_way = 0
        self.handled = 0

    def close(self, down: Down) -> None:
        """A life of the actor ended."""
        self.handler = None

    @property
    def _settled(self) -> bool:
        """Whether there is nothing to wait for: a life answers, or none will."""
        state = self.cell.state
        return state is State.ENDED or (state is State.RUNNING and self.handler is not None)

    def _found(self) -> DoorHandler:
        """After waiting. Raises NoSuchActorError, UnavailableError."""
        handler = self.handler
        if self.cell.state is State.ENDED:
            raise NoSuchActorError(f"{self.path} does not answer any more: {self.cell.ended}")
        if handler is None or not self._settled:
            raise UnavailableError(f"{self.path} is being started anew", hint="try again soon")
        return handler

    def _fail(self, handler: DoorHandler, error: Exception) -> None:
        if handler is self.handler:  # of the present life
            self.cell.fail_soon(error)

    def _defect(self) -> RunError:
        """What the caller is told of one."""
        return RunError(
            f"{self.path} failed to answer, which is a defect of it; its log has the details", kind=Kind.INTERNAL
        )


class TaskDoor(Door):
    """Its handlers are `async`; everything happens in the runtime's thread."""

    async def __call__(self, request: bttp.Request) -> Answer:
        handler = self.handler
        if handler is None or self.cell.state is not State.RUNNING:
            handler = await self._wait_open(request)
        self.under_way += 1
        try:
            return await handler(request)  # type: ignore[no-any-return, misc]
        except BlocktreeError:
            raise
        except Exception as error:
            self._fail(handler, error)
            raise self._defect() from error
        finally:
            self.under_way -= 1
            self.handled += 1

    async def _wait_open(self, request: bttp.Request) -> DoorHandler:
        until = _patience(request)
        while not self._settled and time.monotonic() < until:
            await anyio.sleep(LOOK)
        return self._found()


class ThreadDoor(Door):
    """Its handlers block; they run in several threads at once."""

    def __init__(self, path: BlockPath, cell: Cell) -> None:
        super().__init__(path, cell)
        self._lock = threading.Lock()
        self._token = anyio.lowlevel.current_token()

    def __call__(self, request: bttp.Request) -> Answer:
        handler = self.handler
        if handler is None or self.cell.state is not State.RUNNING:
            handler = self._wait_open(request)
        with self._lock:
            self.under_way += 1
        try:
            return handler(request)  # type: ignore[return-value]
        except BlocktreeError:
            raise
        except Exception as error:
            with contextlib.suppress(anyio.RunFinishedError):
                anyio.from_thread.run_sync(self._fail, handler, error, token=self._token)
            raise self._defect() from error
        finally:
            with self._lock:
                self.under_way -= 1
                self.handled += 1

    def _wait_open(self, request: bttp.Request) -> DoorHandler:
        until = _patience(request)
        while not self._settled and time.monotonic() < until:
            time.sleep(LOOK)
        return self._found()


class Doors:
    """Those of one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._by_name: dict[str, dict[str, Door]] = {}  # actor → name below it

    def open(self, cell: Cell, handler: DoorHandler, below: str) -> None:
        """See Actor.answer."""
        if cell.state not in (State.STARTING, State.RUNNING):
            raise UsageError(f"{cell.path} does not run any more", hint="use answer() in __init__ or on_start")
        known = self._by_name.setdefault(cell.name, {})
        door = known.get(below)
        if door is None or door.cell is not cell:
            door = known[below] = self._make(cell, handler, below, door)
            cell.add_watcher(door.close)
        if isinstance(door, TaskDoor) is not _is_async(handler):
            raise UsageError(f"{door.path} was answered in another way: `async def` and `def` cannot take turns")
        door.handler = handler

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
    """Until when a request may wait, on the monotonic clock."""
    until = time.monotonic() + PATIENCE
    return until if request.deadline is None else min(until, request.deadline)
