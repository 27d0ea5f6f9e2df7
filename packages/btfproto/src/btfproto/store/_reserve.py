"""The reserve: room that a store keeps for itself, so that on a full disk it can still be opened, and things deleted.

Deleting needs room first: for the log of the index, for a directory that lost a name, for what still lives in a segment
that is to go. So a file of some MiB lies beside the segments. It goes when the device is full, to commits that give
more back than they take, and comes back as soon as there is room. It means nothing else: who loses it loses nothing.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ._interface import Commit

RESERVE_NAME = "reserve"
MOST = 32 * 2**20  #: twice the log of the index, which is copied into it then; and to empty a segment with little alive
LEAST = 2 * 2**20
SHARE = 64  #: of a small device, one part in so many


def reserve_size(capacity: int) -> int:
    return min(max(capacity // SHARE, LEAST), MOST)


def cost_of(commit: Commit) -> tuple[int, bool]:
    """How many bytes of records a commit brings, and whether it removes any."""
    taken = sum(len(record) for change in commit.changes for run in change.runs for record in run.records)
    return taken, any(change.removed or change.holes for change in commit.changes)


class Reserve:
    """Used under the writer's lock, or before there is one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / RESERVE_NAME
        self.size = reserve_size(shutil.disk_usage(directory).total)

    @property
    def held(self) -> bool:
        try:
            return self._path.stat().st_size >= self.size
        except OSError:
            return False

    def free(self) -> int:
        """Bytes of the device that nobody has."""
        return shutil.disk_usage(self._directory).free

    def release(self) -> None:
        with suppress(OSError):
            self._path.unlink()

    def restore(self) -> bool:
        """Take the room again, if it is free; whether it is there now."""
        if self.held:
            return True
        if self.free() < self.size:
            return False
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
            finally:
                os.close(descriptor)
        except OSError:  # somebody was faster, or this file system cannot allocate
            self.release()
            return False
        return True
