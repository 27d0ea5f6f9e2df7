"""Targets of btserde: every kind of type that can be encoded, of which the first byte of an input chooses one."""

from __future__ import annotations

from btserde import DecodeError, Limits, decode, encode

from packages.btserde.tests import reference
from packages.btserde.tests.samples import TYPES

from .target import target

NAMES = sorted(TYPES)
LIMITS = Limits(max_depth=16, max_size=1 << 20, max_count=1 << 16)


@target("serde", "values of all kinds of types", refuses=DecodeError)
def serde(data: bytes) -> None:
    tp = TYPES[NAMES[(data[0] if data else 0) % len(NAMES)]]
    body = data[1:]
    value = decode(body, tp, LIMITS)
    assert encode(value, tp) == body, "accepted in a second form"
    assert reference.encode(tp, value) == body, "the slow implementation encodes it otherwise"
    assert decode(memoryview(body), tp, LIMITS) == value
