"""Many deadlines under one timer: a heap with lazy removal. Pure; the time is an argument.

Removing is marking; the heap is rebuilt when more than half of it is marked, so memory stays in proportion to what is
pending and each operation costs amortized O(log n).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

_SLACK = 64  # marked entries that never trigger a rebuild: small heaps are cheaper left alone


class Deadlines:
    """When each numbered thing runs out. A number has one deadline at a time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self.live: dict[int, float] = {}  #: by number; to look only

    def __len__(self) -> int:
        return len(self.live)

    def add(self, number: int, when: float) -> None:
        self.live[number] = when
        heappush(self._heap, (when, number))

    def discard(self, number: int) -> None:
        """Forget it, if it is there."""
        live = self.live
        if live.pop(number, None) is not None and len(self._heap) > 2 * len(live) + _SLACK:
            self._heap = [(when, number) for number, when in live.items()]
            heapify(self._heap)

    def next(self) -> float | None:
        """The earliest one."""
        heap = self._heap
        while heap and self.live.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def expired(self, now: float) -> list[int]:
        """Those that ran out, earliest first; they are forgotten."""
        out = []
        while (when := self.next()) is not None and when <= now:
            number = heappop(self._heap)[1]
            del self.live[number]
            out.append(number)
        return out
