"""The lock file: one process at a time opens an embedded store, and who comes second learns who has it.

`<store>/lock` is held with `flock` for as long as the store is open, and contains JSON: pid, program, endpoint. The
lock counts, not the content: after a crash the file lies there unlocked and means nothing.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import msgspec
from btlib.kinds import Kind

from ..errors import StoreError

LOCK_NAME = "lock"
_CONTENT_LIMIT = 65_536  # a lock file is one line; anything longer is not ours


class LockHolder(msgspec.Struct, frozen=True):
    """Who holds a store, and where it serves it (`unix:/path`; None: it does not)."""

    pid: int
    program: str
    endpoint: str | None = None


class StoreLock:
    """A held lock. `release` it; a dead process releases it too."""

    def __init__(self, directory: Path, holder: LockHolder) -> None:
        """Raises StoreError: BUSY, naming the holder and what to do; IO where the directory cannot be written."""
        try:
            self._fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(Kind.IO, f"cannot open {directory / LOCK_NAME}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise _busy(directory) from error
        with suppress(OSError):  # on a full disk nobody is told who it is: the lock counts, not the content
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, msgspec.json.encode(holder) + b"\n", 0)

    def release(self) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def lock_holder(directory: Path) -> LockHolder | None:
    """Who holds the store in `directory` now; None if nobody does."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        return _read_holder(fd)
    finally:
        os.close(fd)


def _read_holder(fd: int) -> LockHolder:
    try:
        return msgspec.json.decode(os.pread(fd, _CONTENT_LIMIT, 0), type=LockHolder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return LockHolder(0, "a process that is just starting or stopping")


def _busy(directory: Path) -> StoreError:
    holder = lock_holder(directory)
    if holder is None:
        return StoreError(Kind.BUSY, f"the store {directory} was in use", "try again")
    who = f"{holder.program} (process {holder.pid})"
    if holder.endpoint is None:
        return StoreError(Kind.BUSY, f"the store {directory} is in use by {who}", "stop it first")
    return StoreError(
        Kind.BUSY, f"the store {directory} is in use by {who}", f"stop it first, or use it through {holder.endpoint}"
    )
