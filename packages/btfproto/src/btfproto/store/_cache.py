"""Heads and placements in memory, bounded by their size: what makes a read one dictionary look-up and one `pread`.

An entry is a published, immutable `Block`, so a reader who took one has a consistent version however long it reads.
What was loaded from the index while a commit was published is used but not kept: it may already be old.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from ._group import Block
from ._index import HeadRow, Index
from ._placement import Level

HEAD_WEIGHT = 400  # objects of a head besides its bytes, about
RUN_WEIGHT = 250  # objects of a run, about


class BlockCache:
    """The newest states of the most recently used blocks. Thread-safe."""

    def __init__(self, index: Index, limit: int) -> None:
        self._index = index
        self._limit = limit
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()
        self._weight = 0
        self._published = 0
        self._lock = threading.Lock()

    def head(self, block: bytes) -> HeadRow | None:
        found = self.load(block, levels=False)
        return None if found is None else found.head

    def load(self, block: bytes, levels: bool) -> Block | None:
        """A block, with its placement if `levels`; None if it was never committed. Raises StoreError."""
        with self._lock:
            found = self._blocks.get(block)
            if found is not None and (found.levels is not None or not levels):
                self._blocks.move_to_end(block)
                return found
            published = self._published
        found = self._load(block, levels)
        if found is not None:
            with self._lock:
                if published == self._published:
                    self._keep(block, found)
        return found

    def publish(self, blocks: Mapping[bytes, Block]) -> None:
        """Show newer states to all who come from now on."""
        with self._lock:
            self._published += 1
            for block, state in blocks.items():
                self._keep(block, state)

    def drop(self, block: bytes) -> None:
        with self._lock:
            self._forget(block)

    def _load(self, block: bytes, levels: bool) -> Block | None:
        if not levels:
            head = self._index.head(block)
            if head is None:
                return None
            return Block(head, {} if head.inline or not head.stored else None)
        head, runs = self._index.head_and_runs(block)
        if head is None:
            return None
        found = {
            number: Level(run for level, run in runs if level == number) for number in {level for level, _ in runs}
        }
        return Block(head, found)

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


def _weight(state: Block) -> int:
    runs = 0 if state.levels is None else sum(len(level.runs) for level in state.levels.values())
    return HEAD_WEIGHT + len(state.head.signed) + RUN_WEIGHT * runs
