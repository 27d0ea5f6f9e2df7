"""Reads a tree as programs see it, through a mount."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tests.faults.model import DIRECTORY, FILE, SYMLINK, Seen
from tests.faults.workload import XATTR


def read_tree(place: Path, top: str = "") -> dict[str, Seen]:
    """Everything below a directory of the mount, by path. Raises OSError for anything that cannot be read."""
    found = {}
    for entry in sorted(os.scandir(place / top), key=lambda entry: entry.name):
        path = f"{top}/{entry.name}" if top else entry.name
        found[path] = see(Path(entry.path))
        if found[path].kind == DIRECTORY:
            found |= read_tree(place, path)
    return found


def see(path: Path) -> Seen:
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Seen(SYMLINK, mode, status.st_nlink, os.fsencode(path.readlink()), b"")
    if stat.S_ISDIR(status.st_mode):
        return Seen(DIRECTORY, mode, status.st_nlink, b"", b"")
    data = path.read_bytes()
    if len(data) != status.st_size:
        raise OSError(errno.EIO, f"{path} has {status.st_size} bytes and gives {len(data)}")
    return Seen(FILE, mode, status.st_nlink, data, xattr(path))


def xattr(path: Path) -> bytes:
    try:
        return os.getxattr(path, XATTR)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        raise
