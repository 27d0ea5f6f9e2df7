"""What generated code calls for a whole column of a list at once, so that the loops run in C."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from struct import iter_unpack, pack
from typing import Any, TypeVar

from ._bytes import flat
from ._length import decode_lengths, encode_lengths

S = TypeVar("S", str, bytes, memoryview)

Pieces = tuple[bytes | memoryview, ...]


def put_texts(column: Sequence[str]) -> Pieces:
    """The lengths and the contents of many strings."""
    joined = "".join(column)
    content = joined.encode()
    if len(content) == len(joined):  # one byte a character, so their lengths are known already
        return encode_lengths(list(map(len, column))), content
    return put_blobs([text.encode() for text in column])


def put_blobs(column: Sequence[Any]) -> Pieces:
    """The lengths and the contents of many bytes-like values."""
    if not set(map(type, column)) <= {bytes}:
        column = list(map(flat, column))
    return encode_lengths(list(map(len, column))), *column


def put_fixed(column: Sequence[Any], size: int) -> bytes:
    """Many byte strings of one size. Raises ValueError if one has another."""
    content = b"".join(column)
    if list(map(len, column)).count(size) != len(column) or len(content) != size * len(column):
        raise ValueError
    return content


def put_floats(column: Sequence[float]) -> bytes:
    """Many floats. Raises ValueError for a NaN."""
    plain = [number + 0.0 for number in column]
    if any(map(math.isnan, plain)):
        raise ValueError
    return pack(f"<{len(plain)}d", *plain)


def get_texts(data: bytes | memoryview, count: int, pos: int) -> tuple[list[str], int]:
    """The strings of a column, and the position after them."""
    lengths, pos = decode_lengths(data, count, pos)
    end = pos + sum(lengths)
    content = bytes(data[pos:end])
    text = content.decode()
    if len(text) == len(content):
        return cut(text, lengths), end
    return list(map(bytes.decode, cut(content, lengths))), end  # no item may end inside a character


def get_blobs(data: bytes | memoryview, count: int, pos: int) -> tuple[list[bytes], int]:
    """The byte strings of a column, and the position after them."""
    lengths, pos = decode_lengths(data, count, pos)
    end = pos + sum(lengths)
    return cut(bytes(data[pos:end]), lengths), end


def get_views(data: memoryview, count: int, pos: int) -> tuple[list[memoryview], int]:
    """The slices of the input that make up a column of byte strings, and the position after them."""
    lengths, pos = decode_lengths(data, count, pos)
    end = pos + sum(lengths)
    return cut(data[pos:end], lengths), end


def cut(whole: S, lengths: Iterable[int]) -> list[S]:
    """Neighbouring slices of these lengths."""
    pos = 0
    return [whole[pos : (pos := pos + n)] for n in lengths]


def get_fixed(data: bytes | memoryview, size: int) -> list[bytes]:
    """All byte strings of one size."""
    return [item for (item,) in iter_unpack(f"{size}s", data)]


def get_floats(column: Sequence[float]) -> Sequence[float]:
    """The same floats. Raises ValueError for a NaN or a negative zero."""
    if any(map(refused_float, column)):
        raise ValueError
    return column


def refused_float(number: float) -> bool:
    """Whether a float has no encoding: a NaN equals nothing, and a negative zero equals zero."""
    return number != number or (number == 0.0 and math.copysign(1.0, number) < 0.0)
