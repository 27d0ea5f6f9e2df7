"""Directories that only their user may enter, whatever the umask says."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o700


def make_private_directory(path: Path) -> None:
    """Create a directory that only its user may enter, with the parents it lacks, durably; fine where it exists."""
    missing = [path, *path.parents]
    missing = missing[: next(place for place, candidate in enumerate(missing) if candidate.is_dir())]
    for directory in reversed(missing):
        directory.mkdir(mode=PRIVATE, exist_ok=True)
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
