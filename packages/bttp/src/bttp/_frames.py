"""Frames: how messages lie in the plaintext of a link. The byte codec, and nothing about states or meaning.

    frame = kind u8 ‖ length u24 ‖ stream u32 ‖ payload (`length` bytes)          all integers little-endian

    CALL    route u32 ‖ timeout u32 (ms; 0: none) ‖ total u32 ‖ body, if total ≤ CHUNK; else DATA frames follow
    SEND    route u32 ‖ total u32 ‖ body, likewise
    REPLY   total u32 ‖ body, likewise
    DATA    1..CHUNK bytes of the body that the stream's CALL, SEND or REPLY announced
    ITEM    total u32 ‖ body, likewise
    OPEN    route u32 ‖ timeout u32 (ms; 0: none) ‖ body of at most CHUNK bytes
    EXTENDED  kind u8 ‖ 0 u8 ‖ length u16 ‖ fields ‖ payload of that kind (CALL, SEND, OPEN); see `_fields`
    ERROR, REFUSE, VIOLATION, GOAWAY, RESET    kind u8 ‖ text (UTF-8, at most MAX_TEXT bytes)

`docs/spec/bttp.md` has the whole table. A reader refuses a frame by its head alone: no length beyond MAX_PAYLOAD is
ever waited for, and nothing is allocated by a length that the peer only claims.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import TypeAlias

import msgspec
from btlib.kinds import Kind

from .errors import RemoteProtocolError

Buffer: TypeAlias = bytes | bytearray | memoryview

CHUNK = 64 * 1024  #: most body bytes in a frame: bounds how long a large body holds up a small message
MAX_FIELDS = 512  #: bytes of what a CALL, SEND or OPEN carries beside its body: a key, a trace context
MAX_PAYLOAD = CHUNK + 1024  #: a chunk, the longest fixed part, and fields
MAX_TEXT = 1024  #: bytes of an error's text: a sentence or two, or the last lines of a traceback
READ_SIZE = 256 * 1024  #: plaintext taken in at once; four chunks, and more than a socket usually holds
IDLE_SIZE = 16 * 1024  #: the same, until more comes than a record of TLS holds: an idle link takes little memory


class FrameKind(enum.IntEnum):
    """What a frame is. Numbers are wire format. The gaps are kept for later."""

    HELLO = 1
    AUTH = 2
    ACCEPT = 3
    REFUSE = 4
    VIOLATION = 5
    GOAWAY = 6
    PING = 7
    PONG = 8
    CREDIT = 9
    ROUTE = 16
    CALL = 17
    SEND = 18
    REPLY = 19
    DATA = 20
    ERROR = 21
    CANCEL = 22
    OPEN = 23
    ITEM = 24
    END = 25
    RESET = 26
    EXTENDED = 27


PLACED = 256  #: not on the wire: a DATA frame whose bytes already lie in their body

HEAD = Struct("<II")  #: kind and length, stream
_HELLO = Struct("<HBxIIIIIQ")
_U32 = Struct("<I")
CALL = Struct("<III")
SEND = Struct("<II")
REPLY = _U32
OPEN = Struct("<II")

HEAD_CALL = Struct("<IIIII")
HEAD_SEND = Struct("<IIII")
HEAD_REPLY = Struct("<III")


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of each side: its version and what it takes."""

    version: int
    auths: int  #: how many AUTH frames follow; 0: an anonymous client
    max_calls: int  #: calls that this side serves at once
    max_body: int  #: bytes of the longest body that it takes
    send_window: int  #: credit for `SEND` that the peer starts with, in bytes
    stream_window: int  #: credit for items that each stream starts with
    link_window: int  #: credit for the items of all streams together
    instance: int = 0  #: which replay cache remembers the keys of calls to this side; 0: none


def frame(kind: int, stream: int, payload: Buffer = b"") -> bytes:
    """One frame. The caller keeps payloads within MAX_PAYLOAD."""
    return HEAD.pack(len(payload) << 8 | kind, stream) + payload


def call_frame(stream: int, route: int, timeout_ms: int, total: int, body: Buffer) -> bytes:
    return HEAD_CALL.pack(len(body) + 12 << 8 | 17, stream, route, timeout_ms, total) + body


def send_frame(stream: int, route: int, total: int, body: Buffer) -> bytes:
    return HEAD_SEND.pack(len(body) + 8 << 8 | 18, stream, route, total) + body


def reply_frame(stream: int, total: int, body: Buffer) -> bytes:
    return HEAD_REPLY.pack(len(body) + 4 << 8 | 19, stream, total) + body


def data_head(stream: int, length: int) -> bytes:
    """The head of a DATA frame; its bytes go out right behind it, uncopied."""
    return HEAD.pack(length << 8 | 20, stream)


def open_frame(stream: int, route: int, timeout_ms: int, body: Buffer) -> bytes:
    return frame(FrameKind.OPEN, stream, OPEN.pack(route, timeout_ms) + body)


def item_frame(stream: int, total: int, body: Buffer) -> bytes:
    return HEAD_REPLY.pack(len(body) + 4 << 8 | 24, stream, total) + body


def credit_frame(amount: int, stream: int = 0) -> bytes:
    return frame(FrameKind.CREDIT, stream, _U32.pack(amount))


def hello_frame(hello: Hello) -> bytes:
    return frame(FrameKind.HELLO, 0, _HELLO.pack(*msgspec.structs.astuple(hello)))


def text_frame(kind: FrameKind, stream: int, failure: Kind, text: str) -> bytes:
    """An ERROR, REFUSE, VIOLATION, GOAWAY or RESET. A text that is too long is cut at a character."""
    encoded = text.encode(errors="replace")[:MAX_TEXT].decode(errors="ignore").encode()
    return frame(kind, stream, bytes((failure,)) + encoded)


def parse_hello(payload: Buffer) -> Hello:
    """Raises RemoteProtocolError."""
    if len(payload) != _HELLO.size or payload[3] != 0:
        raise RemoteProtocolError(f"a HELLO frame of {len(payload)} bytes is malformed")
    return Hello(**dict(zip(Hello.__struct_fields__, _HELLO.unpack(payload), strict=True)))


def parse_text(payload: Buffer) -> tuple[Kind, str]:
    """Kind and text of what `text_frame` makes. A kind from a newer peer reads as INTERNAL."""
    kind, text = parse_lines(payload)
    return kind, printable(text)


def parse_lines(payload: Buffer) -> tuple[Kind, str]:
    """The same with the text as it is, not yet fit for logs and terminals."""
    if not 1 <= len(payload) <= 1 + MAX_TEXT:
        raise RemoteProtocolError(f"an error frame of {len(payload)} bytes is malformed")
    try:
        text = bytes(payload[1:]).decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("an error frame is not valid UTF-8") from error
    number = payload[0]
    return (Kind(number) if number in Kind._value2member_map_ else Kind.INTERNAL), text


def parse_u32(payload: Buffer) -> int:
    """The amount of a CREDIT."""
    if len(payload) != 4:
        raise RemoteProtocolError(f"a credit of {len(payload)} bytes is malformed")
    amount: int = _U32.unpack(payload)[0]
    return amount


def printable(text: str) -> str:
    """A peer's text as it may go into logs and terminals: no control characters."""
    return "".join(char if char.isprintable() else "�" for char in text)


class FrameReader:
    """Cuts plaintext into frames, in place.

    Fill `space()`, say how much with `filled(n)`, then, if that is True, exhaust `frames()`; repeat. Payloads are
    stretches of `buffer`, valid until the next `space()`. A DATA frame that is still arriving is offered to
    `sink(stream, length)`; where that gives a view of `length` bytes, the rest is read straight into it and the frame
    comes as PLACED, without payload. Where it is set, `plain(buffer, start, end)` comes first, and again before a CALL,
    SEND or REPLY: it may take any number of whole frames from `start` on, and tells where the first begins that it
    left.
    """

    def __init__(self, sink: Callable[[int, int], memoryview | None]) -> None:
        self._sink = sink
        self.buffer = bytearray(IDLE_SIZE)  #: another one once more comes: look anew after `space()`
        self._view = memoryview(self.buffer)
        self._start = self._end = 0  # the stretch of the buffer that is filled and not taken
        self._full = False  # the last that came took all the space
        self._target: memoryview | None = None  # where the DATA frame under way goes
        self._target_stream = 0
        self._placed = 0  # bytes of the target that are filled
        self.plain: Callable[[bytearray, int, int], int] | None = None

    def space(self) -> memoryview:
        """Where the next plaintext goes; never empty."""
        if self._target is not None:
            return self._target[self._placed :]
        if self._end == len(self.buffer) or (self._full and len(self.buffer) < READ_SIZE):
            self._grow()
        return self._view[self._end :]

    def _grow(self) -> None:
        larger = bytearray(READ_SIZE)
        larger[: self._end] = self._view[: self._end]
        self.buffer, self._view = larger, memoryview(larger)

    def rest(self) -> tuple[bytes, int]:
        """What is held of a frame that is not whole: its bytes; or, where they lie in a body, how many are missing."""
        if self._target is not None:
            return b"", len(self._target) - self._placed
        return bytes(self._view[: self._end]), 0

    def filled(self, count: int) -> bool:
        """So much came. Whether `frames` has to look at it."""
        if self._target is not None:
            self._placed += count
            return True
        end = self._end + count
        self._end = end
        self._full = end == len(self.buffer)
        if self.plain is not None:
            start = self.plain(self.buffer, 0, end)
            if start == end:
                self._end = 0
                return False
            self._start = start
        return True

    def frames(self) -> Iterator[tuple[int, int, int, int]]:
        """Kind, stream, and where in `buffer` the payload starts and stops, of every complete frame.

        Raises RemoteProtocolError for one that is too long.
        """
        if self._target is not None:
            if self._placed < len(self._target):
                return
            self._target = None
            yield PLACED, self._target_stream, 0, 0
        buffer, end, unpack = self.buffer, self._end, HEAD.unpack_from
        start, self._start = self._start, 0
        while end - start >= 8:
            word, stream = unpack(buffer, start)
            kind = word & 0xFF
            if 17 <= kind <= 19 and self.plain is not None and (after := self.plain(buffer, start, end)) > start:
                start = after
                continue
            stop = start + 8 + (word >> 8)
            if stop > end:
                self._check(word)
                break
            yield kind, stream, start + 8, stop
            start = stop
        if start == end:
            self._end = 0
        else:
            self._keep(start)

    def _check(self, word: int) -> None:
        if word >> 8 > MAX_PAYLOAD:
            raise RemoteProtocolError(f"a frame of {word >> 8} bytes exceeds the limit of {MAX_PAYLOAD}")

    def _keep(self, start: int) -> None:
        """Keep the incomplete frame at `start`: in its body if it is DATA with a sink, else at the buffer's front."""
        rest = self._end - start
        if rest >= 8:
            word, stream = HEAD.unpack_from(self.buffer, start)
            if word & 0xFF == FrameKind.DATA and (target := self._sink(stream, word >> 8)) is not None:
                self._placed = rest - 8
                target[: self._placed] = self._view[start + 8 : self._end]
                self._target, self._target_stream = target, stream
                self._end = 0
                return
        if start and rest:
            self._view[:rest] = self._view[start : self._end]
        self._end = rest


def flatten(body: Buffer | Sequence[Buffer]) -> tuple[Sequence[Buffer], int]:
    """A body as its parts and its size in bytes."""
    if isinstance(body, bytes):
        return (body,), len(body)
    if isinstance(body, bytearray | memoryview):
        view = memoryview(body).cast("B")
        return (view,), len(view)
    parts = [part if isinstance(part, bytes) else memoryview(part).cast("B") for part in body]
    return parts, sum(map(len, parts))
