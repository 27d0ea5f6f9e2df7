"""What a server without keys can say about a tree: that what a commit writes hangs together under its signed root.

Every written record must have the hash that its parent, written with it, gives it; the top must be the header's root.
So a server refuses damage at the moment it arrives, not when somebody reads. It cannot tell whether an authorised
writer kept the hashes of sectors that he did *not* write: he may destroy his own file in other ways too, and a reader
notices each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from ..errors import IntegrityError
from ._cipher import SEAL_SIZE, leaf_hashes
from ._header import Header
from ._merkle import FANOUT, FANOUT_BITS, HOLE, check_node_shape, child, level_size, node_hash, record_hash, tree_height

Record = bytes | memoryview
Written = dict[int, dict[int, Record]]  # by level and index
Stored = Callable[[int, int], Record | None]


class Run(Protocol):
    """Consecutive records of one level, as `btfproto.store.RecordRun` has them."""

    @property
    def level(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def records(self) -> Sequence[Record]: ...


class Hole(Protocol):
    """Consecutive records that cease to exist, as `btfproto.store.RecordHole` has them."""

    @property
    def level(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def count(self) -> int: ...


def check_tree_update(
    old: Header | None,
    new: Header,
    runs: Iterable[Run],
    holes: Iterable[Hole],
    stored: Stored,
) -> None:
    """Refuse a change of a block whose records do not match its new header. Raises IntegrityError.

    `stored(level, index)` reads a record as it was before the change; it is asked only for the top of a tree that
    shrank without being rewritten, and for records that are written without their parents.
    """
    written = _collect(runs)
    for level, records in written.items():
        _check_shapes(new, level, records)
        _check_hashes(new, level, records, written, stored)
    if tree_height(new.sector_count) not in written and new.root != HOLE:
        _check_kept_top(old, new, stored)
    for hole in holes:
        _check_hole(new, hole, written)


def _collect(runs: Iterable[Run]) -> Written:
    written: Written = {}
    for run in runs:
        records, indexes = written.setdefault(run.level, {}), range(run.first, run.first + len(run.records))
        if not records.keys().isdisjoint(indexes):
            index = next(index for index in indexes if index in records)
            raise IntegrityError(f"record {run.level}/{index} is written twice in one change")
        records.update(zip(indexes, run.records, strict=True))
    return {level: records for level, records in written.items() if records}


def _check_shapes(new: Header, level: int, records: Mapping[int, Record]) -> None:
    end, limit = level_size(level, new.sector_count), (1 << new.sector_bits) + SEAL_SIZE
    for index, record in records.items():
        if index >= end:
            raise IntegrityError(f"record {level}/{index} lies beyond the {new.sector_count} sectors of the header")
        if level:
            check_node_shape(level, index, record, new.sector_count)
        elif not 0 < len(record) <= limit:
            raise IntegrityError(f"sector {index} has {len(record)} bytes, which no sector of this block can have")


def _check_hashes(new: Header, level: int, records: Mapping[int, Record], written: Written, stored: Stored) -> None:
    """Every record has the hash that its parent gives it, or the header."""
    if level:
        hashes = [node_hash(level, index, node) for index, node in records.items()]
    else:
        hashes = leaf_hashes(list(records), list(records.values()))
    is_top, parents = level == tree_height(new.sector_count), written.get(level + 1, {})
    for (index, record), found in zip(records.items(), hashes, strict=True):
        parent = parents.get(index >> FANOUT_BITS)
        if parent is None and not is_top:
            if stored(level, index) != record:  # the same bytes again change nothing above them
                raise IntegrityError(f"record {level}/{index} is written without its parent")
        elif found != (new.root if is_top or parent is None else child(parent, index & FANOUT - 1)):
            raise IntegrityError(f"record {level}/{index} does not match the hash in its parent")


def _check_kept_top(old: Header | None, new: Header, stored: Stored) -> None:
    height = tree_height(new.sector_count)
    if old is not None and old.root == new.root and tree_height(old.sector_count) == height:
        return
    record = stored(height, 0)
    if record is None or record_hash(height, 0, record) != new.root:
        raise IntegrityError("the header names a Merkle root that is neither written nor stored")


def _check_hole(new: Header, hole: Hole, written: Written) -> None:
    """A record that ceases must be a hole in its parent too, where that is written."""
    gone = written.get(hole.level, {})
    for parent, node in written.get(hole.level + 1, {}).items():
        base = parent << FANOUT_BITS
        for index in range(max(hole.first, base), min(hole.first + hole.count, base + FANOUT)):
            if child(node, index - base) != HOLE and index not in gone:
                raise IntegrityError(f"record {hole.level}/{index} is dropped, but its parent still names it")
