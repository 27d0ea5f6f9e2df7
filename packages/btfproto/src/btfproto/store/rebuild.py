"""Rebuilding the placement of an embedded store from its segments, for when the index lost it or a segment is damaged.

    python -m btfproto.store.rebuild DIRECTORY

Segments say of every run to which block, level and numbers it belongs; the signed headers in the index say, through
their Merkle trees, which of several candidates is the right one. So neither keys nor an order of writing are needed,
and what is found is certainly what was signed. What is not found is reported and stays a hole; reading it will fail.

The heads themselves are not in the segments: without the index there is nothing to rebuild.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from btlib.block import HOLE, decode_header, decode_signed_header, record_hash, tree_height
from btlib.errors import IntegrityError
from btlib.kinds import Kind

from ..errors import StoreError
from ._embedded import SEGMENTS_NAME
from ._files import SystemFiles
from ._index import INDEX_NAME, Index, SegmentRow
from ._lock import LockHolder, StoreLock
from ._past_rows import KeptRun
from ._placement import Run
from ._scrub import children
from ._segment_format import SEGMENT_HEADER_SIZE
from ._segments import Segments

Place = tuple[int, Run]  # level and where
Candidates = dict[bytes, list[Place]]


class Rebuilt(msgspec.Struct):
    """What a rebuild found. `lost`: a sentence for each record or head that could not be placed."""

    blocks: int = 0
    records: int = 0
    lost: list[str] = msgspec.field(default_factory=list)


def rebuild_placement(directory: Path) -> Rebuilt:
    """Place all records anew, in a closed store. Raises StoreError (BUSY, INTEGRITY if the index is unusable)."""
    if not (directory / INDEX_NAME).exists():
        raise StoreError(Kind.NOT_FOUND, f"there is no {INDEX_NAME} in {directory}, which holds all heads")
    lock = StoreLock(directory, LockHolder(os.getpid(), "rebuild"))
    try:
        index = Index(directory, b"")
        try:
            return _Rebuild(index, _open_segments(directory, index.state().store_id)).run()
        finally:
            index.close()
    finally:
        lock.release()


def _open_segments(directory: Path, store_id: bytes) -> Segments:
    """All segment files at their full length; those that are none of this store are left alone."""
    files = sorted((directory / SEGMENTS_NAME).glob("*.seg"))
    lengths = {int(path.stem): path.stat().st_size for path in files if path.stem.isdecimal()}
    usable = {number: length for number, length in lengths.items() if length >= SEGMENT_HEADER_SIZE}
    return Segments(directory / SEGMENTS_NAME, store_id, SystemFiles(), usable)


class _Rebuild:
    def __init__(self, index: Index, segments: Segments) -> None:
        self._index = index
        self._segments = segments
        self._result = Rebuilt()
        self._living = dict.fromkeys(segments.ends, 0)

    def run(self) -> Rebuilt:
        lengths, candidates = self._collect()
        rows: list[tuple[int, ...]] = []
        kept: list[KeptRun] = []
        stored: list[tuple[int, int]] = []
        for number, block, signed, born in self._index.placed_heads():
            found = self._place(block, signed, born, candidates)
            self._result.blocks += 1
            rows += [(number, level, *run) for level, run in found]
            stored.append((sum(run.data_size for _, run in found), number))
        for block, died, signed, born in self._index.placed_old_heads():
            found = self._place(block, signed, born, candidates)
            kept += [KeptRun(block, level, died, run) for level, run in found]
        segments = [SegmentRow(number, length, self._living[number]) for number, length in lengths.items()]
        self._index.replace_placement(rows, kept, stored, segments)
        return self._result

    def _place(self, block: bytes, signed: bytes, born: int, candidates: Candidates) -> list[Place]:
        """The runs of one version. What versions share counts with each: it stays until the last is gone."""
        places = list(_merged(self._resolve(block, signed, candidates.get(block, []))))
        for _, run in places:
            self._living[run.segment] += run.data_size
        return [(level, run._replace(born=born)) for level, run in places]

    def _collect(self) -> tuple[dict[int, int], Candidates]:
        """The whole entries of every segment: their ends, and the runs of each block, the newest last."""
        lengths: dict[int, int] = {}
        candidates: Candidates = {}
        for number in sorted(self._segments.ends):
            lengths[number] = SEGMENT_HEADER_SIZE
            try:
                for offset, run in self._segments.walk(number):
                    placed = Run(run.first, run.length, number, offset, run.size, run.last)
                    candidates.setdefault(run.block, []).append((run.level, placed))
                    lengths[number] = offset + run.data_size
            except StoreError as error:
                self._result.lost.append(error.message)
        return lengths, candidates

    def _resolve(self, block: bytes, signed: bytes, candidates: list[Place]) -> Iterator[Place]:
        """Every record that the tree of a block names, where it was found."""
        try:
            header = decode_header(decode_signed_header(signed).header)
        except IntegrityError as error:
            self._result.lost.append(f"the head of block {block.hex()} is damaged: {error.message}")
            return
        level = tree_height(header.sector_count)
        expected: Mapping[int, bytes] = {0: header.root} if header.root != HOLE else {}
        while expected:
            below: dict[int, bytes] = {}
            for index, digest in sorted(expected.items()):
                found = self._find(level, index, digest, candidates)
                if found is None:
                    self._result.lost.append(f"record {level}/{index} of block {block.hex()} is in no segment")
                    continue
                place, record = found
                self._result.records += 1
                yield level, place
                if level:
                    below.update(children(index, record))
            expected, level = below, level - 1

    def _find(self, level: int, index: int, digest: bytes, candidates: list[Place]) -> tuple[Run, bytes] | None:
        """The newest candidate with the right hash."""
        for number, run in reversed(candidates):
            if number == level and run.first <= index < run.end:
                part = run.cut(index, index + 1)
                record = self._segments.read(part.segment, part.data_size, part.offset)
                if record_hash(level, index, record) == digest:
                    return part, record
        return None


def _merged(places: Iterator[Place]) -> Iterator[Place]:
    """Neighbours that lie one after another, as runs."""
    current: Place | None = None
    for level, run in places:
        if current is not None and _follows(current, level, run):
            first = current[1]
            current = level, first._replace(length=first.length + 1, last=run.last)
            continue
        if current is not None:
            yield current
        current = level, run._replace(size=run.last)
    if current is not None:
        yield current


def _follows(current: Place, level: int, run: Run) -> bool:
    before = current[1]
    whole = before.last == before.size and before.end == run.first and before.segment == run.segment
    return whole and current[0] == level and before.offset + before.data_size == run.offset


def main(arguments: list[str]) -> int:
    """For the command line: rebuild, and say what was lost."""
    if len(arguments) != 1:
        print("usage: python -m btfproto.store.rebuild DIRECTORY", file=sys.stderr)
        return 2
    try:
        result = rebuild_placement(Path(arguments[0]))
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"placed {result.records} records of {result.blocks} blocks; {len(result.lost)} lost")
    for sentence in result.lost:
        print(sentence, file=sys.stderr)
    return 1 if result.lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
