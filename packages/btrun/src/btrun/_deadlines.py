"""Many deadlines under one timer: a heap. Pure; the time is an argument.

An entry is anything with a mutable `done`. Done entries are skipped, and nobody has to say that one is done: when what
is kept has grown to twice what was pending at the last count, it is counted again. So memory stays in proportion to
what is pending.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

_SLACK = 64  # done entries that never cause a count: small collections are cheaper left alone


class Entry(Protocol):
    """Something with a deadline."""

    @property
    def done(self) -> bool: ...


E = TypeVar("E", bound=Entry)


class Deadlines(Generic[E]):
    """When each entry runs out. Entries of one moment run out in the order in which they came."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, E]] = []
        self._limit = _SLACK
        self._number = 0

    def __len__(self) -> int:
        return sum(not entry.done for _, _, entry in self._heap)

    def add(self, when: float, entry: E) -> None:
        self._number = number = self._number + 1
        heap = self._heap
        if len(heap) >= self._limit:
            heap[:] = [item for item in heap if not item[2].done]
            heapify(heap)
            self._limit = 2 * len(heap) + _SLACK
        heappush(heap, (when, number, entry))

    def next(self) -> float | None:
        """The earliest one."""
        heap = self._heap
        while heap and heap[0][2].done:
            heappop(heap)
        return heap[0][0] if heap else None

    def pop_expired(self, now: float) -> E | None:
        """The earliest one that ran out, if any; it is taken out."""
        first = self.next()
        return None if first is None or first > now else heappop(self._heap)[2]
