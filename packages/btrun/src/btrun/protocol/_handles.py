"""Handles: what a program holds of a session. Each has exactly the steps of its state, and gives the next one.

The handle classes of a protocol are generated (`_generate`), one for each state of each role, so that type checkers
reject a step that a state does not allow. A handle is linear: a step consumes it. What checkers cannot see (a handle
used twice, one that never came to the end) is seen when it runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, cast

import anyio
from btlib import Kind
from msgspec import Struct

from ..errors import UsageError
from ._channel import Channel
from ._declaration import Protocol
from ._graph import END_NAME
from ._joining import SESSION_BYTES, Joiner, nearest_to
from ._projection import project
from ._session import Session
from ._table import Table
from ._versions import agree
from ._violations import ViolationCounts
from .errors import ConsumedHandleError, DeclarationError, ProtocolError

H_co = TypeVar("H_co", bound="Handle", covariant=True)
T = TypeVar("T")

#: What a step gives when it is awaited. Not an `Awaitable`, so that checkers find a step that nobody awaits.
Taking: TypeAlias = Coroutine[Any, Any, T]


class Handle:
    """A state of a running session, seen by one role."""

    state: ClassVar[str] = END_NAME

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session: Session | None = session

    @property
    def session_number(self) -> bytes:
        """The same at all sides of a session among more than two, for logs and traces; empty between two."""
        if self._session is None:
            raise self._consumed()
        return self._session.monitor.session

    def give_back(self, session: Session) -> None:
        """Undo a step that was refused before anything left."""
        self._session = session

    def _send(self, message: Struct) -> Taking[Any]:
        session = self._session
        if session is None:
            raise self._consumed()
        self._session = None
        return session.send(self, message)

    def _receive(self) -> Taking[Any]:
        session = self._session
        if session is None:
            raise self._consumed()
        self._session = None
        return session.receive()

    def _consumed(self) -> ConsumedHandleError:
        return ConsumedHandleError(
            f"this {type(self).__name__} was used already; go on with the handle that its step gave"
        )


class Ended(Handle):
    """The session is over; nothing can be done with it."""

    __slots__ = ()


class Side(Generic[H_co]):
    """One role of a protocol with its handles: call it with a channel to open a session.

    `violations` counts what was broken in all sessions of this side.
    """

    def __init__(
        self,
        protocol: type[Protocol],
        role: str,
        start: type[H_co],
        others: Sequence[type[Handle]] = (),
        *,
        fingerprint: int,
    ) -> None:
        if fingerprint != protocol.fingerprint:
            raise DeclarationError(
                protocol.__name__, ("its handles were generated from another version; generate them again",)
            )
        self.protocol = protocol
        self.role = role
        self.violations = ViolationCounts()
        handles: tuple[type[Handle], ...] = (start, *others)
        self._table = _fitted(project(protocol.graph, role), {handle.state: handle for handle in handles})
        self.among_two = len(protocol.tables) == 2
        self._towards = nearest_to(protocol.graph.first_role, protocol.tables).get(role)

    @property
    def fingerprint(self) -> int:
        return self.protocol.fingerprint

    def __call__(self, channels: Channel | Mapping[str, Channel], *, session: bytes | None = None) -> Opening[H_co]:
        """A session as an async context manager, over the channel to the other role or one to each by name.

        `session`: the number of a session among more than two, of SESSION_BYTES, if the program knows it; otherwise
        the role that speaks first makes one, and the others learn it.
        """
        if session is not None and (self.among_two or len(session) != SESSION_BYTES):
            raise UsageError(f"{self.protocol.__name__} cannot be joined as the session {session.hex() or 'nothing'}")
        return Opening((self,), channels, session)

    def begin(self, channels: Mapping[str, Channel], number: bytes = b"") -> Session:
        """A session whose version and number are agreed already."""
        return Session(self._table, channels, self.violations, number)

    async def join(self, channels: Mapping[str, Channel], session: bytes | None) -> Session:
        """One among more than two, begun. Raises JoiningError, VersionError, StateTimeoutError."""
        joiner = Joiner(self._table, self.fingerprint, channels)
        if session is None and self._towards is None:
            session = secrets.token_bytes(SESSION_BYTES)
        return self.begin(joiner.channels, await joiner.join(session, self._towards))

    def channels(self, given: Channel | Mapping[str, Channel]) -> Mapping[str, Channel]:
        """Channels by role. Raises LookupError when one is missing or too many."""
        peers = self._table.peers
        found = given if isinstance(given, Mapping) else dict.fromkeys(peers[:1], given)
        if set(found) != set(peers):
            raise LookupError(f"the {self.role} needs channels to {', '.join(peers)}; got {', '.join(found)}")
        return found


class Opening(Generic[H_co]):
    """Opens a session on entry and leaves it on exit, telling the other side if it was not at its end."""

    def __init__(
        self, sides: Sequence[Side[H_co]], channels: Channel | Mapping[str, Channel], number: bytes | None = None
    ) -> None:
        self._sides = {side.fingerprint: side for side in sides}
        self._channels = sides[0].channels(channels)
        self._number = number
        self._session: Session | None = None

    async def __aenter__(self) -> H_co:
        try:
            self._session = await self._begin()
        except ProtocolError as error:
            self._refuse(error.kind, error.message)
            raise
        except BaseException:
            self._refuse(Kind.CANCELLED, "the session was not begun")
            raise
        return cast(H_co, self._session.handle())

    async def _begin(self) -> Session:
        first = next(iter(self._sides.values()))
        if not first.among_two:
            return await first.join(self._channels, self._number)
        (channel,) = self._channels.values()
        chosen = await agree(channel, first.protocol.__name__, tuple(self._sides))
        return self._sides[chosen].begin(self._channels)

    def _refuse(self, kind: Kind, reason: str) -> None:
        for channel in self._channels.values():
            channel.close(kind, reason)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            self._session.close(failed=error is not None and not cancelled)


def any_version(*sides: Side[H_co]) -> AnyVersion[H_co]:
    """A side that speaks several versions of a protocol, the one that it likes best first.

    A session gives the first handle of the version that both sides can speak; its class tells which.
    """
    return AnyVersion(sides)


class AnyVersion(Generic[H_co]):
    """See `any_version`."""

    def __init__(self, sides: Sequence[Side[H_co]]) -> None:
        self._sides = sides

    def __call__(self, channel: Channel) -> Opening[H_co]:
        return Opening(self._sides, channel)


def _fitted(table: Table, handles: Mapping[str, type[Handle]]) -> Table:
    """The table with the handle of each row and the case of each message. Raises DeclarationError when one lacks."""
    for row in table.rows:
        handle = Ended if row.is_end else handles.get(row.name)
        if handle is None or any(not hasattr(handle, label) for label in row.accepts):
            raise DeclarationError(table.protocol, (f"the {table.role} has no handle for its state {row.name}",))
        row.handle = handle
        for step in row.receives.values():
            step.case = getattr(handle, step.label)
    return table
