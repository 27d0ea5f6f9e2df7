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
from ._cipher import SEAL_SIZE
from ._header import Header
from ._merkle import FANOUT_BITS, HOLE, check_node_shape, child, level_size, record_hash, tree_height

Record = bytes | memoryview
RecordKey = tuple[int, int]  # (level, index)
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
    for (level, index), record in written.items():
        _check_record(new, level, index, record, written, stored)
    top = (tree_height(new.sector_count), 0)
    if top not in written and new.root != HOLE:
        _check_kept_top(old, new, stored)
    for hole in holes:
        _check_hole(new, hole, written)


def _collect(runs: Iterable[Run]) -> dict[RecordKey, Record]:
    written: dict[RecordKey, Record] = {}
    for run in runs:
        for index, record in enumerate(run.records, run.first):
            if (run.level, index) in written:
                raise IntegrityError(f"record {run.level}/{index} is written twice in one change")
            written[run.level, index] = record
    return written


def _check_record(
    new: Header, level: int, index: int, record: Record, written: Mapping[RecordKey, Record], stored: Stored
) -> None:
    if index >= level_size(level, new.sector_count):
        raise IntegrityError(f"record {level}/{index} lies beyond the {new.sector_count} sectors of the header")
    if level:
        check_node_shape(level, index, record, new.sector_count)
    elif not 0 < len(record) <= (1 << new.sector_bits) + SEAL_SIZE:
        raise IntegrityError(f"sector {index} has {len(record)} bytes, which no sector of this block can have")
    expected = _expected(new, level, index, written)
    if expected is None:
        if stored(level, index) != record:  # the same bytes again change nothing above them
            raise IntegrityError(f"record {level}/{index} is written without its parent")
    elif record_hash(level, index, record) != expected:
        raise IntegrityError(f"record {level}/{index} does not match the hash in its parent")


def _expected(new: Header, level: int, index: int, written: Mapping[RecordKey, Record]) -> bytes | None:
    """The hash of a record by its parent, if that is written too."""
    if level == tree_height(new.sector_count):
        return new.root
    parent = written.get((level + 1, index >> FANOUT_BITS))
    return None if parent is None else child(parent, index & (1 << FANOUT_BITS) - 1)


def _check_kept_top(old: Header | None, new: Header, stored: Stored) -> None:
    height = tree_height(new.sector_count)
    if old is not None and old.root == new.root and tree_height(old.sector_count) == height:
        return
    record = stored(height, 0)
    if record is None or record_hash(height, 0, record) != new.root:
        raise IntegrityError("the header names a Merkle root that is neither written nor stored")


def _check_hole(new: Header, hole: Hole, written: Mapping[RecordKey, Record]) -> None:
    """A record that ceases must be a hole in its parent too, where that is written."""
    for (level, parent), node in written.items():
        if level != hole.level + 1:
            continue
        base = parent << FANOUT_BITS
        for index in range(max(hole.first, base), min(hole.first + hole.count, base + (1 << FANOUT_BITS))):
            if child(node, index - base) != HOLE and (hole.level, index) not in written:
                raise IntegrityError(f"record {hole.level}/{index} is dropped, but its parent still names it")
