"""Messages that reached nobody: counted, the last ones kept to look at, told to the log with restraint.

`bt ps --dead-letters` shows the last ones of a running program.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable

import msgspec

KEPT = 100  #: enough to see what goes wrong; the counters have the extent

log = logging.getLogger("btrun")


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One message that reached nobody."""

    path: str  #: to whom
    message: object
    why: str


class DeadLetters:
    """Those of one runtime."""

    def __init__(self) -> None:
        self.count = 0
        self.by_path: Counter[str] = Counter()
        self.last: deque[DeadLetter] = deque(maxlen=KEPT)
        self._listeners: list[Callable[[DeadLetter], None]] = []

    def listen(self, listener: Callable[[DeadLetter], None]) -> None:
        """Call it with each one, at once. It must neither block nor raise."""
        self._listeners.append(listener)

    def add(self, path: str, message: object, why: str) -> None:
        self.count += 1
        self.by_path[path] += 1
        letter = DeadLetter(path=path, message=message, why=why)
        self.last.append(letter)
        count = self.by_path[path]
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th … of an actor: a flood must not flood the log
            log.warning("dead letter %d for %s: %s; %s", count, path, type(message).__name__, why)
        for listener in self._listeners:
            listener(letter)
