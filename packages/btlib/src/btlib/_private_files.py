"""Small files that only their user may read, written whole: after a crash there is the old content or the new one.

Nothing is written in place. Errors of the system come out as `OSError`; whoever knows what the file is says so.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotPrivateError(OSError):
    """Others may read or write the file."""


def read_private(path: Path, limit: int) -> bytes:
    """The content, at most `limit` + 1 bytes of it. Raises NotPrivateError where others have rights to the file."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) and mode & _OTHERS:
            raise NotPrivateError(f"others may use {path}")
        return file.read(limit + 1)


def write_private(path: Path, content: bytes, *, replace: bool) -> None:
    """Durably make `path` hold `content`, with rights for its user only. Raises FileExistsError unless `replace`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _durable_copy(path.parent, content) as fresh:
        if replace:
            fresh.replace(path)
        else:
            os.link(fresh, path)
    _sync(path.parent)


@contextlib.contextmanager
def _durable_copy(directory: Path, content: bytes) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=directory)  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
