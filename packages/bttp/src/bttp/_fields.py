"""Fields: what a CALL, SEND or OPEN may carry beside its body. The byte codec. Pure.

    EXTENDED = kind u8 ‖ 0 u8 ‖ length u16 ‖ fields (`length` bytes) ‖ payload of that kind
    field    = id u8 ‖ length u8 ‖ value                                       in ascending order of ids

    1 key           1 to 64 bytes: the idempotency key of a CALL
    2 repeat        instance u64 ‖ elapsed u32 (ms): the key was sent before, so long ago, to that instance
    3 traceparent   text, see `_trace`; a malformed one reads as none

Ids that a receiver does not know are ignored. What carries no fields does not pay for them: it is no EXTENDED frame.
"""

from __future__ import annotations

from struct import Struct

import msgspec

from . import _frames as wire
from ._frames import FrameKind, frame
from ._trace import TraceParent
from .errors import LocalProtocolError, RemoteProtocolError

MAX_KEY = 64  #: bytes of an idempotency key: a UUID, a hash, or a short text

_KEY, _REPEAT, _TRACE = 1, 2, 3
_HEAD = Struct("<BBH")
_REPEATED = Struct("<QI")
_MAX_ELAPSED = 0xFFFFFFFF
_CARRIERS = frozenset({FrameKind.CALL, FrameKind.SEND, FrameKind.OPEN})


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was sent before: to which replay cache first, and how many milliseconds ago."""

    instance: int
    elapsed: int


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What came beside a body."""

    key: bytes | None = None
    repeat: Repeat | None = None
    trace: TraceParent | None = None


def encode_fields(key: bytes | None = None, trace: TraceParent | None = None, repeat: Repeat | None = None) -> bytes:
    """Empty where there is nothing to say. Raises LocalProtocolError for a key of another length."""
    out = b""
    if key is not None:
        if not 1 <= len(key) <= MAX_KEY:
            raise LocalProtocolError(f"an idempotency key has 1 to {MAX_KEY} bytes, not {len(key)}")
        out += bytes((_KEY, len(key))) + key
    if repeat is not None:
        out += bytes((_REPEAT, _REPEATED.size)) + _REPEATED.pack(repeat.instance, min(repeat.elapsed, _MAX_ELAPSED))
    if trace is not None:
        text = str(trace).encode()
        out += bytes((_TRACE, len(text))) + text
    return out


def parse_fields(data: bytes | bytearray) -> Fields:
    """Raises RemoteProtocolError for what cannot be cut into fields, or whose key or repeat has another length."""
    values: dict[int, bytes] = {}
    start, last = 0, 0
    while start < len(data):
        if len(data) - start < 2 or (stop := start + 2 + data[start + 1]) > len(data):
            raise RemoteProtocolError("a field is cut off")
        if data[start] <= last:
            raise RemoteProtocolError("fields stand in ascending order of their ids, each once")
        last = data[start]
        values[last] = bytes(data[start + 2 : stop])
        start = stop
    key, repeat = values.get(_KEY), values.get(_REPEAT)
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise RemoteProtocolError(f"an idempotency key has 1 to {MAX_KEY} bytes, not {len(key)}")
    if repeat is not None and (len(repeat) != _REPEATED.size or key is None):
        raise RemoteProtocolError("a repeat has 12 bytes and stands beside a key")
    return Fields(key=key, repeat=_repeat(repeat), trace=_trace(values.get(_TRACE)))


def _repeat(value: bytes | None) -> Repeat | None:
    if value is None:
        return None
    instance, elapsed = _REPEATED.unpack(value)
    return Repeat(instance=instance, elapsed=elapsed)


def _trace(value: bytes | None) -> TraceParent | None:
    try:
        return None if value is None else TraceParent.parse(value.decode())
    except UnicodeDecodeError:
        return None


def extended(plain: bytes, fields: bytes) -> bytes:
    """A CALL, SEND or OPEN frame with fields."""
    word, stream = wire.HEAD.unpack_from(plain)
    payload = _HEAD.pack(word & 0xFF, 0, len(fields)) + fields + plain[wire.HEAD.size :]
    return frame(FrameKind.EXTENDED, stream, payload)


def parse_extended(buffer: bytearray, start: int, stop: int) -> tuple[int, Fields, int]:
    """Kind and fields of an EXTENDED frame, and where the payload of that kind starts. Raises RemoteProtocolError."""
    if stop - start < _HEAD.size:
        raise RemoteProtocolError("an EXTENDED frame is too short")
    kind, zero, length = _HEAD.unpack_from(buffer, start)
    begin = start + _HEAD.size + length
    if kind not in _CARRIERS or zero:
        raise RemoteProtocolError(f"an EXTENDED frame cannot hold a frame of kind {kind}")
    if not 1 <= length <= wire.MAX_FIELDS or begin > stop:
        raise RemoteProtocolError(f"{length} bytes of fields do not fit an EXTENDED frame")
    fields = parse_fields(buffer[start + _HEAD.size : begin])
    if fields.key is not None and kind != FrameKind.CALL:
        raise RemoteProtocolError("only a CALL has an idempotency key")
    return kind, fields, begin
