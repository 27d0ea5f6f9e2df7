"""Frames in words, for whoever looks at a link of their own. Pure: plaintext in, lines out.

    Dissector().feed(plaintext) -> ["ROUTE 1: /bt1…/echo", "CALL 1: route 1 (/bt1…/echo), 30 s, 5 bytes", …]

Give it the plaintext of one direction, from the beginning of a frame, cut anywhere; `link.tap` has both directions.
Bodies are not shown, keys and texts of errors are. What is malformed is shown as such: a dissector judges nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import error as StructError

from . import _frames as wire
from ._core import Direction
from ._fields import parse_extended
from ._frames import FrameKind, FrameReader
from .errors import RemoteProtocolError

__all__ = ["Direction", "Dissector"]


class Dissector:
    """One direction of one link. It keeps the routes that it saw."""

    def __init__(self) -> None:
        self._reader = FrameReader(lambda _stream, _length: None)
        self._routes: dict[int, str] = {}

    def feed(self, plaintext: bytes) -> list[str]:
        """The frames that are whole now. Raises RemoteProtocolError where no frame can be: feed it no more."""
        lines: list[str] = []
        place = 0
        while place < len(plaintext):
            space = self._reader.space()
            count = min(len(space), len(plaintext) - place)
            space[:count] = plaintext[place : place + count]
            place += count
            self._reader.filled(count)
            buffer = self._reader.buffer
            lines += [self.describe(kind, stream, bytes(buffer[a:b])) for kind, stream, a, b in self._reader.frames()]
        return lines

    def describe(self, kind: int, stream: int, payload: bytes) -> str:
        """One frame."""
        if kind not in FrameKind._value2member_map_:
            return f"kind {kind} {stream}: unknown, {len(payload)} bytes"
        name = FrameKind(kind).name
        try:
            said = _WORDS.get(FrameKind(kind), _size)(self, stream, payload)
        except (RemoteProtocolError, ValueError, StructError) as error:
            said = f"malformed, {len(payload)} bytes: {error}"
        head = f"{name} {stream}" if stream else name
        return f"{head}: {said}" if said else head

    # --- by kind

    def _route(self, stream: int, payload: bytes) -> str:
        path = self._routes[stream] = wire.printable(payload.decode())
        return path

    def _call(self, _stream: int, payload: bytes) -> str:
        route, timeout, total = wire.CALL.unpack_from(payload)
        return f"{self._where(route)}, {_deadline(timeout)}{total} bytes"

    def _send(self, _stream: int, payload: bytes) -> str:
        route, total = wire.SEND.unpack_from(payload)
        return f"{self._where(route)}, {total} bytes"

    def _open(self, _stream: int, payload: bytes) -> str:
        route, timeout = wire.OPEN.unpack_from(payload)
        return f"{self._where(route)}, {_deadline(timeout)}{len(payload) - wire.OPEN.size} bytes"

    def _where(self, route: int) -> str:
        path = self._routes.get(route)
        return f"route {route}" if path is None else f"route {route} ({path})"

    def _extended(self, stream: int, payload: bytes) -> str:
        kind, fields, begin = parse_extended(bytearray(payload), 0, len(payload))
        words = [self.describe(kind, stream, payload[begin:])]
        if fields.key is not None:
            words.append(f"key {fields.key.hex()}")
        if fields.repeat is not None:
            words.append(f"sent before, {fields.repeat.elapsed / 1000:g} s ago, to {fields.repeat.instance:016x}")
        if fields.trace is not None:
            words.append(f"trace {fields.trace}")
        return ", ".join(words)


def _size(_dissector: Dissector, _stream: int, payload: bytes) -> str:
    return f"{len(payload)} bytes" if payload else ""


def _total(_dissector: Dissector, _stream: int, payload: bytes) -> str:
    return f"{wire.REPLY.unpack_from(payload)[0]} bytes"


def _text(_dissector: Dissector, _stream: int, payload: bytes) -> str:
    kind, text = wire.parse_text(payload)
    return f"{kind.name}: {text}"


def _credit(_dissector: Dissector, _stream: int, payload: bytes) -> str:
    return f"{wire.parse_u32(payload)} bytes more"


def _hello(_dissector: Dissector, _stream: int, payload: bytes) -> str:
    hello = wire.parse_hello(payload)
    return ", ".join(f"{field} {getattr(hello, field)}" for field in hello.__struct_fields__)


def _deadline(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s, " if milliseconds else ""


_WORDS: dict[FrameKind, Callable[[Dissector, int, bytes], str]] = {
    FrameKind.HELLO: _hello,
    FrameKind.REFUSE: _text,
    FrameKind.VIOLATION: _text,
    FrameKind.GOAWAY: _text,
    FrameKind.CREDIT: _credit,
    FrameKind.ROUTE: Dissector._route,
    FrameKind.CALL: Dissector._call,
    FrameKind.SEND: Dissector._send,
    FrameKind.REPLY: _total,
    FrameKind.ERROR: _text,
    FrameKind.OPEN: Dissector._open,
    FrameKind.ITEM: _total,
    FrameKind.RESET: _text,
    FrameKind.EXTENDED: Dissector._extended,
}
