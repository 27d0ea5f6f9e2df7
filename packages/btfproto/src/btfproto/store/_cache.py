"""Heads and placements in memory, bounded by their size: what makes a read one dictionary look-up and one `pread`.

An entry is a published, immutable `Block`, so a reader who took one has a consistent version however long it reads.
What was loaded from the index while a commit was published is used but not kept: it may already be old.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

from ._group import Block
from ._index import HeadRow
from ._interface import HeadWant
from ._placement import Level, Run

HEAD_WEIGHT = 400  # objects of a head besides its bytes, about
RUN_WEIGHT = 250  # objects of a run, about


class Rows(Protocol):
    """Where states are loaded from. Each method sees one moment, and raises StoreError."""

    def heads(self, blocks: Sequence[bytes]) -> dict[bytes, HeadRow]: ...
    def heads_and_smalls(self, blocks: Sequence[bytes]) -> dict[bytes, tuple[HeadRow, bytes | None]]: ...
    def runs(self, number: int) -> tuple[int, list[tuple[int, Run]]]: ...
    def head_and_runs(self, block: bytes) -> tuple[HeadRow | None, list[tuple[int, Run]]]: ...


class BlockCache:
    """The newest states of the most recently used blocks. Thread-safe."""

    def __init__(self, index: Rows, limit: int) -> None:
        self._index = index
        self._limit = limit
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()
        self._weight = 0
        self._published = 0
        self._lock = threading.Lock()

    def load_heads(self, blocks: Sequence[bytes]) -> dict[bytes, Block]:
        """Those blocks that were ever committed, perhaps without their placement. Raises StoreError."""
        found, published = self._peek(blocks)
        missing = [block for block in blocks if block not in found]
        if missing:
            loaded = {block: _placeless(head) for block, head in self._index.heads(missing).items()}
            self._keep_loaded(loaded, published)
            found |= loaded
        return found

    def read_heads(self, wants: Sequence[HeadWant]) -> list[tuple[HeadRow | None, bytes | None]]:
        """The wanted heads; those of another version than the known one with their small record. Raises StoreError."""
        found, published = self._peek([want.block for want in wants])
        heads: dict[bytes, tuple[HeadRow, bytes | None]] = {b: (state.head, None) for b, state in found.items()}
        missing = [want.block for want in wants if _needs_small(heads.get(want.block), want.known)]
        if missing:
            loaded = self._index.heads_and_smalls(missing)
            self._keep_loaded({b: _placeless(head) for b, (head, _) in loaded.items() if b not in found}, published)
            heads |= loaded
        return [heads.get(want.block, (None, None)) for want in wants]

    def load(self, block: bytes) -> Block | None:
        """A block with its placement; None if it was never committed. Raises StoreError."""
        with self._lock:
            found = self._blocks.get(block)
            if found is not None and found.levels is not None:
                self._blocks.move_to_end(block)
                return found
            published = self._published
        head, runs = self._load(block, found)
        if head is None:
            return None
        levels = {level for level, _ in runs}
        found = Block(head, {number: Level(run for level, run in runs if level == number) for number in levels})
        self._keep_loaded({block: found}, published)
        return found

    def _load(self, block: bytes, known: Block | None) -> tuple[HeadRow | None, list[tuple[int, Run]]]:
        """A head and its runs of one moment; in one statement, where the head in memory is still the newest."""
        if known is not None:
            version, runs = self._index.runs(known.head.id)
            if version == known.head.version:
                return known.head, runs
        return self._index.head_and_runs(block)

    def publish(self, blocks: Mapping[bytes, Block]) -> None:
        """Show newer states to all who come from now on."""
        with self._lock:
            self._published += 1
            for block, state in blocks.items():
                self._keep(block, state)

    def drop(self, block: bytes) -> None:
        with self._lock:
            self._forget(block)

    def _peek(self, blocks: Sequence[bytes]) -> tuple[dict[bytes, Block], int]:
        """What is in memory, and the count of publications at that moment."""
        with self._lock:
            found = {block: self._blocks[block] for block in blocks if block in self._blocks}
            for block in found:
                self._blocks.move_to_end(block)
            return found, self._published

    def _keep_loaded(self, blocks: Mapping[bytes, Block], published: int) -> None:
        with self._lock:
            if published == self._published:
                for block, state in blocks.items():
                    self._keep(block, state)

    def _keep(self, block: bytes, state: Block) -> None:
        self._forget(block)
        self._blocks[block] = state
        self._weight += _weight(state)
        while self._weight > self._limit and len(self._blocks) > 1:
            self._forget(next(iter(self._blocks)))

    def _forget(self, block: bytes) -> None:
        old = self._blocks.pop(block, None)
        if old is not None:
            self._weight -= _weight(old)


def _placeless(head: HeadRow) -> Block:
    """A block whose placement is not loaded, unless it has none."""
    return Block(head, {} if head.inline or not head.stored else None)


def _needs_small(found: tuple[HeadRow, bytes | None] | None, known: int) -> bool:
    return found is None or (found[0].inline and found[0].version != known)


def _weight(state: Block) -> int:
    runs = 0 if state.levels is None else sum(len(level.runs) for level in state.levels.values())
    return HEAD_WEIGHT + len(state.head.signed) + RUN_WEIGHT * runs
