"""`Keeper`: where changes go that could not be committed, and the notes about them that `bt status` shows.

    <directory>/<name>.json    one note: when, why, how many files, and where they are
    <directory>/<name>/…       the files themselves, where the tree could not be written

The files are in the clear, for their owner only: who cannot reach the tree must still be able to read them. A note is
there until somebody deletes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import FileKind
from ._rescue import ReadBase, Rescued

NOTE_LIMIT = 64 * 1024  #: bytes of a note that is read: some hundred are written

BaseOf = Callable[[Rescued], ReadBase | None]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A note. `tree` is a directory in the domain, or `directory` one on this machine."""

    name: str
    time: int  #: seconds since 1970
    reason: str
    files: int
    tree: str | None = None
    directory: str | None = None


class Keeper(Protocol):
    def keep(self, name: str, objects: Iterable[Rescued], base_of: BaseOf) -> str:
        """Put them on this machine's disk, durably; the directory. Raises FsError, OSError."""
        ...

    def note(self, kept: Kept) -> None:
        """Let the user hear of it. Raises OSError."""
        ...


class NoKeeper:
    """For whoever has no place."""

    def keep(self, name: str, objects: Iterable[Rescued], base_of: BaseOf) -> str:
        raise FsError(Kind.NOT_SUPPORTED, "this file system was given no place to keep them on this machine")

    def note(self, kept: Kept) -> None:
        pass


class FileKeeper:
    """A directory of this user's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, name: str, objects: Iterable[Rescued], base_of: BaseOf) -> str:
        top = self._directory / name
        top.mkdir(mode=0o700, parents=True)
        for found in objects:
            path = top.joinpath(*found.path)
            if found.kind is FileKind.DIRECTORY:
                path.mkdir(mode=0o700)
            elif found.kind is FileKind.SYMLINK:
                path.symlink_to(found.target)
            elif found.kind is FileKind.FILE:
                _write(path, found, base_of(found))
        return str(top)

    def note(self, kept: Kept) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _create(self._directory / f"{kept.name}.json")
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(kept))


def kept_in(directory: Path) -> list[tuple[Path, Kept]]:
    """All notes, the oldest first; what is no note is passed over. Raises OSError."""
    found = []
    for path in sorted(directory.glob("*.json")):
        with path.open("rb") as file:
            text = file.read(NOTE_LIMIT)
        try:
            found.append((path, msgspec.json.decode(text, type=Kept)))
        except msgspec.DecodeError:
            continue
    return found


def _write(path: Path, found: Rescued, base: ReadBase | None) -> None:
    with os.fdopen(_create(path), "wb") as file:
        for start, content in found.pieces(base):
            file.seek(start)
            file.write(content)
        file.truncate(found.size)
        file.flush()
        os.fsync(file.fileno())


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
