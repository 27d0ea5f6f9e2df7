"""Lengths and counts: one byte up to 252, else a marker and two or four bytes.

    0..252            [n]
    253..65535        [253] [u16]
    65536..2^32-1     [254] [u32]
    (255 is refused)

The shortest form is the only one. Nothing here knows about types.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAX_SHORT = 252
_TWO, _FOUR = 253, 254
MAX_LENGTH = 2**32 - 1

_pack_two = struct.Struct("<BH").pack
_pack_four = struct.Struct("<BI").pack
_unpack_two = struct.Struct("<H").unpack_from
_unpack_four = struct.Struct("<I").unpack_from

SHORT = tuple(bytes([n]) for n in range(MAX_SHORT + 1))


def encode_length(n: int) -> bytes:
    """The encoding of a length. Raises ValueError for one over 2^32-1."""
    if n <= MAX_SHORT:
        return SHORT[n]
    if n <= 0xFFFF:
        return _pack_two(_TWO, n)
    if n <= MAX_LENGTH:
        return _pack_four(_FOUR, n)
    raise ValueError(f"a length of {n} does not fit 32 bits")


def decode_long(data: bytes | memoryview, marker: int, pos: int) -> tuple[int, int]:
    """The length whose marker stood just before `pos`, and the position after it.

    Raises ValueError if it is not minimal, struct.error if the input ends in it.
    """
    if marker == _TWO:
        n, end, least = _unpack_two(data, pos)[0], pos + 2, _TWO
    elif marker == _FOUR:
        n, end, least = _unpack_four(data, pos)[0], pos + 4, 0x10000
    else:
        raise ValueError("255 does not begin a length")
    if n < least:
        raise ValueError(f"the length {n} is not in its shortest form")
    return n, end


def decode_length(data: bytes | memoryview, pos: int) -> tuple[int, int]:
    """The length at `pos` and the position after it. Raises like `decode_long`, or IndexError at the end."""
    n = data[pos]
    return (n, pos + 1) if n <= MAX_SHORT else decode_long(data, n, pos + 1)


def encode_lengths(lengths: Sequence[int]) -> bytes:
    """The encodings of many lengths, one after another."""
    try:
        short = bytes(lengths)
    except ValueError:
        return b"".join(map(encode_length, lengths))
    return short if _is_short(short) else b"".join(map(encode_length, lengths))


def decode_lengths(data: bytes | memoryview, count: int, pos: int) -> tuple[Sequence[int], int]:
    """`count` lengths from `pos`, and the position after them. Raises like `decode_length`."""
    end = pos + count
    lengths = bytes(data[pos:end])
    if _is_short(lengths):
        if len(lengths) != count:
            raise IndexError("the input ends in a column of lengths")
        return lengths, end
    found = []
    for _ in range(count):
        n, pos = decode_length(data, pos)
        found.append(n)
    return found, pos


def _is_short(lengths: bytes) -> bool:
    """Whether no byte is a marker; the first test is the fastest, and mostly enough."""
    return lengths.isascii() or not (253 in lengths or 254 in lengths or 255 in lengths)
