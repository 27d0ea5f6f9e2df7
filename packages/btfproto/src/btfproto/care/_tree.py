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


class _Place(msgspec.Struct, frozen=True):
    path: tuple[str, ...]
    attributes: Attributes


def scrub_tree(provider: FsProvider, meter: Meter) -> Iterator[Unreadable]:
    """Everything below the attached directory that cannot be read. Raises FsError where that is not due to damage."""
    pending = [_Place((), provider.getattr(provider.root))]
    linked: set[int] = set()
    while pending:
        place = pending.pop()
        inode = place.attributes.inode
        try:
            if place.attributes.kind is FileKind.DIRECTORY:
                yield from _list(provider, place, pending)
            elif place.attributes.kind is FileKind.FILE and inode not in linked:
                meter.item("/".join(place.path))
                read_file(provider, place.attributes, lambda _, piece: meter.bytes(len(piece)))
        except BlocktreeError as error:
            yield _unreadable(place.path, inode, error)
        if place.attributes.links > 1:
            linked.add(inode)
        if place.path and place.attributes.kind is not FileKind.DIRECTORY:
            provider.forget(inode)


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
