"""What is carried over of each file, and where it comes from and goes to.

A `Record` says all but the content: kind, mode, owner, time of change, extended attributes, and of which earlier record
it is another name. Content is given as stretches, so that holes stay holes. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from btfproto.errors import FsError
from btfproto.provider import FileKind
from btlib.errors import BlocktreeError, PathError
from btlib.kinds import Kind
from btlib.paths import check_name

Names = tuple[str, ...]  # below the top of what is carried over; () is the top itself
Stretch = tuple[int, int]  # start and end of data in a file

XATTRS = "user."  #: extended attributes that mean the same everywhere; others belong to a system
DIGEST_BLOCK = 1 << 16  #: zeros of this size, so aligned, count as a hole
ZEROS = bytes(DIGEST_BLOCK)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One name. `place` is for the end that made it."""

    names: Names
    kind: FileKind
    mode: int
    uid: int
    gid: int
    modified: int  #: nanoseconds since the epoch
    size: int = 0  #: of a file
    device: int = 0
    target: str = ""  #: of a symbolic link
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    first: Names | None = None  #: another name of the file that came under this one
    place: object = None

    @property
    def path(self) -> str:
        return "/".join(self.names) or "."

    def check(self) -> None:
        """Raises FsError for a name that could lead elsewhere, or that a tree cannot have."""
        for name in self.names:
            try:
                check_name(name)
            except PathError as error:
                raise FsError(Kind.INVALID, f"{self.path!a}: refused: {error.message}") from error


class Content(Protocol):
    """The data of a file, without its holes."""

    @property
    def stretches(self) -> list[Stretch]:
        """Where there is data, in order."""
        ...

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """All of it, in order, each piece with its offset. Raises FsError."""
        ...


class Origin(Protocol):
    """Where a tree comes from. Raises FsError."""

    failures: list[tuple[str, BlocktreeError]]  #: what `records` had to leave out, with its path

    def records(self) -> Iterator[Record]:
        """Directories before what is in them, and the first name of a file before its others."""
        ...

    def content(self, record: Record) -> Content: ...

    def find(self, names: Names) -> Record | None:
        """What has this path; `first` is not told."""
        ...

    def same(self, one: Record, other: Record) -> bool:
        """Whether two records are names of one file."""
        ...


class Goal(Protocol):
    """Where a tree goes. Raises FsError."""

    keeps_owner: bool
    mode_mask: int  #: the bits of a mode that it keeps
    leaves_out: frozenset[FileKind]  #: what it cannot hold

    def holds(self, record: Record) -> bool:
        """Whether it has the very same already, from an earlier run: kind, size, time of change."""
        ...

    def put(self, record: Record, content: Content | None) -> None:
        """Make it, in the place of what has its name there; `content` is that of a file."""
        ...

    def finish(self) -> None:
        """Times and modes of directories; then all is durable."""
        ...

    def view(self) -> Origin:
        """What it has now, for comparing."""
        ...


@dataclass(frozen=True)
class NoContent:
    """Of an empty file."""

    stretches: list[Stretch] = field(default_factory=list)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        yield from ()


def digest(pieces: Iterable[tuple[int, bytes]], size: int) -> bytes:
    """A SHA-256 of a file's content that does not depend on where it has holes and where zeros."""
    state = hashlib.sha256(size.to_bytes(8, "little"))
    for offset, block in _aligned(pieces):
        if block != ZEROS:
            state.update(offset.to_bytes(8, "little"))
            state.update(block)
    return state.digest()


def _aligned(pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The same content in whole blocks, without those of which no piece tells; zeros stand for what is missing."""
    at, block = 0, bytearray()
    for offset, piece in pieces:
        start, view = offset, memoryview(piece)
        while view:
            begin = start - start % DIGEST_BLOCK
            if block and begin != at:
                yield at, _padded(block)
                block = bytearray()
            part = view[: begin + DIGEST_BLOCK - start]
            if not block and len(part) == DIGEST_BLOCK:
                yield begin, bytes(part)
            else:
                at = begin
                block += bytes(start - begin - len(block))
                block += part
            start, view = start + len(part), view[len(part) :]
    if block:
        yield at, _padded(block)


def _padded(block: bytearray) -> bytes:
    return bytes(block) + bytes(DIGEST_BLOCK - len(block))
