"""Trace context: which distributed trace a call, message or stream belongs to. Pure.

    traceparent = "00-" ‖ trace id (32 hex) ‖ "-" ‖ parent id (16 hex) ‖ "-" ‖ flags (2 hex)      (W3C Trace Context)

It crosses the wire as that text. Whoever continues a trace makes a `child` with an id of its own; where the random
bytes come from, and where spans go, is not known here.
"""

from __future__ import annotations

import re

import msgspec

from .errors import LocalProtocolError

SAMPLED = 1  #: flag: the caller records this trace

_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_LENGTH = 55  # of version 00; later versions may be longer, and begin alike


class TraceParent(msgspec.Struct, frozen=True, kw_only=True):
    """One position in a trace: the trace, and the span of whoever calls."""

    trace_id: bytes
    parent_id: bytes
    flags: int = SAMPLED

    def __post_init__(self) -> None:
        if len(self.trace_id) != 16 or not any(self.trace_id):
            raise LocalProtocolError("a trace id has 16 bytes, not all of them zero")
        if len(self.parent_id) != 8 or not any(self.parent_id):
            raise LocalProtocolError("a parent id has 8 bytes, not all of them zero")
        if not 0 <= self.flags <= 255:
            raise LocalProtocolError("the flags of a trace are one byte")

    @classmethod
    def parse(cls, text: str) -> TraceParent | None:
        """None for what is no traceparent: the standard has it ignored, and a new trace begun."""
        found = _PATTERN.match(text)
        if found is None or found[1] == "ff":
            return None
        if len(text) > _LENGTH and (found[1] == "00" or text[_LENGTH] != "-"):
            return None
        trace_id, parent_id = bytes.fromhex(found[2]), bytes.fromhex(found[3])
        if not (any(trace_id) and any(parent_id)):
            return None
        return cls(trace_id=trace_id, parent_id=parent_id, flags=int(found[4], 16))

    def child(self, parent_id: bytes) -> TraceParent:
        """The same trace, from the span `parent_id` (8 random bytes) on."""
        return TraceParent(trace_id=self.trace_id, parent_id=parent_id, flags=self.flags)

    def __str__(self) -> str:
        return f"00-{self.trace_id.hex()}-{self.parent_id.hex()}-{self.flags:02x}"
