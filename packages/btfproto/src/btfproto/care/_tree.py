"""Scrubbing with keys: everything that a directory leads to opens, and every name is one.

It reads through an `FsProvider`, which refuses whatever does not verify or decrypt; so what is found here is exactly
what a user would run into, with its path. Holes are skipped, files with several names read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import Attributes, Entry, FileKind, FsProvider, OpenFlags, Seek
from ._scrub import Meter

LISTING = 1024  #: entries asked for at once
PIECE = 1 << 20  #: bytes read at once
DAMAGE = {Kind.INTEGRITY, Kind.ROLLBACK, Kind.IO}


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A path below the attached directory at which something does not open. `what` is a sentence without the path."""

    path: tuple[str, ...]
    inode: int
    what: str
    kind: Kind = Kind.INTEGRITY


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a walk came. Cookies stay valid while names change.

    `inside`: the directories it is in, from the top down, each with its cookie in the one above; `after`: the cookie of
    the last entry of the innermost that is done with.
    """

    inside: tuple[tuple[str, int], ...] = ()
    after: int = 0


class _Place(msgspec.Struct, frozen=True):
    path: tuple[str, ...]
    attributes: Attributes


class _Level:
    """A directory in the middle of being walked: what of its listing is at hand, and how far it came."""

    __slots__ = ("batch", "cookie", "done", "name", "place")

    def __init__(self, place: _Place, name: str, cookie: int, done: int) -> None:
        self.place, self.name, self.cookie, self.done = place, name, cookie, done
        self.batch: list[Entry] = []

    def next(self, provider: FsProvider) -> Entry | None:
        """The next entry; None at the end. Raises FsError."""
        if not self.batch:
            self.batch = provider.readdir(self.place.attributes.inode, self.done, LISTING, plus=True)[::-1]
        return self.batch.pop() if self.batch else None


def scrub_tree(
    provider: FsProvider,
    meter: Meter,
    start: Position | None = None,
    reached: Callable[[Position], object] = lambda position: None,
) -> Iterator[Unreadable]:
    """Everything below the attached directory that cannot be read. Raises FsError where that is not due to damage.

    It begins behind `start`; `reached` is told of each entry that is done with, after its damage.
    """
    levels = _enter(provider, start or Position())
    linked: set[int] = set()
    while levels:
        level = levels[-1]
        place = level.place
        try:
            entry = level.next(provider)
        except BlocktreeError as error:
            yield _unreadable(place.path, place.attributes.inode, error)
            entry = None
        if entry is None:
            levels.pop()
            if levels:
                levels[-1].done = level.cookie
                reached(_position(levels))
            continue
        path = (*place.path, entry.name)
        try:
            found = _Place(path, _attributes(provider, place, entry))
            if found.attributes.kind is FileKind.DIRECTORY:
                levels.append(_Level(found, entry.name, entry.cookie, 0))
                continue
            _read(provider, found, linked, meter)
        except BlocktreeError as error:
            yield _unreadable(path, entry.inode, error)
        level.done = entry.cookie
        reached(_position(levels))


def _enter(provider: FsProvider, start: Position) -> list[_Level]:
    """The directories of a position, as far as they are still there. Raises FsError for the top alone."""
    levels = [_Level(_Place((), provider.getattr(provider.root)), "", 0, 0)]
    for name, cookie in start.inside:
        above = levels[-1]
        above.done = cookie - 1  # where it is gone, or not to be read, what follows it in the one above
        try:
            found = provider.lookup(above.place.attributes.inode, name)
        except BlocktreeError:
            return levels
        if found.kind is not FileKind.DIRECTORY:
            return levels
        levels.append(_Level(_Place((*above.place.path, name), found), name, cookie, 0))
    levels[-1].done = start.after
    return levels


def _position(levels: list[_Level]) -> Position:
    return Position(inside=tuple((level.name, level.cookie) for level in levels[1:]), after=levels[-1].done)


def _read(provider: FsProvider, place: _Place, linked: set[int], meter: Meter) -> None:
    """Read a file that was not read under another name. Raises FsError."""
    attributes = place.attributes
    if attributes.kind is FileKind.FILE and attributes.inode not in linked:
        if attributes.links > 1:
            linked.add(attributes.inode)
        meter.item("/".join(place.path))
        read_file(provider, attributes, lambda _, piece: meter.bytes(len(piece)))
    provider.forget(attributes.inode)


def walk_tree(provider: FsProvider) -> Iterator[tuple[tuple[str, ...], Attributes]]:
    """Everything below the attached directory, with its path; what is damaged is left out. Raises FsError else."""
    pending = [_Place((), provider.getattr(provider.root))]
    while pending:
        place = pending.pop()
        found: list[_Place] = []
        try:
            for _ in _list(provider, place, found):
                pass  # somebody who wants to hear of damage scrubs
        except BlocktreeError as error:
            _unreadable(place.path, place.attributes.inode, error)
        for child in found:
            yield child.path, child.attributes
        pending += [child for child in found if child.attributes.kind is FileKind.DIRECTORY]


def read_file(provider: FsProvider, found: Attributes, take: Callable[[int, bytes], object]) -> None:
    """Give all data of a file, without its holes, to `take` as offset and bytes. Raises FsError."""
    handle = provider.open(found.inode, OpenFlags.READ)
    try:
        for start, end in stretches(provider, handle, found.size):
            for offset in range(start, end, PIECE):
                take(offset, provider.read(handle, offset, min(PIECE, end - offset)))
    finally:
        provider.close(handle)


def stretches(provider: FsProvider, handle: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data: pairs of start and end. Raises FsError."""
    end = 0
    while end < size:
        try:
            start = provider.seek(handle, end, Seek.DATA)
        except FsError as error:
            if error.kind is Kind.RANGE:
                return
            raise
        end = provider.seek(handle, start, Seek.HOLE)
        yield start, end


def _list(provider: FsProvider, place: _Place, pending: list[_Place]) -> Iterator[Unreadable]:
    cookie = 0
    while batch := provider.readdir(place.attributes.inode, cookie, LISTING, plus=True):
        for entry in batch:
            path = (*place.path, entry.name)
            try:
                pending.append(_Place(path, _attributes(provider, place, entry)))
            except BlocktreeError as error:
                yield _unreadable(path, entry.inode, error)
        cookie = batch[-1].cookie


def _attributes(provider: FsProvider, place: _Place, entry: Entry) -> Attributes:
    return entry.attributes or provider.lookup(place.attributes.inode, entry.name)


def _unreadable(path: tuple[str, ...], inode: int, error: BlocktreeError) -> Unreadable:
    if error.kind not in DAMAGE:
        raise error
    what = error.message.removeprefix(f"/{'/'.join(path)}: ")
    return Unreadable(path=path, inode=inode, what=what, kind=error.kind)
