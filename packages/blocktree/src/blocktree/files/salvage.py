"""A damaged tree as a source of copies: gives whatever can be read, and remembers what cannot.

A file keeps its size: what is lost of it is zeros, sector by sector, and listed. An entry that does not open costs its
neighbours nothing; of a directory whose own node is damaged, the names before the damage are given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from btfproto.errors import FsError
from btfproto.provider import Attributes, FileKind, OpenFlags
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from .copying import Item
from .local import PERMISSIONS, WRITE_FLAGS, LocalTarget, inside, local_errors, write_all
from .tree import LISTING, PIECE, Tree

SECTOR = 1 << 12  #: the least that is lost at once
DAMAGE = {Kind.INTEGRITY, Kind.ROLLBACK, Kind.IO}


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that is not in the copy: a whole item, or bytes `start` to `end` of a file."""

    path: str
    why: str
    start: int | None = None
    end: int | None = None


class SalvageSource:
    """A `Source` over a tree. Damage does not raise; it is added to `lost`."""

    def __init__(self, tree: Tree) -> None:
        self.lost: list[Lost] = []
        self._tree = tree
        self._provider = tree.provider

    def children(self, directory: Item[int]) -> Iterator[Item[int]]:
        cookie = 0
        while True:
            try:
                batch = self._provider.readdir(directory.place, cookie, LISTING, plus=True)
            except BlocktreeError as error:
                self._note(directory.path, error, "its list of names ends early: ")
                return
            if not batch:
                return
            cookie = batch[-1].cookie
            for entry in batch:
                path = f"{directory.path.rstrip('/')}/{entry.name}"
                try:
                    found = entry.attributes or self._provider.lookup(directory.place, entry.name)
                except BlocktreeError as error:
                    self._note(path, error)
                else:
                    yield salvage_item(path, entry.name, found)

    def pieces(self, file: Item[int]) -> Iterator[bytes]:
        handle = self._provider.open(file.place, OpenFlags.READ)
        try:
            for offset in range(0, file.size, PIECE):
                yield self._read(handle, file, offset, min(PIECE, file.size - offset))
        finally:
            self._provider.close(handle)

    def link_target(self, link: Item[int]) -> str:
        return self._provider.readlink(link.place)

    def _read(self, handle: int, file: Item[int], offset: int, size: int) -> bytes:
        """A piece; where it cannot be read, smaller ones, and zeros for those that cannot."""
        try:
            return self._provider.read(handle, offset, size)
        except BlocktreeError as error:
            if size <= SECTOR:
                self._lose(file, offset, size, error)
                return bytes(size)
        end = offset + size
        return b"".join(self._read(handle, file, at, min(SECTOR, end - at)) for at in range(offset, end, SECTOR))

    def _lose(self, file: Item[int], offset: int, size: int, error: BlocktreeError) -> None:
        _require_damage(error)
        last = self.lost[-1] if self.lost else None
        if last is not None and (last.path, last.end) == (file.path, offset):
            self.lost[-1] = Lost(file.path, last.why, last.start, offset + size)
        else:
            self.lost.append(Lost(file.path, _why(file.path, error), offset, offset + size))

    def _note(self, path: str, error: BlocktreeError, before: str = "") -> None:
        _require_damage(error)
        self.lost.append(Lost(path, before + _why(path, error)))


class SparseTarget(LocalTarget):
    """As `LocalTarget`, but zeros become holes: a sparse file of a tebibyte has to fit."""

    def write(self, parent: Path, item: Item[object], pieces: Iterator[bytes]) -> None:
        path = inside(parent, item)
        with local_errors(path):
            descriptor = os.open(path, WRITE_FLAGS, 0o600)
        try:
            size = 0
            for piece in pieces:
                with local_errors(path):
                    os.lseek(descriptor, size, os.SEEK_SET)
                    if piece.count(0) != len(piece):
                        write_all(descriptor, piece)
                size += len(piece)
            with local_errors(path):
                os.ftruncate(descriptor, size)
                os.fchmod(descriptor, item.mode & PERMISSIONS)
                os.utime(descriptor, ns=(item.modified, item.modified))
        finally:
            os.close(descriptor)


def salvage_item(path: str, name: str, found: Attributes) -> Item[int]:
    """Something of the tree, as a thing to copy."""
    size = found.size if found.kind is FileKind.FILE else 0
    return Item(path, name, found.kind, found.mode, size, found.modified, found.inode)


def _why(path: str, error: BlocktreeError) -> str:
    """The error's sentence, without the path that it begins with."""
    return error.message.removeprefix(f"{path.partition(':')[2]}: ")


def _require_damage(error: BlocktreeError) -> None:
    """Only damage is skipped: that a server is gone says nothing about the bytes."""
    if error.kind not in DAMAGE:
        raise FsError(error.kind, error.message, error.hint) from error
