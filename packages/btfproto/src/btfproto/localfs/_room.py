"""How much may be waiting for a commit on a device that is nearly full.

What is written waits in memory first, and a commit that finds no room is refused as a whole; so would be everything
that comes after it, deletions too. Near the end of a device, therefore, nothing that takes room is begun that has none:
whoever writes is told at once, as by any file system, and what waits always fits.

A store in this process is asked after each commit, or each second where much is free; one at a server only once it had
no room, and then each second.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..store import Guarded, Store

ASK_SECONDS = 1.0  #: how long an answer counts
USABLE = 7 / 8  #: of what is free, for contents and what the store adds to them
NEAR = 2**30  #: bytes of free room from which on it is no matter: more than is written until it is asked for again


class Room:
    """`bytes` is what may wait; infinite where that is no matter, or not known."""

    def __init__(self, store: Store) -> None:
        self.bytes = math.inf
        self._store = store
        self._near = not isinstance(store, Guarded)
        self._asked = -math.inf

    def committed(self) -> None:
        """After each commit; never with the lock of the file system held."""
        if self._near and (self.bytes < math.inf or time.monotonic() - self._asked > ASK_SECONDS):
            self.measure()

    def measure(self) -> None:
        """A store that cannot say it leaves things as they were."""
        with suppress(BlocktreeError):
            available = self._store.status().available
            self.bytes = available * USABLE if available < NEAR else math.inf
            self._asked = time.monotonic()

    def look_again(self) -> None:
        """Before a change, never with the lock held: others may have given something back, or taken it."""
        if self.bytes < math.inf and time.monotonic() - self._asked > ASK_SECONDS:
            self.measure()

    def check(self, waiting: int, more: int) -> None:
        """Raises FsError (NO_SPACE)."""
        if waiting + more > self.bytes and self._near:
            self.measure()  # others may just have made room
        if waiting + more > self.bytes:
            raise FsError(Kind.NO_SPACE, "there is no room left in the store", "delete something, or see: bt df, bt gc")
