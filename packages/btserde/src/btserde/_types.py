"""The types of fields that plain Python cannot state: widths of ints, lengths of bytes, bytes left in place.

They are `Annotated` forms, so a checker sees `int` and `bytes`, and other libraries ignore the marker.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec


class IntWidth(msgspec.Struct, frozen=True):
    """Marks an `int` as a fixed number of bits."""

    bits: int
    signed: bool


class FixedSize(msgspec.Struct, frozen=True):
    """Marks `bytes` as exactly `size` bytes long."""

    size: int


class InPlace(msgspec.Struct, frozen=True):
    """Marks a bytes-like field that is decoded as a view of the input."""


U8 = Annotated[int, IntWidth(8, False)]
U16 = Annotated[int, IntWidth(16, False)]
U32 = Annotated[int, IntWidth(32, False)]
U64 = Annotated[int, IntWidth(64, False)]
I8 = Annotated[int, IntWidth(8, True)]
I16 = Annotated[int, IntWidth(16, True)]
I32 = Annotated[int, IntWidth(32, True)]
I64 = Annotated[int, IntWidth(64, True)]

View = Annotated[bytes | memoryview, InPlace()]


class _Fixed:
    """`Fixed[32]` is `Annotated[bytes, FixedSize(32)]`."""

    def __class_getitem__(cls, size: int) -> object:
        return Annotated[bytes, FixedSize(size)]


# No checker accepts an int between brackets on a class of ours, so `Fixed[32]` is Any to it. Where it should see
# `bytes`, and for aliases: `Digest = Annotated[bytes, Fixed[32]]`, which means the same.
Fixed: Any = _Fixed
