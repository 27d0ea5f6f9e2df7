"""How the conversations of a session among more than two become one: before its first message each side says on each
of its channels which session this is, whom it plays in it, for whom it takes the other side, and who the others are.

The role that speaks first makes the session's number; the others learn it, each from the neighbour that is nearest to
that role, and pass it on. Nothing is delivered before all neighbours of a side have said the same session, and agree
on who is behind each role that both know. It does not connect, and does not choose versions: each side speaks one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import anyio
from btlib import Kind, Principal
from btserde import U64, Fixed
from msgspec import Struct

from ._channel import Accepts, Channel, UnexpectedMessageError
from ._table import Table
from ._versions import AGREE_SECONDS, silent
from .errors import JoiningError, VersionError

#: Bytes of a session's number: nobody else makes the same by chance.
SESSION_BYTES = 16
SessionNumber: TypeAlias = Annotated[bytes, Fixed[SESSION_BYTES]]


class Player(Struct, frozen=True, kw_only=True):
    """Who is behind a role, as one side has it from its link."""

    role: str
    principal: Principal


class Joining(Struct, frozen=True, kw_only=True):
    """The first message of each side of a channel, in a session among more than two."""

    fingerprint: U64
    session: SessionNumber
    sender: str  #: the role of whoever says this
    receiver: str  #: the role that it takes the other side for
    players: tuple[Player, ...]  #: the sender's neighbours, the receiver among them


_ACCEPTS: Accepts = {"Joining": Joining}


class Heard:
    """A channel whose other side has said already which session it joins. See `Gathering`."""

    def __init__(self, channel: Channel, joining: Joining) -> None:
        self.channel = channel
        self.joining = joining

    @property
    def peer(self) -> Principal:
        return self.channel.peer

    async def send(self, message: Struct) -> None:
        await self.channel.send(message)

    async def receive(self, accepts: Accepts) -> Struct:
        return await self.channel.receive(accepts)

    def close(self, kind: Kind | None = None, reason: str = "") -> None:
        self.channel.close(kind, reason)


def nearest_to(start: str, tables: Mapping[str, Table]) -> dict[str, str]:
    """For each role but `start` the neighbour that is on the shortest way there; of several, the first declared."""
    towards: dict[str, str] = {}
    for role in (queue := [start]):
        for peer in tables:
            if peer in tables[role].peers and peer != start and peer not in towards:
                towards[peer] = role
                queue.append(peer)
    return towards


async def hear(channel: Channel, protocol: str) -> Joining:
    """What the other side joins. Raises JoiningError, and StateTimeoutError where it says nothing."""
    with anyio.move_on_after(AGREE_SECONDS):
        try:
            joining = await channel.receive(_ACCEPTS)
        except UnexpectedMessageError as error:
            began = f"began a session of {protocol} with {error.label} instead of joining one"
            raise JoiningError(f"{channel.peer} {began}{error.detail and ': ' + error.detail}") from None
        if isinstance(joining, Joining):
            return joining
        raise JoiningError(f"{channel.peer} began a session of {protocol} without joining one")
    raise silent(channel, f"which session of {protocol} it joins")


class Joiner:
    """One side that joins a session: its role, its protocol, and its channels by role."""

    def __init__(self, table: Table, fingerprint: int, channels: Mapping[str, Channel]) -> None:
        self._table = table
        self._fingerprint = fingerprint
        self.channels = {role: c.channel if isinstance(c, Heard) else c for role, c in channels.items()}
        self._heard = {role: c.joining for role, c in channels.items() if isinstance(c, Heard)}

    async def join(self, session: bytes | None, towards: str | None) -> bytes:
        """Tell all, hear all, and compare. `session`: its number if this side knows it; else it is learnt from the
        neighbour `towards`. Raises JoiningError, VersionError, StateTimeoutError.
        """
        if session is None:
            assert towards is not None
            session = (await self._hear(towards)).session
        for role, channel in self.channels.items():
            await channel.send(self._joining(session, role))
        for role in self.channels:
            self._check(role, await self._hear(role), session)
        return session

    def _joining(self, session: bytes, receiver: str) -> Joining:
        return Joining(
            fingerprint=self._fingerprint,
            session=session,
            sender=self._table.role,
            receiver=receiver,
            players=tuple(Player(role=r, principal=c.peer) for r, c in self.channels.items()),
        )

    async def _hear(self, role: str) -> Joining:
        if role not in self._heard:
            self._heard[role] = await hear(self.channels[role], self._table.protocol)
        return self._heard[role]

    def _check(self, role: str, joining: Joining, session: bytes) -> None:
        peer, protocol, own = self.channels[role].peer, self._table.protocol, self._table.role
        if joining.fingerprint != self._fingerprint:
            raise VersionError(
                f"{peer} speaks version {joining.fingerprint:016x} of {protocol}, this side {self._fingerprint:016x}",
                hint="compare the two declarations with: bt protocol diff OLD NEW",
            )
        if joining.session != session:
            raise JoiningError(
                f"{peer}, as the {role} of {protocol}, joined the session {joining.session.hex()},"
                f" and the {own} is in {session.hex()}"
            )
        if (joining.sender, joining.receiver) != (role, own):
            raise JoiningError(
                f"{peer} joined {protocol} as the {joining.sender[:64]} who talks to the {joining.receiver[:64]};"
                f" here it is the {role}, and this is the {own}"
            )
        for player in joining.players:
            known = self.channels.get(player.role)
            if known is not None and known.peer != player.principal:
                raise JoiningError(
                    f"two are behind the {player.role} of {protocol}: {known.peer} talks to the {own},"
                    f" and {player.principal} to the {role}"
                )
