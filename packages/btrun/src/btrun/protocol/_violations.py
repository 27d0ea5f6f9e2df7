"""How often a protocol was broken, by role and state. The labels of a peer are not kept: it may invent them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .errors import Violation


class ViolationCounts:
    """Counts since the process started; at most one count for each role and state of a protocol."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def record(self, violation: Violation) -> None:
        self._counts[violation.role, violation.state] += 1

    @property
    def total(self) -> int:
        return self._counts.total()

    def by_role_and_state(self) -> Mapping[tuple[str, str], int]:
        return dict(self._counts)
