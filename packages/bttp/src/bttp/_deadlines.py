"""Many deadlines under one timer: a heap with lazy removal. Pure; the time is an argument.

Removing from `live` is enough: the heap is rebuilt when more than half of it is stale, so memory stays in proportion to
what is pending and adding costs amortized O(log n).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

_SLACK = 64  # stale entries that never trigger a rebuild: small heaps are cheaper left alone


class Deadlines:
    """When each numbered thing runs out. A number has one deadline at a time."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int]] = []  #: what is pending is in it; to look at the first
        self.live: dict[int, float] = {}  #: by number; to look and to remove

    def __len__(self) -> int:
        return len(self.live)

    def add(self, number: int, when: float) -> None:
        live, heap = self.live, self.heap
        live[number] = when
        heappush(heap, (when, number))
        if len(heap) > 2 * len(live) + _SLACK:
            heap[:] = [(when, number) for number, when in live.items()]
            heapify(heap)

    def discard(self, number: int) -> None:
        """Forget it, if it is there."""
        self.live.pop(number, None)

    def next(self) -> float | None:
        """The earliest one."""
        heap = self.heap
        while heap and self.live.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def expired(self, now: float) -> list[int]:
        """Those that ran out, earliest first; they are forgotten."""
        out = []
        while (when := self.next()) is not None and when <= now:
            number = heappop(self.heap)[1]
            del self.live[number]
            out.append(number)
        return out
