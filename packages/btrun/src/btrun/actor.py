"""The base of all actors: an object whose handlers run one at a time.

    class Counter(Actor):
        def __init__(self) -> None:
            self.total = 0

        @handle
        def add(self, message: Add) -> int:
            self.total += message.amount
            return self.total

A handler is `def` or `async def`. What it returns is the answer to a call. A BlocktreeError that it raises for a call
is an answer too; any other exception, and every exception for a `send`, ends the actor, and its supervisor decides.
Handlers must leave no tasks behind: use a task group inside, or an actor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ._handlers import Route, handle, read_handlers
from ._timers import Timer
from .errors import RunError
from .mailboxes import Mailbox
from .reasons import Down, Reason, is_failure
from .refs import Ref
from .topics import Subscription, Topic

if TYPE_CHECKING:
    from ._cell import Cell
    from ._doors import DoorHandler
    from ._runtime import Runtime

__all__ = ["Actor", "LinkedExitError", "handle"]


class LinkedExitError(RunError):
    """An actor to which this one is linked failed. Raised by the default `on_exit`, to fail with it."""

    def __init__(self, down: Down) -> None:
        super().__init__(f"{down.ref.path}, to which it was linked, ended: {down.reason}")
        self.down = down


class Actor:
    """Subclass it, and declare handlers with `handle`. `__init__` may use `self.ref` and timers, but not wait."""

    mailbox: ClassVar[Mailbox] = Mailbox()
    grace: ClassVar[float] = 5.0  #: seconds that a handler gets to finish when the actor is stopped, and `on_stop` gets
    reentrant: ClassVar[bool] = False  #: while a handler waits for a call, calls that come back are handled beside it

    _handlers: ClassVar[Mapping[type, Route]] = {}
    _cell: Cell

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._handlers = read_handlers(cls, depth=2)

    async def on_start(self) -> None:
        """Runs before the first message of each life. An exception fails the actor."""

    async def on_stop(self, reason: Reason) -> None:
        """Runs after the last message of each life, however it ended; at most `grace` seconds."""

    async def on_exit(self, down: Down) -> None:
        """An actor to which this one is linked ended. By default a failure is shared; override it to decide."""
        if is_failure(down.reason):
            raise LinkedExitError(down)

    @property
    def ref(self) -> Ref:
        """The reference to this actor."""
        return self._cell.ref

    @property
    def runtime(self) -> Runtime:
        return self._cell.runtime

    def stop(self) -> None:
        """End after this message. A permanent child is started anew; `self.ref.stop()` ends it for good."""
        self._cell.request_stop()

    def figures(self) -> Mapping[str, int]:
        """Numbers of its own, as `bt ps` shows them. Called at any moment, in the loop: it must be quick."""
        return {}

    def answer(self, handler: DoorHandler, *, below: str = "") -> None:
        """Let requests to this actor's path (or to the name `below` it) reach a handler as they are, until this life
        ends: without its mailbox, and many at once. In `__init__` or `on_start`. Raises UsageError.
        """
        self._cell.runtime.doors.open(self._cell, handler, below)

    async def subscribe(self, topic: Topic, *, below: bool = False) -> Subscription:
        """Get what is published at a topic (and `below` it) into the mailbox, from now until this life ends.

        Usually in `on_start`. See `btrun.topics`. Raises NoLinkError, and RemoteError where the other side refuses.
        """
        return await self._cell.runtime.subscribe(self._cell, topic, below)

    def send_after(self, delay: float, message: object) -> Timer:
        """Send it to this actor after `delay` seconds, unless this life ends or the timer is cancelled before."""
        return self._cell.send_later(delay, message, None)

    def send_every(self, interval: float, message: object) -> Timer:
        """Likewise every `interval` seconds. A tick that finds the mailbox full is a dead letter."""
        return self._cell.send_later(interval, message, interval)
