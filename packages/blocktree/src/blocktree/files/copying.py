"""Copying trees between any two places. A `Source` gives items, a `Target` takes them; `copy` walks and counts.

- Names, content, permission bits and modification times are kept; owners, hard links and extended attributes are not.
- An item that fails is reported and skipped, and the rest goes on, as `cp` does it; where going on is senseless (the
  disk is full, the server is gone) the failure is raised.
- Pipes, sockets and devices are skipped and listed: their content is not theirs to copy.
- A directory's own time and mode are set after its content, which would change the one and may need the other.

Nothing is durable before `Target.sync`, which `copy` does not call: the caller may copy several trees first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from btfproto.provider import FileKind
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

Place_co = TypeVar("Place_co", covariant=True)
From = TypeVar("From")
To = TypeVar("To")

#: Failures after which every further item would fail in the same way.
HOPELESS = frozenset(
    {
        Kind.NO_SPACE,
        Kind.READ_ONLY,
        Kind.UNREACHABLE,
        Kind.UNAUTHENTICATED,
        Kind.DEADLINE,
        Kind.FENCED,
        Kind.STALE,
        Kind.IO,
    }
)


@dataclass(frozen=True, slots=True)
class Item(Generic[Place_co]):
    """One thing to copy, and where its source finds it again. `path` is for people."""

    path: str
    name: str
    kind: FileKind
    mode: int
    size: int
    modified: int  #: nanoseconds since the epoch
    place: Place_co


class Source(Protocol[From]):
    def children(self, directory: Item[From]) -> Iterator[Item[From]]:
        """What a directory holds, not sorted."""
        ...

    def pieces(self, file: Item[From]) -> Iterator[bytes]: ...
    def link_target(self, link: Item[From]) -> str: ...


class Target(Protocol[To]):
    def enter(self, parent: To, item: Item[object]) -> To:
        """The directory of the item's name in `parent`, made if need be; writable by us until `finish`."""
        ...

    def write(self, parent: To, item: Item[object], pieces: Iterator[bytes]) -> None:
        """Make or replace a file with content, mode and time."""
        ...

    def link(self, parent: To, item: Item[object], target: str) -> None:
        """Make a symbolic link; replaces another one, nothing else."""
        ...

    def finish(self, directory: To, item: Item[object]) -> None:
        """Set a directory's mode and time."""
        ...

    def sync(self) -> None: ...


class Progress(Protocol):
    """Told what happens; `copy` calls it often, so it must be cheap."""

    def item(self, path: str) -> None: ...
    def bytes(self, count: int) -> None: ...


@dataclass
class Report:
    """What was done. `failures` pairs a path with its error."""

    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    failures: list[tuple[str, BlocktreeError]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Open(Generic[From, To]):
    """A directory in the middle of being copied."""

    item: Item[From]
    place: To
    children: Iterator[Item[From]]


class Copier(Generic[From, To]):
    """Copies items of one source into one target, and adds up a report.

    It walks with a list of open directories, not by recursion, so that depth is limited by paths and not by a stack.
    """

    def __init__(self, source: Source[From], target: Target[To], report: Report, progress: Progress) -> None:
        self._source = source
        self._target = target
        self._report = report
        self._progress = progress
        self._open: list[_Open[From, To]] = []

    def copy(self, item: Item[From], parent: To) -> None:
        """Copy one item, with everything below it, into the directory `parent` under the item's name."""
        self._start(item, parent)
        while self._open:
            directory = self._open[-1]
            with self._reported(directory.item):
                child = next(directory.children, None)
                if child is not None:
                    self._start(child, directory.place)
                    continue
                self._target.finish(directory.place, directory.item)
                self._report.directories += 1
            self._open.pop()

    def _start(self, item: Item[From], parent: To) -> None:
        self._progress.item(item.path)
        with self._reported(item):
            match item.kind:
                case FileKind.DIRECTORY:
                    place = self._target.enter(parent, item)
                    self._open.append(_Open(item, place, self._source.children(item)))
                case FileKind.FILE:
                    self._target.write(parent, item, self._counted(item))
                    self._report.files += 1
                case FileKind.SYMLINK:
                    self._target.link(parent, item, self._source.link_target(item))
                    self._report.links += 1
                case _:
                    self._report.skipped.append(item.path)

    @contextmanager
    def _reported(self, item: Item[From]) -> Iterator[None]:
        try:
            yield
        except BlocktreeError as error:
            if error.kind in HOPELESS:
                raise
            self._report.failures.append((item.path, error))

    def _counted(self, item: Item[From]) -> Iterator[bytes]:
        for piece in self._source.pieces(item):
            yield piece
            self._report.bytes += len(piece)
            self._progress.bytes(len(piece))


def count(source: Source[From], top: Item[From]) -> tuple[int, int]:
    """How many items and bytes a copy will move. What cannot be listed counts as nothing; the copy will report it."""
    items, size = 0, 0
    pending = [top]
    while pending:
        item = pending.pop()
        items += 1
        if item.kind is FileKind.FILE:
            size += item.size
        elif item.kind is FileKind.DIRECTORY:
            try:
                pending += source.children(item)
            except BlocktreeError as error:
                if error.kind in HOPELESS:
                    raise
    return items, size
