"""Copying an embedded store as a whole: out of use or in use, into a directory or an archive, and back.

    1  snapshot   the index as of one moment, into the target's staging directory
    2  segments   what it names of each, and the target does not have yet
    3  finish     the index takes its place; what it does not name goes

A snapshot names only bytes that were durable before, and those of a segment never change; so the copy is exactly the
store at that moment, however long copying takes. A compaction may remove a segment meanwhile: then there is a newer
snapshot that does not need it, and what was copied stays useful. What the target has is compared by its last bytes
(they were sealed with fresh nonces, so no other segment has them); thus a second backup copies what is new, and an
interrupted one goes on. Nothing here proves that the *content* is right: `scrub_store` over `opened_copy` does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
from btlib.kinds import Kind

from ..errors import StoreError
from ..store._index import INDEX_FORMAT
from ..store._segment_format import SEGMENT_HEADER_SIZE
from ._archive import ArchivedStore

PIECE = 1 << 20  #: bytes copied at once
TAIL = 4096  #: bytes compared at the end of what the target has: at least one nonce and tag lie in them
SNAPSHOTS = 16  #: how often a compaction may overtake a copy; each time less is left to do


class CopyMeter(Protocol):
    """What is told of the progress."""

    def expect(self, items: int, size: int) -> None: ...
    def item(self, path: str) -> None: ...
    def bytes(self, count: int) -> None: ...


class SegmentGone(Exception):
    """The source has this segment no more."""


class StoreSource(Protocol):
    """Where a store is copied from. Raises StoreError."""

    def snapshot(self, index: Path) -> None:
        """Write the index as of one moment to a file."""
        ...

    def read(self, segment: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer at the end. Raises SegmentGone."""
        ...


class StoreTarget(Protocol):
    """Where a store is copied to. Raises StoreError, and OSError where the device fails."""

    staging: Path  #: the new index is written here

    def held(self, segment: int) -> int:
        """How many bytes of a segment it has."""
        ...

    def read(self, segment: int, size: int, offset: int) -> bytes: ...

    def write(self, segment: int, start: int, length: int, pieces: Iterator[bytes]) -> None:
        """Bytes `start` to `length`, durably; from 0 on it is another segment than before."""
        ...

    def finish(self, segments: dict[int, int]) -> None:
        """The staged index becomes true, durably; segments that it does not name go."""
        ...


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy did. Sizes in bytes; `kept` is what the target had already."""

    store_id: bytes
    cursor: int  #: commits that the copied state has seen
    segments: int
    copied: int
    kept: int
    index: int


class _Snapshot(msgspec.Struct, frozen=True):
    store_id: bytes
    cursor: int
    lengths: dict[int, int]


def copy_store(source: StoreSource, target: StoreTarget, meter: CopyMeter, *, thorough: bool = False) -> Copied:
    """Make the target the newest state of the source. Raises StoreError, OSError.

    `thorough` compares all that the target has, for when it turned out to be damaged.
    """
    copied, missing = 0, 0
    for _ in range(SNAPSHOTS):
        source.snapshot(target.staging)
        taken = _read_snapshot(target.staging)
        needs = _needs(source, target, taken.lengths, thorough=thorough)
        meter.expect(len(needs), sum(length - start for length, start in needs.values()))
        try:
            for number, (length, start) in needs.items():
                meter.item(f"segment {number}")
                target.write(number, start, length, _pieces(source, number, start, length, meter))
                copied += length - start
        except SegmentGone as gone:
            (number,) = gone.args
            if number == missing:
                raise _lost(number) from gone
            missing = number
            continue
        index = target.staging.stat().st_size
        target.finish(taken.lengths)
        return Copied(
            store_id=taken.store_id,
            cursor=taken.cursor,
            segments=len(taken.lengths),
            copied=copied,
            kept=max(0, sum(taken.lengths.values()) - copied),
            index=index,
        )
    raise StoreError(Kind.BUSY, "the store is compacted faster than it can be copied", "try again in quieter times")


@contextmanager
def opened_copy(directory: Path, place: StoreSource | StoreTarget) -> Iterator[ArchivedStore]:
    """A copy as a store that can be read, to verify it. Raises StoreError."""

    def fetch(segment: int, size: int, offset: int) -> bytes:
        try:
            data = place.read(segment, size, offset)
        except SegmentGone as error:
            raise _lost(segment) from error
        if len(data) != size:
            raise StoreError(Kind.INTEGRITY, f"segment {segment} of the copy ends before byte {offset + size}")
        return data

    with closing(ArchivedStore(directory, fetch)) as store:
        yield store


def snapshot_index(index: Path, copy: Path) -> None:
    """The index of a store as of one moment, also while another process writes to it. Raises StoreError."""
    copy.unlink(missing_ok=True)
    try:
        uri = f"{index.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as origin, closing(sqlite3.connect(copy)) as target:
            origin.backup(target)
    except sqlite3.Error as error:
        kind = Kind.INTEGRITY if type(error) is sqlite3.DatabaseError else Kind.IO
        raise StoreError(kind, f"cannot copy the store index {index}: {error}", "see: bt scrub") from error


def _read_snapshot(index: Path) -> _Snapshot:
    try:
        with closing(sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            form, store_id, cursor = db.execute("SELECT format, store_id, cursor FROM state").fetchone()
            rows = db.execute("SELECT number, length FROM segments ORDER BY number").fetchall()
    except (sqlite3.Error, TypeError) as error:
        raise StoreError(Kind.INTEGRITY, f"{index} is not the index of a store: {error}", "see: bt scrub") from error
    if form != INDEX_FORMAT:
        raise StoreError(Kind.NOT_SUPPORTED, f"the store has format {form}, this program knows {INDEX_FORMAT}")
    if not all(isinstance(n, int) and n > 0 and isinstance(end, int) and end >= SEGMENT_HEADER_SIZE for n, end in rows):
        raise StoreError(Kind.INTEGRITY, f"{index} names segments that there cannot be", "see: bt scrub")
    return _Snapshot(bytes(store_id), cursor, dict(rows))


def _needs(
    source: StoreSource, target: StoreTarget, lengths: dict[int, int], *, thorough: bool
) -> dict[int, tuple[int, int]]:
    """By segment, its length and from where on the target needs it."""
    needs = {}
    for number, length in lengths.items():
        start = min(target.held(number), length)
        if start and not _is_same(source, target, number, 0 if thorough else max(0, start - TAIL), start):
            start = 0
        if start < length:
            needs[number] = (length, start)
    return needs


def _is_same(source: StoreSource, target: StoreTarget, number: int, start: int, end: int) -> bool:
    """Whether what the target has from `start` to `end` is of the same segment: a number may be given anew."""
    try:
        return all(
            source.read(number, min(PIECE, end - at), at) == target.read(number, min(PIECE, end - at), at)
            for at in range(start, end, PIECE)
        )
    except SegmentGone:
        return True  # copying it will tell, where anything is left to copy


def _pieces(source: StoreSource, number: int, start: int, end: int, meter: CopyMeter) -> Iterator[bytes]:
    at = start
    while at < end:
        piece = source.read(number, min(PIECE, end - at), at)
        if not piece:
            raise StoreError(
                Kind.INTEGRITY, f"segment {number} of the store ends at byte {at} of {end}", "see: bt scrub, bt fsck"
            )
        meter.bytes(len(piece))  # first: who takes a known number of bytes does not ask for more
        yield piece
        at += len(piece)


def _lost(number: int) -> StoreError:
    return StoreError(
        Kind.INTEGRITY,
        f"segment {number} is missing, though the index names it",
        "keep what is whole: python -m btfproto.store.rebuild DIRECTORY, or bt fsck --salvage",
    )
