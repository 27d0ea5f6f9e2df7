"""A channel over anything that carries bytes in order: the format is in docs/spec/protocol.md.

    packet  = Said | Closed            a btserde union
    Said    = label, body              the body is the message's encoding by btserde
    Closed  = kind, reason             the last packet of a side

The body is decoded only when its label is allowed in the receiver's present state, and only as that label's class: a
peer cannot make us decode anything else.
"""

from __future__ import annotations

from typing import Protocol

from btlib import Kind, Principal
from btserde import U8, DecodeError, Decoder, Encoder, View
from btserde import decode as decode_value
from btserde import encode as encode_value
from msgspec import Struct

from ._channel import Accepts, UnexpectedMessageError
from .errors import SessionEndedError

#: A reason is shown to people; no more of a peer's text is kept.
MAX_REASON = 1024
#: Labels are names of classes; of a longer one, which cannot be one of ours, this much is told.
MAX_LABEL = 64


class Said(Struct, frozen=True, kw_only=True, tag=0):
    label: str
    body: View


class Closed(Struct, frozen=True, kw_only=True, tag=1):
    kind: U8  #: a number of the table of kinds; INTERNAL where the receiver does not know it
    done: bool  #: whether this side had come to the session's end
    reason: str


_ENCODER = Encoder(Said | Closed)
_DECODER = Decoder(Said | Closed)


class Packets(Protocol):
    """What carries the packets: a stream of a link, or a pair of queues in a test."""

    async def send(self, packet: bytes) -> None:
        """Waits for room. Raises BlocktreeError when nothing can be carried any more."""
        ...

    async def receive(self) -> bytes | memoryview:
        """The next packet, whole. Raises BlocktreeError when there is none any more."""
        ...

    def close(self, last: bytes) -> None:
        """Carry a last packet if that needs no waiting, and end; a second close does nothing."""
        ...


class WireChannel:
    """A `Channel` whose messages travel as packets; `peer` is who the carrier has authenticated."""

    def __init__(self, packets: Packets, peer: Principal) -> None:
        self._packets = packets
        self._peer = peer

    @property
    def peer(self) -> Principal:
        return self._peer

    async def send(self, message: Struct) -> None:
        await self._packets.send(pack(message))

    async def receive(self, accepts: Accepts) -> Struct:
        return unpack(await self._packets.receive(), accepts)

    def close(self, kind: Kind | None = None, reason: str = "") -> None:
        self._packets.close(pack_close(kind, reason))


def pack(message: Struct) -> bytes:
    """A message as a packet."""
    return bytes(_ENCODER.encode(Said(label=type(message).__name__, body=memoryview(encode_value(message)))))


def pack_close(kind: Kind | None, reason: str) -> bytes:
    """The last packet of a side; `kind` is None where the session came to its end."""
    number = Kind.CANCELLED if kind is None else kind
    return bytes(_ENCODER.encode(Closed(kind=int(number), done=kind is None, reason=reason[:MAX_REASON])))


def unpack(packet: bytes | memoryview, accepts: Accepts) -> Struct:
    """The message in a packet. Raises UnexpectedMessageError, or SessionEndedError for a last packet."""
    try:
        content = _DECODER.decode(packet)
    except DecodeError as error:
        raise UnexpectedMessageError("a packet", f"which does not decode: {error}") from error
    if isinstance(content, Closed):
        raise _ended(content)
    expected = accepts.get(content.label)
    if expected is None:
        raise UnexpectedMessageError(content.label[:MAX_LABEL])
    try:
        return decode_value(content.body, expected)
    except DecodeError as error:
        raise UnexpectedMessageError(content.label, f"which does not decode: {error}") from error


def last_word(packet: bytes | memoryview) -> SessionEndedError | None:
    """What a last packet says; None for any other."""
    try:
        content = _DECODER.decode(packet)
    except DecodeError:
        return None
    return _ended(content) if isinstance(content, Closed) else None


def _ended(closed: Closed) -> SessionEndedError:
    if closed.done:
        return SessionEndedError("the other side has closed the channel", kind=Kind.CANCELLED)
    kind = Kind(closed.kind) if closed.kind in set(Kind) else Kind.INTERNAL
    return SessionEndedError(f"the other side ended the session: {closed.reason[:MAX_REASON]}", kind=kind)
