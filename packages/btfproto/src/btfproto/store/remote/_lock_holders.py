"""Who held file locks, remembered from one life of a server to the next: in a file, or not at all.

    <file>    the (bound) names of the holders, 16 bytes each

Only who, not what: each holder asks for its own locks again. The file is replaced when a holder takes its first lock,
and when it ends. What cannot be written is logged; the locks of such a holder may go to others after a crash.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

log = logging.getLogger("btfproto.store")

HOLDER_SIZE = 16


class LockHolders(Protocol):
    def load(self) -> frozenset[bytes]:
        """What was saved last; nothing where it cannot be read."""
        ...

    def save(self, holders: frozenset[bytes]) -> None:
        """Durable on return, where that is possible."""
        ...


class NoLockHolders:
    """Forgets."""

    def load(self) -> frozenset[bytes]:
        return frozenset()

    def save(self, holders: frozenset[bytes]) -> None:
        pass


class FileLockHolders:
    """In a file of its own, replaced atomically. One process uses it at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> frozenset[bytes]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            log.warning("who held file locks cannot be read: %s", error)
            return frozenset()
        whole = len(content) // HOLDER_SIZE * HOLDER_SIZE
        return frozenset(content[at : at + HOLDER_SIZE] for at in range(0, whole, HOLDER_SIZE))

    def save(self, holders: frozenset[bytes]) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(b"".join(sorted(holders)))
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            log.warning("who holds file locks cannot be kept in %s: %s", self._path, error)
