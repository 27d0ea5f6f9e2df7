"""Many deadlines under one timer: a heap, and a queue for those that come in order. Pure; the time is an argument.

An entry is anything with a mutable `done`. Done entries are skipped, and nobody has to say that one is done: when what
is kept has grown to twice what was pending at the last count, it is counted again. So memory stays in proportion to
what is pending, and a deadline that is not reached, as those of nearly all calls, costs one append.
"""

from __future__ import annotations

from collections import deque
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
        self._heap_limit = _SLACK
        self._queue: deque[tuple[float, int, E]] = deque()
        self._queue_limit = _SLACK
        self._number = 0

    def __len__(self) -> int:
        return len(self.pending())

    def add(self, when: float, entry: E) -> None:
        self._number = number = self._number + 1
        heap = self._heap
        if len(heap) >= self._heap_limit:
            heap[:] = [item for item in heap if not item[2].done]
            heapify(heap)
            self._heap_limit = 2 * len(heap) + _SLACK
        heappush(heap, (when, number, entry))

    def append(self, when: float, entry: E) -> None:
        """The same, for entries whose deadlines mostly come in order; it costs less then."""
        queue = self._queue
        if queue and when < queue[-1][0]:
            self.add(when, entry)
            return
        self._number = number = self._number + 1
        if len(queue) >= self._queue_limit:
            self._queue = queue = deque(item for item in queue if not item[2].done)
            self._queue_limit = 2 * len(queue) + _SLACK
        queue.append((when, number, entry))

    def next(self) -> float | None:
        """The earliest one."""
        first = self._first()
        return None if first is None else first[0]

    def pop_expired(self, now: float) -> E | None:
        """The earliest one that ran out, if any; it is taken out."""
        first = self._first()
        if first is None or first[0] > now:
            return None
        if self._queue and self._queue[0] is first:
            self._queue.popleft()
        else:
            heappop(self._heap)
        return first[2]

    def pending(self) -> list[tuple[float, E]]:
        """All that are not done, earliest first; to look only."""
        everything = sorted((*self._heap, *self._queue), key=lambda item: item[:2])
        return [(when, entry) for when, _, entry in everything if not entry.done]

    def _first(self) -> tuple[float, int, E] | None:
        heap, queue = self._heap, self._queue
        while heap and heap[0][2].done:
            heappop(heap)
        while queue and queue[0][2].done:
            queue.popleft()
        if heap and queue:
            return heap[0] if heap[0][:2] < queue[0][:2] else queue[0]
        return heap[0] if heap else queue[0] if queue else None
