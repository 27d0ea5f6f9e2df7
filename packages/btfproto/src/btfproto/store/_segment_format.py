"""The bytes of a segment file. Pure.

    segment  = header(40) ‖ entry …
    header   = "BTSEGMNT" ‖ u32 format = 1 ‖ u64 number ‖ store id(16) ‖ u32 CRC-32 of the 36 bytes before
    entry    = run header(56) ‖ the records, one after another
    run      = "BTRN" ‖ u8 level ‖ 3 zero ‖ block(16) ‖ u64 version ‖ u64 first ‖ u32 count ‖ u32 size ‖ u32 last
               ‖ u32 CRC-32 of the 52 bytes before

Integers are little-endian. All records of a run have `size` bytes but the last, which has `last`: so one index row
places thousands of records. The CRC only tells a header from other bytes. The *records* carry no hash of their own: the
Merkle tree in the signed header already covers every byte, so a second one would cost time and prove less.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SEGMENT_MAGIC = b"BTSEGMNT"
SEGMENT_FORMAT = 1
RUN_MAGIC = b"BTRN"

_SEGMENT = struct.Struct("<8sIQ16s")
_RUN = struct.Struct("<4sB3x16sQQIII")
_UNUSED = slice(5, 8)  # of a run header: zero
_CRC = struct.Struct("<I")

SEGMENT_HEADER_SIZE = _SEGMENT.size + _CRC.size
RUN_HEADER_SIZE = _RUN.size + _CRC.size


class RunHeader(NamedTuple):
    """What stands before the records of a run."""

    level: int
    block: bytes
    version: int
    first: int
    length: int
    size: int
    last: int

    @property
    def data_size(self) -> int:
        return (self.length - 1) * self.size + self.last


def encode_segment_header(number: int, store_id: bytes) -> bytes:
    head = _SEGMENT.pack(SEGMENT_MAGIC, SEGMENT_FORMAT, number, store_id)
    return head + _CRC.pack(zlib.crc32(head))


def segment_header_fault(data: bytes, number: int, store_id: bytes) -> str | None:
    """Why these bytes do not begin segment `number` of this store (None: they do)."""
    if data[: len(SEGMENT_MAGIC)] != SEGMENT_MAGIC:
        return "it is no segment"
    if data != encode_segment_header(number, store_id):
        return f"its header is damaged, or it is not segment {number} of this store"
    return None


def encode_run_header(run: RunHeader) -> bytes:
    level, block, version, first, length, size, last = run
    head = _RUN.pack(RUN_MAGIC, level, block, version, first, length, size, last)
    return head + _CRC.pack(zlib.crc32(head))


def decode_run_header(data: bytes) -> RunHeader | None:
    """A run header; None if these bytes are none."""
    if len(data) != RUN_HEADER_SIZE or _CRC.pack(zlib.crc32(data[: _RUN.size])) != data[_RUN.size :]:
        return None
    magic, level, block, version, first, length, size, last = _RUN.unpack(data[: _RUN.size])
    if magic != RUN_MAGIC or data[_UNUSED] != bytes(3) or not length or not size or not last:
        return None
    return RunHeader(level, block, version, first, length, size, last)


def stretches(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Cut records of these sizes into runs: pairs of start and end, in which all but the last have one size."""
    same = sizes.count(sizes[0])
    start = 0
    if same < len(sizes) - (sizes[-1] != sizes[0]):
        for i in range(1, len(sizes)):
            if sizes[i - 1] != sizes[start]:
                yield start, i
                start = i
    yield start, len(sizes)
