"""Files that are replaced whole: after a crash a reader finds the old content or the new one, never half of it.

Everything in a home is private to its user: directories are 0700, files 0600, whatever the umask says.
"""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600


def make_private_directory(path: Path) -> None:
    """Create a directory that only its user may enter, with the parents it lacks, durably; fine where it exists."""
    missing = [path, *path.parents]
    missing = missing[: next(i for i, candidate in enumerate(missing) if candidate.is_dir())]
    for directory in reversed(missing):
        directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        sync_directory(directory.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` as the file `path`, durably, in place of what was there."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _write_new(fresh, content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # left by a process of the same id that was killed here
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
