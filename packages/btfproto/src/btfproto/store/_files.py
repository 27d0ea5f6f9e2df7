"""The file operations of the embedded store behind one small interface, so that tests can let each of them fail.

Every method raises OSError as the system does; nothing here retries, and nothing decides what an error means.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

Buffer = bytes | memoryview


class Files(Protocol):
    """What segments need of a file system. Thread-safe."""

    def open(self, path: Path, *, create: bool = False) -> int:
        """A descriptor to read and write; with `create` the file must not exist."""
        ...

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""
        ...

    def write(self, fd: int, parts: Sequence[Buffer], offset: int) -> int:
        """Write the parts one after another; returns how many bytes it took, perhaps not all."""
        ...

    def sync(self, fd: int) -> None:
        """Return when all that was written is durable. After an error this descriptor must not be trusted again."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Return when names made or removed in this directory are durable."""
        ...

    def truncate(self, fd: int, size: int) -> None: ...

    def remove(self, path: Path) -> None: ...


class SystemFiles:
    """The operating system's files."""

    def open(self, path: Path, *, create: bool = False) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def write(self, fd: int, parts: Sequence[Buffer], offset: int) -> int:
        return os.pwritev(fd, parts, offset)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
