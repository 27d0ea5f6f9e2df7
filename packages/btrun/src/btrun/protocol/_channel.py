"""What a session needs of the world: messages in order to and from one authenticated peer, and a last word.

A channel belongs to one session. It carries whole messages, keeps their order, and bounds its queue: `send` waits when
the other side does not take. `ChannelPair` joins two ends in memory and delivers the very objects; `WireChannel` puts
messages into bytes for anything that carries bytes. Who the peer is, the channel has found out before it exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from btlib import Kind, Principal
from msgspec import Struct

#: The messages that are allowed now, by label.
Accepts = Mapping[str, type[Struct]]


class UnexpectedMessageError(Exception):
    """What came is no message that is allowed now. Raised by a channel to its session, which says whose fault it is."""

    def __init__(self, label: str, detail: str = "") -> None:
        super().__init__(label, detail)
        self.label = label
        self.detail = detail


class Channel(Protocol):
    """One end. Each end is used by one task at a time."""

    @property
    def peer(self) -> Principal:
        """The principal that the other side proved to be."""
        ...

    async def send(self, message: Struct) -> None:
        """Queue a message; waits while the queue is full. Raises SessionEndedError when the other side closed."""
        ...

    async def receive(self, accepts: Accepts) -> Struct:
        """The next message. Raises SessionEndedError with the other side's last word after all that it sent before,
        and UnexpectedMessageError for what cannot be decoded as one of `accepts`; a channel that decodes nothing
        leaves that check to the monitor.
        """
        ...

    def close(self, kind: Kind | None = None, reason: str = "") -> None:
        """End the channel at once; never waits. The other side gets kind and reason; none of both where all is done."""
        ...
