"""Many deadlines under one timer: a heap with lazy removal. Pure; the time is an argument.

An entry is anything with a mutable `done`; done entries are skipped. Whoever finishes one says so with `forget`, and
the heap is rebuilt when more than half of it is done: memory stays in proportion to what is pending.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

_SLACK = 64  # done entries that never trigger a rebuild: small heaps are cheaper left alone


class Entry(Protocol):
    """Something with a deadline."""

    @property
    def done(self) -> bool: ...


E = TypeVar("E", bound=Entry)


class Deadlines(Generic[E]):
    """When each entry runs out. Entries of one moment run out in the order in which they came."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, E]] = []
        self._number = 0
        self._done = 0

    def __len__(self) -> int:
        return len(self._heap) - self._done

    def add(self, when: float, entry: E) -> None:
        self._number = number = self._number + 1
        heappush(self._heap, (when, number, entry))

    def forget(self) -> None:
        """One entry was done before its time."""
        self._done += 1
        if self._done > _SLACK and 2 * self._done > len(self._heap):
            self._heap = [item for item in self._heap if not item[2].done]
            heapify(self._heap)
            self._done = 0

    def next(self) -> float | None:
        """The earliest one."""
        heap = self._heap
        while heap and heap[0][2].done:
            heappop(heap)
            self._done -= 1
        return heap[0][0] if heap else None

    def pop_expired(self, now: float) -> E | None:
        """The earliest one that ran out, if any; it is taken out."""
        when = self.next()
        return heappop(self._heap)[2] if when is not None and when <= now else None

    def pending(self) -> list[tuple[float, E]]:
        """All that are not done, earliest first; to look only."""
        return [(when, entry) for when, _, entry in sorted(self._heap, key=lambda item: item[:2]) if not entry.done]
