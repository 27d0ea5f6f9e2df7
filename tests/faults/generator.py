"""Chooses the next operation of a worker: random, but one that has to succeed on the tree as it is."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.faults.model import DIRECTORY, FILE, SYMLINK, Tree
from tests.faults.operations import (
    LARGEST_WRITE,
    Allocate,
    Append,
    Close,
    Exchange,
    Fsync,
    Link,
    Make,
    MakeDirectory,
    Operation,
    Read,
    RemoveDirectory,
    Rename,
    SetMode,
    SetXattr,
    Symlink,
    Truncate,
    Unlink,
    Write,
    below,
)

NAMES = 12  #: in each directory: few enough that renames meet names in use
DIRECTORIES = 8
DEPTH = 4
LARGEST_FILE = 400 * 1024  #: bytes; over the size from which content leaves the small bodies, holes included
BORDERS = (1, 4096, 16384)  #: sizes at whose multiples something begins: pages and sectors


class Generator:
    """One worker's choices; the same seed makes the same ones."""

    def __init__(self, tree: Tree, random: Random, first_tag: int, fsync_share: float) -> None:
        self._tree = tree
        self._random = random
        self._tag = first_tag
        choices: list[tuple[Callable[[], Operation | None], float]] = [
            (self._make, 10),
            (self._write, 26),
            (self._append, 8),
            (self._truncate, 6),
            (self._allocate, 2),
            (self._make_directory, 4),
            (self._remove_directory, 2),
            (self._rename, 10),
            (self._exchange, 3),
            (self._unlink, 7),
            (self._link, 3),
            (self._symlink, 3),
            (self._set_mode, 2),
            (self._set_xattr, 3),
            (self._close, 3),
            (self._read, 5),
        ]
        fsyncs = sum(weight for _, weight in choices) * fsync_share
        self._choices = [*(choice for choice, _ in choices), self._fsync]
        self._weights = [*(weight for _, weight in choices), fsyncs]

    def next(self) -> Operation:
        while True:
            (choose,) = self._random.choices(self._choices, self._weights)
            if (operation := choose()) is not None:
                return operation

    def _new_tag(self) -> int:
        self._tag += 1
        return self._tag

    def _any(self, *kinds: str) -> str | None:
        paths = [path for kind in kinds for path in self._tree.paths(kind) if path != self._tree.top]
        return self._random.choice(paths) if paths else None

    def _place(self) -> str:
        """A name in some directory, in use or not."""
        directory = self._random.choice(self._tree.paths(DIRECTORY))
        return f"{directory}/n{self._random.randrange(NAMES)}"

    def _free_place(self) -> str | None:
        place = self._place()
        return None if place in self._tree.nodes else place

    def _number(self, limit: int) -> int:
        """Small ones and large ones, exact multiples of pages and sectors more often than chance."""
        border = self._random.choice(BORDERS)
        most = max(int(limit ** self._random.uniform(0.3, 1.0)), 1)
        return min(self._random.randint(0, most) // border * border, limit)

    def _make(self) -> Operation | None:
        path = self._free_place()
        return None if path is None else Make(path, self._random.choice((0o600, 0o644, 0o755)))

    def _write(self) -> Operation | None:
        if (path := self._any(FILE)) is None:
            return None
        length = max(self._number(LARGEST_WRITE), 1)
        return Write(path, self._number(LARGEST_FILE - length), length, self._new_tag())

    def _append(self) -> Operation | None:
        if (path := self._any(FILE)) is None:
            return None
        length = max(self._number(LARGEST_WRITE), 1)
        full = len(self._tree.nodes[path].data) + length > LARGEST_FILE
        return Truncate(path, 0) if full else Append(path, length, self._new_tag())

    def _truncate(self) -> Operation | None:
        path = self._any(FILE)
        return None if path is None else Truncate(path, self._number(LARGEST_FILE))

    def _allocate(self) -> Operation | None:
        path = self._any(FILE)
        return None if path is None else Allocate(path, max(self._number(LARGEST_FILE), 1))

    def _make_directory(self) -> Operation | None:
        path = self._free_place()
        if path is None or path.count("/") > DEPTH or len(self._tree.paths(DIRECTORY)) > DIRECTORIES:
            return None
        return MakeDirectory(path, self._random.choice((0o700, 0o755)))

    def _remove_directory(self) -> Operation | None:
        path = self._any(DIRECTORY)
        return None if path is None or self._tree.children(path) else RemoveDirectory(path)

    def _rename(self) -> Operation | None:
        old, new = self._any(FILE, DIRECTORY, SYMLINK), self._place()
        if old is None or below(new, old) or below(old, new):
            return None
        if (there := self._tree.nodes.get(new)) is not None:
            is_directory = self._tree.nodes[old].kind == DIRECTORY
            if is_directory != (there.kind == DIRECTORY) or self._tree.children(new):
                return None
        return Rename(old, new)

    def _exchange(self) -> Operation | None:
        old, new = self._any(FILE, DIRECTORY, SYMLINK), self._any(FILE, DIRECTORY, SYMLINK)
        if old is None or new is None or below(new, old) or below(old, new):
            return None
        return None if self._tree.nodes[old] is self._tree.nodes[new] else Exchange(old, new)

    def _unlink(self) -> Operation | None:
        path = self._any(FILE, FILE, SYMLINK)
        if path is None:
            return None
        node = self._tree.nodes[path]
        last = node.kind == FILE and len(node.names) == 1
        return Unlink(path, last and self._random.random() < 0.3)

    def _link(self) -> Operation | None:
        old, new = self._any(FILE), self._free_place()
        return None if old is None or new is None else Link(old, new)

    def _symlink(self) -> Operation | None:
        path = self._free_place()
        return None if path is None else Symlink(path, f"n{self._random.randrange(NAMES)}")

    def _set_mode(self) -> Operation | None:
        path = self._any(FILE, DIRECTORY)
        return None if path is None else SetMode(path, self._random.choice((0o700, 0o750, 0o755)))

    def _set_xattr(self) -> Operation | None:
        path = self._any(FILE)
        return None if path is None else SetXattr(path, self._random.randint(1, 300), self._new_tag())

    def _fsync(self) -> Operation | None:
        return Fsync(self._any(FILE, FILE, DIRECTORY) or self._tree.top)

    def _close(self) -> Operation | None:
        path = self._any(FILE)
        return None if path is None else Close(path)

    def _read(self) -> Operation | None:
        path = self._any(FILE)
        return None if path is None else Read(path)
