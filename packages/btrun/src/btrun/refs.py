"""A reference to an actor: a value. It can be compared, kept, sent in messages, and used the same near and far.

    path          where the actor is: `/bt1…/hosts/nas/app/counter`, or `local:/counter` in a runtime without a path
    incarnation   which one of that name: a reference to one that ended never reaches its successor

What differs for a remote one is told, not hidden: calls can raise UnavailableError, and messages are encoded.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol, TypeVar, overload

import msgspec
from btserde import U64

from ._pool import current_worker
from .errors import UsageError
from .messages import Ask

if TYPE_CHECKING:
    from .reasons import Down

R = TypeVar("R")


ANYBODY = 0  #: as an incarnation: whoever has the name when the message arrives


class Unset(msgspec.Struct, frozen=True):
    """Said nothing."""

    def __repr__(self) -> str:
        return "the runtime's"


UNSET = Unset()


class Target(Protocol):
    """What a reference leads to: an actor of this process, or the way to one of another."""

    def send(self, message: object) -> bool: ...

    def call(
        self, message: object, *, timeout: float | Unset | None = ..., shielded: bool = ...
    ) -> Awaitable[object]: ...

    def stop(self, *, drain: bool = False) -> None: ...

    def kill(self) -> None: ...

    def monitor(self) -> None: ...

    def link(self) -> None: ...

    async def wait_down(self) -> Down: ...


class Ref(msgspec.Struct, dict=True):
    """A reference to an actor. A value: it cannot be changed."""

    # Not `frozen`: such a Struct of a text and a number is never looked at by the collector of cycles, also when it
    # leads somewhere; and what it leads to leads back. See `bind`.

    path: str
    incarnation: U64

    def __hash__(self) -> int:
        return hash((self.path, self.incarnation))

    if not TYPE_CHECKING:  # where attributes may be set, so may any

        def __setattr__(self, name, value):
            raise AttributeError("a Ref cannot be changed")

    @property
    def name(self) -> str:
        """The last name of its path."""
        return self.path.rpartition("/")[2]

    if TYPE_CHECKING:

        @property
        def target(self) -> Target:
            """What it leads to here. Raises UsageError where no runtime says so."""
            ...

    else:

        def __getattr__(self, name):  # a reference that was received finds its way when it is first used
            if name == "target":
                return self._resolve()
            raise AttributeError(f"a Ref has no attribute {name!r}")

    def send(self, message: object) -> bool:
        """Queue a message; never waits. At most once, in order with other messages from here (on trio, those that come
        over one link at one moment may overtake each other).

        False: it was not queued, because the actor ended or its mailbox drops new messages; a dead letter tells. Raises
        MailboxFullError, UnhandledMessageError. A remote one is checked there; nothing tells what is lost on the way.
        """
        return self.target.send(message)

    @overload
    def call(self, message: Ask[R], *, timeout: float | Unset | None = ..., shielded: bool = ...) -> Awaitable[R]: ...
    @overload
    def call(
        self, message: object, *, timeout: float | Unset | None = ..., shielded: bool = ...
    ) -> Awaitable[object]: ...
    def call(
        self, message: object, *, timeout: float | Unset | None = UNSET, shielded: bool = False
    ) -> Awaitable[object]:
        """Send a message and wait for what its handler returns. At most once.

        It always ends: with the answer, with the BlocktreeError that the handler raised, or with DiedError,
        CallTimeoutError (after `timeout` seconds, or the deadline of the call that is being handled), CallCycleError,
        MailboxFullError, UnhandledMessageError, UnavailableError. Giving up cancels the handler, unless `shielded`.
        """
        return self.target.call(message, timeout=timeout, shielded=shielded)

    def stop(self, *, drain: bool = False) -> None:
        """Ask it to end after the message that it handles (with `drain`: after those that wait already).

        It is not started again, whatever its supervisor does with failures.
        """
        self.target.stop(drain=drain)

    def kill(self) -> None:
        """End it now, for good; what it does is cancelled."""
        self.target.kill()

    def monitor(self) -> None:
        """Let the actor that runs this get a `Down` when this one ends. Raises UsageError outside of actors."""
        self.target.monitor()

    def link(self) -> None:
        """Let the actor that runs this, and this one, end together; `on_exit` may decide otherwise."""
        self.target.link()

    async def wait_down(self) -> Down:
        """Wait until it has ended for good."""
        return await self.target.wait_down()

    def __str__(self) -> str:
        return self.path

    def _resolve(self) -> Target:
        worker = current_worker.get()
        if worker is None:
            raise UsageError(
                f"the reference to {self.path} came from elsewhere and belongs to no runtime yet",
                hint="use runtime.bind(reference)",
            )
        return worker.pool.runtime.bind(self).target


def make_ref(path: str, incarnation: int, target: Target) -> Ref:
    """A reference that knows where it leads."""
    ref = Ref(path, incarnation)
    bind(ref, target)
    return ref


def bind(ref: Ref, target: Target) -> None:
    """Let a reference lead somewhere; its value stays as it is."""
    msgspec.Struct.__setattr__(ref, "target", target)  # from now on the collector of cycles knows of it
    # The methods that are used most are the target's own: one Python call less for every message.
    ref.__dict__.update(send=target.send, call=target.call)
