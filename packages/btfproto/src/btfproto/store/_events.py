"""The event log of a store that lives in one process: which blocks changed since a cursor, and who is wanted.

A cursor is the number of commits ever applied. The log keeps the newest changes only; a reader who fell behind gets
`lost` and starts over. Nothing is durable: a store that reopens passes the number it had, and older cursors are lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from btlib.kinds import Kind

from ..errors import StoreError
from ._interface import Change, Events

EVENTS_KEPT = 65_536  #: changes remembered, some 10 MB at the most: minutes of a busy store
EVENTS_AT_ONCE = 4_096  #: changes in one answer, which then fits any message limit


class EventLog:
    """Commits as they happen. Thread-safe."""

    def __init__(self, cursor: int, *, kept: int = EVENTS_KEPT) -> None:
        self._cursor = cursor
        self._kept = kept
        self._commits: deque[list[Change]] = deque()  # the commits that led to the newest cursors, in order
        self._changes = 0
        self._closed = False
        self._condition = threading.Condition()

    @property
    def cursor(self) -> int:
        return self._cursor

    def append(self, commits: Sequence[list[Change]]) -> None:
        """Add the changes of some commits, in order, and wake who waits."""
        with self._condition:
            self._cursor += len(commits)
            self._commits.extend(commits)
            self._changes += sum(map(len, commits))
            while self._changes > self._kept and len(self._commits) > 1:
                self._changes -= len(self._commits.popleft())
            self._condition.notify_all()

    def notify(self) -> None:
        """Let waiting readers ask again who wants their leases."""
        with self._condition:
            self._condition.notify_all()

    def close(self) -> None:
        """Wake all readers with an error."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def wait(self, cursor: int, take_wanted: Callable[[], list[bytes]], timeout: float) -> Events:
        """Events after `cursor`, once there are some or time is over. `take_wanted` gives the leases to release."""
        with self._condition:
            wanted: list[bytes] = []

            def something() -> bool:
                nonlocal wanted
                wanted = take_wanted()
                return bool(wanted) or cursor != self._cursor or self._closed

            self._condition.wait_for(something, timeout if cursor else 0)
            if self._closed:
                raise StoreError(Kind.UNREACHABLE, "the store was closed")
            return self._after(cursor, wanted)

    def _after(self, cursor: int, wanted: list[bytes]) -> Events:
        oldest = self._cursor - len(self._commits)
        if not cursor:
            return Events(self._cursor, [], wanted)
        if not oldest <= cursor <= self._cursor:
            return Events(self._cursor, [], wanted, lost=True)
        changes: list[Change] = []
        for number in range(cursor - oldest, len(self._commits)):
            if changes and len(changes) + len(self._commits[number]) > EVENTS_AT_ONCE:
                break
            changes += self._commits[number]
            cursor += 1
        return Events(cursor, changes, wanted)
