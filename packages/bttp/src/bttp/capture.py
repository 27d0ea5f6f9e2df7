"""A capture: the frames of links, as their owner had them written down, and as lines for people. Pure.

    capture = MAGIC ‖ records                                               integers little-endian
    record  = length u32 ‖ time u64 ‖ process u32 ‖ link u32 ‖ what u8 ‖ kind u8 ‖ stream u32 ‖ size u32 ‖ kept

`time` is in unix microseconds. `length` counts what follows it; `size` is the length of the frame's payload, `kept` its
beginning. `what`: 0 sent, 1 received, 2 a remark about the link, whose text is `kept`. Of an AUTH nothing is ever
kept: who proves what is not for files. Of bodies nothing is kept either, unless it was asked for; paths, keys of calls
and texts of errors are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from struct import Struct

import msgspec

from . import _frames as wire
from ._fields import parse_extended
from ._frames import FrameKind, printable
from .dissector import Direction, Dissector
from .errors import RemoteProtocolError

MAGIC = b"BTTAP\x00\x00\x01"  #: the last byte is the version
MAX_SHOWN = 1024  #: bytes of a payload in a line for people; `--json` has all that was kept

_LENGTH = Struct("<I")
_RECORD = Struct("<QIIBBII")
_LONGEST = _RECORD.size + wire.MAX_PAYLOAD
_HIDDEN = frozenset({FrameKind.AUTH})
#: How many bytes at the beginning of a payload are not its body.
_FIXED = {
    FrameKind.CALL: wire.CALL.size,
    FrameKind.SEND: wire.SEND.size,
    FrameKind.REPLY: wire.REPLY.size,
    FrameKind.ITEM: wire.REPLY.size,
    FrameKind.OPEN: wire.OPEN.size,
    FrameKind.DATA: 0,
}


class What(enum.IntEnum):
    """What a record is about."""

    SENT = 0
    RECEIVED = 1
    REMARK = 2


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """One record."""

    time: int  #: unix microseconds
    process: int
    link: int
    what: What
    kind: int = 0
    stream: int = 0
    size: int = 0
    kept: bytes = b""

    @property
    def name(self) -> str:
        """The kind of the frame in words."""
        return FrameKind(self.kind).name if self.kind in FrameKind._value2member_map_ else f"kind {self.kind}"

    @property
    def body(self) -> bytes:
        """What was kept of the body."""
        return self.kept[_fixed(self.kind, self.kept) :]


class FrameCutter:
    """One direction of a link, cut into frames: kind, stream, payload."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, plaintext: bytes) -> list[tuple[int, int, bytes]]:
        """Raises RemoteProtocolError where no frame can be; feed it no more."""
        held, frames, place = self._held, [], 0
        held += plaintext
        while len(held) - place >= wire.HEAD.size:
            word, stream = wire.HEAD.unpack_from(held, place)
            begin = place + wire.HEAD.size
            if word >> 8 > wire.MAX_PAYLOAD:
                raise RemoteProtocolError(f"a frame of {word >> 8} bytes exceeds the limit of {wire.MAX_PAYLOAD}")
            if begin + (word >> 8) > len(held):
                break
            place = begin + (word >> 8)
            frames.append((word & 0xFF, stream, bytes(held[begin:place])))
        del held[:place]
        return frames


def kept_of(kind: int, payload: bytes, *, bodies: bool) -> bytes:
    """What a capture keeps of a payload."""
    if kind in _HIDDEN:
        return b""
    return payload if bodies else payload[: _fixed(kind, payload)]


def encode_record(record: Captured) -> bytes:
    """As it stands in a capture."""
    head = _RECORD.pack(record.time, record.process, record.link, record.what, record.kind, record.stream, record.size)
    return _LENGTH.pack(len(head) + len(record.kept)) + head + record.kept


class CaptureReader:
    """Reads a capture as it grows."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> list[Captured]:
        """The records that are whole now. Raises RemoteProtocolError where it is no capture."""
        self._held += data
        if not self._begun:
            if not MAGIC.startswith(self._held[: len(MAGIC)]):
                raise RemoteProtocolError("this is no capture of bttp frames, or one of a newer version")
            if len(self._held) < len(MAGIC):
                return []
            del self._held[: len(MAGIC)]
            self._begun = True
        return list(self._records())

    def _records(self) -> Iterator[Captured]:
        held = self._held
        while len(held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(held)
            if not _RECORD.size <= length <= _LONGEST:
                raise RemoteProtocolError(f"the capture is damaged: a record of {length} bytes")
            if len(held) < _LENGTH.size + length:
                return
            record = bytes(held[_LENGTH.size : _LENGTH.size + length])
            del held[: _LENGTH.size + length]
            yield _record(record)


class CaptureLines:
    """Puts the records of a capture into lines."""

    def __init__(self) -> None:
        self._dissectors: dict[tuple[int, int, What], Dissector] = {}

    def line(self, record: Captured) -> str:
        """Time, link, direction, frame; without bodies."""
        return f"{_clock(record.time)}  {record.process}/{record.link} {_ARROWS[record.what]} {self._said(record)}"

    def payload(self, record: Captured) -> str:
        """The body, as much as was kept and is fit to be shown; empty where there is none."""
        body = record.body
        if not body or record.what is What.REMARK or _inner(record.kind, record.kept) not in _FIXED:
            return ""
        more = f" … {len(body) - MAX_SHOWN} more" if len(body) > MAX_SHOWN else ""
        return f"{ascii(body[:MAX_SHOWN])[1:]}{more}"

    def _said(self, record: Captured) -> str:
        if record.what is What.REMARK:
            return printable(record.kept.decode(errors="replace"))
        if record.kind in _HIDDEN:
            return f"{record.name}: {record.size} bytes, not kept"
        dissector = self._dissectors.setdefault((record.process, record.link, record.what), Dissector())
        # What was left out is made up again as zeros, so that sizes are right.
        return dissector.describe(record.kind, record.stream, record.kept.ljust(record.size, b"\0"))


_ARROWS = {What.SENT: ">", What.RECEIVED: "<", What.REMARK: "-"}
WHAT = {Direction.SENT: What.SENT, Direction.RECEIVED: What.RECEIVED}  #: of a tap's directions


def _clock(microseconds: int) -> str:
    """The time of day, UTC."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    minutes, second = divmod(seconds % 86_400, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{fraction:06}"


def _record(data: bytes) -> Captured:
    time, process, link, what, kind, stream, size = _RECORD.unpack_from(data)
    kept = data[_RECORD.size :]
    if what not in What._value2member_map_ or (what != What.REMARK and not len(kept) <= size <= wire.MAX_PAYLOAD):
        raise RemoteProtocolError("the capture is damaged: a record that cannot be")
    return Captured(
        time=time, process=process, link=link, what=What(what), kind=kind, stream=stream, size=size, kept=kept
    )


def _inner(kind: int, payload: bytes) -> int:
    """The kind of an EXTENDED frame's contents."""
    return payload[0] if kind == FrameKind.EXTENDED and payload else kind


def _fixed(kind: int, payload: bytes) -> int:
    """Where the body begins; for frames without one, the whole."""
    if kind != FrameKind.EXTENDED:
        return _FIXED.get(FrameKind(kind), len(payload)) if kind in FrameKind._value2member_map_ else 0
    try:
        inner, _, begin = parse_extended(bytearray(payload), 0, len(payload))
    except RemoteProtocolError:
        return 0
    return begin + _FIXED[FrameKind(inner)]
