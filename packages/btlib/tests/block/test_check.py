"""What a server without keys refuses about a tree, and what it lets through."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec
import pytest
from btlib.block import HOLE, Header, SectorTree, TreeUpdate, check_tree_update, leaf_hash
from btlib.errors import IntegrityError
from hypothesis import given, settings
from hypothesis import strategies as st


class Run(msgspec.Struct):
    level: int
    first: int
    records: list[bytes | memoryview]


class Hole(msgspec.Struct):
    level: int
    first: int
    count: int


Stored = dict[tuple[int, int], bytes]


def header(root: bytes, sectors: int, version: int = 1) -> Header:
    return Header(
        block=bytes(16),
        scope=bytes(16),
        version=version,
        sector_count=sectors,
        root=root,
        chain=bytes(32),
        written=0,
    )


class Block:
    """A block in a store, changed as a writer does."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.stored: Stored = {}
        self.tree = SectorTree(HOLE, 0, lambda level, index: self.stored.get((level, index)))

    def write(self, sectors: dict[int, bytes], count: int) -> tuple[Header, list[Run], list[Hole]]:
        update = self.tree.update({i: leaf_hash(i, s) if s else HOLE for i, s in sectors.items()}, count)
        runs = [Run(0, i, [s]) for i, s in sectors.items() if s and i < count]
        runs += [Run(level, index, [node]) for (level, index), node in update.nodes.items() if node]
        holes = [Hole(0, i, 1) for i, s in sectors.items() if not s]
        holes += [Hole(level, index, 1) for (level, index), node in update.nodes.items() if node is None]
        holes += [Hole(d.level, d.first, d.count) for d in update.dropped]
        version = 1 if self.header is None else self.header.version + 1
        self._latest: TreeUpdate = update
        return header(update.root, count, version), runs, holes

    def settle(self, new: Header, runs: Sequence[Run], holes: Sequence[Hole]) -> None:
        for hole in holes:
            for level, index in list(self.stored):
                if level == hole.level and hole.first <= index < hole.first + hole.count:
                    del self.stored[level, index]
        for run in runs:
            self.stored.update({(run.level, run.first + i): bytes(r) for i, r in enumerate(run.records)})
        self.tree.apply(self._latest)
        self.header = new

    def check(self, new: Header, runs: Sequence[Run], holes: Sequence[Hole]) -> None:
        check_tree_update(self.header, new, runs, holes, lambda level, index: self.stored.get((level, index)))


STEPS = st.lists(
    st.tuples(st.dictionaries(st.integers(0, 700), st.binary(max_size=3), max_size=8), st.integers(0, 700)), max_size=5
)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_whatever_a_writer_does_is_accepted(steps: list[tuple[dict[int, bytes], int]]) -> None:
    block = Block()
    for sectors, count in steps:
        new, runs, holes = block.write(sectors, count)
        block.check(new, runs, holes)
        block.settle(new, runs, holes)


@given(st.sampled_from([1, 3, 300]), st.data())
@settings(max_examples=80, deadline=None)
def test_a_flipped_swapped_or_missing_record_is_refused(count: int, data: st.DataObject) -> None:
    block = Block()
    new, runs, holes = block.write({i: b"sector %d" % i for i in range(count)}, count)
    run = data.draw(st.sampled_from(runs))
    good = bytes(run.records[0])
    at = data.draw(st.integers(0, len(good) - 1))
    run.records = [
        data.draw(st.sampled_from([good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], good[:at], good * 2]))
    ]
    with pytest.raises(IntegrityError):
        block.check(new, runs, holes)


def test_a_node_written_without_its_parent_is_refused() -> None:
    block = Block()
    new, runs, holes = block.write({0: b"a", 400: b"b"}, 401)
    with pytest.raises(IntegrityError, match="without its parent"):
        block.check(new, [run for run in runs if run.level < 2], holes)


def test_a_root_that_is_neither_written_nor_stored_is_refused() -> None:
    with pytest.raises(IntegrityError, match="neither written nor stored"):
        check_tree_update(None, header(os.urandom(32), 3), [], [], lambda level, index: None)


def test_a_header_that_keeps_its_root_needs_no_records() -> None:
    block = Block()
    new, runs, holes = block.write({0: b"a", 400: b"b"}, 401)
    block.settle(new, runs, holes)
    block.check(header(new.root, 401, 2), [], [])


def test_a_tree_that_shrinks_to_a_stored_node_needs_no_records() -> None:
    block = Block()
    block.settle(*block.write({i: b"%d" % i for i in range(256)}, 256))
    block.settle(*block.write({500: b"far"}, 501))
    new, runs, holes = block.write({}, 256)
    assert runs == []
    block.check(new, runs, holes)


def test_records_beyond_the_end_are_refused() -> None:
    block = Block()
    new, runs, holes = block.write({0: b"a", 1: b"b"}, 2)
    for level, index in ((0, 2), (1, 1), (2, 0)):
        with pytest.raises(IntegrityError, match="beyond"):
            block.check(new, [*runs, Run(level, index, [bytes(32)])], holes)


def test_a_record_written_twice_is_refused() -> None:
    block = Block()
    new, runs, holes = block.write({0: b"a"}, 1)
    with pytest.raises(IntegrityError, match="twice"):
        block.check(new, [*runs, *runs], holes)


def test_a_sector_longer_than_the_block_allows_is_refused() -> None:
    stored = bytes((1 << 14) + 29)
    with pytest.raises(IntegrityError, match="no sector of this block"):
        check_tree_update(None, header(leaf_hash(0, stored), 1), [Run(0, 0, [stored])], [], lambda level, index: None)


def test_a_hole_that_its_parent_does_not_know_is_refused() -> None:
    block = Block()
    block.settle(*block.write({i: b"%d" % i for i in range(5)}, 5))
    new, runs, holes = block.write({1: b"new"}, 5)
    with pytest.raises(IntegrityError, match="its parent still names it"):
        block.check(new, runs, [*holes, Hole(0, 3, 2**40)])
