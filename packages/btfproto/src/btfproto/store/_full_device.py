"""What a store does on a device that is full: what gives room back works from the reserve, and what takes room waits.

    commit           finds no room: segments with dead bytes are emptied, as far as what lives in them fits into the
                     reserve; then once more. Failing that it is refused (NO_SPACE), if it is not one that gives back
    giving back      a commit that removes more than it brings, a lease, forgetting: the reserve goes, and is made again
                     from what comes back

Anything else than a missing room passes through. Thread-safe.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from btlib.kinds import Kind

from ..errors import StoreError
from ._interface import Commit, CommitAnswer
from ._reserve import Reserve, cost_of
from ._segments import SEGMENT_SIZE
from ._writer import Writer

T = TypeVar("T")

SMALL_SEGMENT = 2**20  #: the least size of segments, half of the least reserve
SEGMENTS_AT_LEAST = 256  #: on a full device: what is free for emptying one is a small part of it
REGAIN = 0.9  #: share of living bytes below which a segment is emptied on a full device


def usual_segment_size(directory: Path) -> int:
    """Small on a small device, where one has to be emptied with little room."""
    return min(SEGMENT_SIZE, max(SMALL_SEGMENT, shutil.disk_usage(directory).total // SEGMENTS_AT_LEAST))


class FullDevice:
    """Between a store and its writer."""

    def __init__(self, reserve: Reserve, writer: Writer, *, spare: bool = True) -> None:
        """`spare`: make the reserve, if there is room for it."""
        self._reserve = reserve
        self._writer = writer
        self._lock = threading.RLock()  # taken before the writer's
        self._full = spare and not reserve.restore()

    def free(self) -> int:
        """Bytes that commits can take."""
        owed = self._reserve.size if self._full and not self._reserve.held else 0
        return max(self._reserve.free() - owed, 0)

    def commit(self, commit: Commit) -> CommitAnswer:
        if self._full and not self._regain():
            if not self._gives_back(commit):
                raise StoreError(Kind.NO_SPACE, "the device of the store is full", "free some space")
            return self._from_reserve(lambda: self._writer.commit(commit))
        try:
            answer = self._writer.commit(commit)
        except StoreError as error:
            if error.kind is not Kind.NO_SPACE:
                raise
            self._full = True
            if not self._gives_back(commit):
                return self._commit_later(commit, error)
            return self._from_reserve(lambda: self._writer.commit(commit))
        if self._reserve.free() < self._reserve.size:
            self._tidy()
        return answer

    def _tidy(self) -> None:
        """Little is free: empty segments before somebody has to wait for it. What was committed stays committed."""
        with suppress(StoreError):
            if self._writer.compactable_within(REGAIN, self._room()):
                self._regain(self._reserve.size)

    def giving_back(self, change: Callable[[], T]) -> T:
        """Something that takes little room, and that has to be possible on a full device."""
        try:
            return change()
        except StoreError as error:
            if error.kind is not Kind.NO_SPACE:
                raise
        return self._from_reserve(change)

    def compact(self, share: float) -> Iterator[int]:
        """As the writer does; where it runs out of room, as far as there is some."""
        try:
            yield from self._writer.compact(share)
        except StoreError as error:
            if error.kind is not Kind.NO_SPACE:
                raise
            self._from_reserve(lambda: None)

    def _gives_back(self, commit: Commit) -> bool:
        taken, removes = cost_of(commit)
        return removes and taken <= self._reserve.size // 4

    def _commit_later(self, commit: Commit, error: StoreError) -> CommitAnswer:
        taken, _ = cost_of(commit)
        if not self._regain(taken + taken // 8 + self._reserve.size // 4):
            raise error
        return self._writer.commit(commit)

    def _from_reserve(self, change: Callable[[], T]) -> T:
        with self._lock:
            self._full = True
            self._reserve.release()
            self._writer.shorten_log_now()
            try:
                return change()
            finally:
                self._regain(self._reserve.size)

    def _regain(self, more: int = 0) -> bool:
        """Empty segments as far as there is room for it, until the reserve is whole again and `more` is free beside it;
        whether that is so."""
        with self._lock:
            with suppress(StoreError):  # full, or broken: that is told by the commit
                self._writer.shorten_log_now()
                while not (self._reserve.restore() and self._reserve.free() >= more):
                    room = self._room()
                    if not self._writer.compactable_within(REGAIN, room):
                        break
                    self._reserve.release()
                    self._writer.compact_within(REGAIN, room)
                    self._writer.shorten_log_now()
            self._full = not self._reserve.restore()
            return not self._full and self._reserve.free() >= more

    def _room(self) -> int:
        """What may live in a segment that is emptied now; the rest is for the index."""
        return (self._reserve.free() + self._reserve.size * self._reserve.held) * 3 // 4
