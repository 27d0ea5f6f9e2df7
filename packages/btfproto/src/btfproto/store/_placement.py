"""Where the records of a block lie: runs of consecutive records, sorted, never overlapping. Pure.

A run stands for many records at once, so a file written from front to end has few of them, however large; writing into
its middle splits one. What must change in the index is collected on the way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple


class Run(NamedTuple):
    """Records `first` to `first + length - 1`, one after another from `offset` in `segment`.

    All have `size` bytes but the last, which has `last`. `born`: the cursor from which on they are what the block has.
    """

    first: int
    length: int
    segment: int
    offset: int
    size: int
    last: int
    born: int = 0

    @property
    def end(self) -> int:
        return self.first + self.length

    @property
    def data_size(self) -> int:
        return (self.length - 1) * self.size + self.last

    def cut(self, start: int, end: int) -> Run:
        """The part of this run from record `start` up to `end`."""
        first, length, segment, offset, size, last, born = self
        kept_last = last if end == first + length else size
        return Run(start, end - start, segment, offset + (start - first) * size, size, kept_last, born)

    def split(self, data: bytes) -> list[bytes | memoryview]:
        """The records of this run, as views of its bytes."""
        view, size, cut = memoryview(data), self.size, (self.length - 1) * self.size
        return [*(view[start : start + size] for start in range(0, cut, size)), view[cut:]]


Delta = dict[int, Run | None]  # by first record: the row to write, or None to delete it


class Level:
    """The runs of one level of a block. A published one is never changed again: `copy` it first."""

    __slots__ = ("_firsts", "runs")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        """`runs` in order of their first records."""
        self.runs = list(runs)
        self._firsts = [run[0] for run in self.runs]

    def copy(self) -> Level:
        level = Level.__new__(Level)
        level.runs, level._firsts = self.runs.copy(), self._firsts.copy()
        return level

    def find(self, index: int) -> Run | None:
        """The run that holds a record."""
        at = bisect_right(self._firsts, index) - 1
        if at < 0:
            return None
        run = self.runs[at]
        return run if index < run[0] + run[1] else None

    def since(self, first: int) -> list[Run]:
        """The runs from the one that holds this record, or would follow it, to the last."""
        at = bisect_right(self._firsts, first) - 1
        return self.runs[at if at >= 0 and first < self.runs[at].end else at + 1 :]

    def between(self, first: int, end: int) -> list[Run]:
        """The runs that hold any of these records."""
        low = bisect_right(self._firsts, first) - 1
        if low < 0 or self.runs[low].end <= first:
            low += 1
        return self.runs[low : bisect_left(self._firsts, end, low)]

    def replace(self, start: int, end: int, new: Run | None, delta: Delta) -> list[Run]:
        """Put `new`, or nothing, in the place of records `start` to `end`; returns the parts that went."""
        low = bisect_right(self._firsts, start) - 1
        old = self.runs[low] if low >= 0 else None
        if old is None or old[0] + old[1] <= start:
            low += 1
        elif new is not None and end <= old[0] + old[1]:
            return [self._replace_within(low, start, end, new, delta)]
        high = bisect_left(self._firsts, end, low)
        pieces, gone = [], []
        for run in self.runs[low:high]:
            delta[run.first] = None
            if run.first < start:
                pieces.append(run.cut(run.first, start))
            gone.append(run.cut(max(run.first, start), min(run.end, end)))
        if new is not None:
            pieces.append(new)
        if high > low and self.runs[high - 1].end > end:
            pieces.append(self.runs[high - 1].cut(end, self.runs[high - 1].end))
        for piece in pieces:
            delta[piece.first] = piece
        self.runs[low:high] = pieces
        self._firsts[low:high] = [piece.first for piece in pieces]
        return gone

    def _replace_within(self, at: int, start: int, end: int, new: Run, delta: Delta) -> Run:
        """Put `new` into the one run that holds all its records, which is what a random write does; returns what went.

        It begins where the old run begins, or leaves a piece there, so no row has to go.
        """
        run = self.runs[at]
        if run[0] == start and run[0] + run[1] == end:
            self.runs[at] = delta[start] = new
            return run
        pieces = [new]
        if run.first < start:
            pieces.insert(0, run.cut(run.first, start))
        if end < run.end:
            pieces.append(run.cut(end, run.end))
        for piece in pieces:
            delta[piece.first] = piece
        self.runs[at : at + 1] = pieces
        self._firsts[at : at + 1] = [piece.first for piece in pieces]
        return run.cut(start, end)
