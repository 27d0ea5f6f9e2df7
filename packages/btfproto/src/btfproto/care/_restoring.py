"""Restoring from a snapshot: making files what they were, by writing what differs.

    the same object, changed at the same moment    is what it was; nothing is read
    the same name and kind, otherwise changed      gets the old content where it differs, and the old attributes
    another kind, or gone                          is made anew
    not in the snapshot                            is removed, unless that is to be left alone

It works through `FsProvider` alone, so it writes as anybody writes: with new versions, under today's keys and rights, a
group at a time. Interrupted, it has restored a part, and goes on when it is run again. What must be written takes room
a second time, until the snapshot is deleted.

A file is looked up just before it is worked on: a provider bounds its memory, and only of directories it keeps all.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import AttributeChanges, Attributes, FileKind, FsProvider, OpenFlags, Owner
from ._scrub import Meter

LISTING = 1024  #: entries asked for at once
PIECE = 1 << 20  #: bytes compared at once


class Restored(msgspec.Struct):
    """What was done, in objects."""

    unchanged: int = 0
    written: int = 0
    removed: int = 0


class Restoring:
    """From `past` to `present`, both file systems of one domain."""

    def __init__(self, past: FsProvider, present: FsProvider, meter: Meter, *, keep_new: bool) -> None:
        self._past = past
        self._present = present
        self._meter = meter
        self._keep_new = keep_new
        self._linked: dict[int, tuple[int, str]] = {}  # files with several names: past inode → a place where it is
        self.done = Restored()

    def directory(self, old: Attributes, new: Attributes, path: str) -> None:
        """Make the directory `new` what `old` was. Raises FsError."""
        there = set(_names(self._present, new.inode))
        wanted = list(_names(self._past, old.inode))
        if not self._keep_new:
            for name in there.difference(wanted):
                self._remove(new.inode, name)
        for name in wanted:
            found = self._present.lookup(new.inode, name) if name in there else None
            self.entry(self._past.lookup(old.inode, name), new.inode, name, found, f"{path.rstrip('/')}/{name}")
        self._set_attributes(old, new.inode)

    def entry(self, old: Attributes, parent: int, name: str, new: Attributes | None, path: str) -> None:
        """Make what is called `name` in the directory `parent` what `old` was. Raises FsError."""
        self._meter.item(path)
        if new is not None and new.kind is FileKind.DIRECTORY and old.kind is FileKind.DIRECTORY:
            self.directory(old, new, path)
        elif new is not None and _is_unchanged(old, new):
            self.done.unchanged += 1
            self._note_link(old, parent, name)
        else:
            self._make(old, parent, name, new, path)

    def _make(self, old: Attributes, parent: int, name: str, new: Attributes | None, path: str) -> None:
        place = self._linked.get(old.inode)
        linked = None if place is None else self._present.lookup(*place).inode
        fitting = new is not None and new.kind is old.kind is FileKind.FILE and linked in (None, new.inode)
        if new is not None and not fitting:
            self._remove(parent, name)
            new = None
        self.done.written += 1
        if linked is not None:
            if new is None:
                self._present.link(linked, parent, name)
            return
        owner = Owner(old.uid, old.gid)
        match old.kind:
            case FileKind.DIRECTORY:
                self.directory(old, self._present.mkdir(parent, name, old.mode, owner), path)
                return
            case FileKind.SYMLINK:
                new = self._present.symlink(parent, name, self._past.readlink(old.inode), owner)
            case FileKind.FILE:
                new = self._content(old, parent, name, new)
            case _:
                new = self._present.mknod(parent, name, old.kind, old.mode, owner, old.device)
        self._note_link(old, parent, name)
        self._set_attributes(old, new.inode)

    def _note_link(self, old: Attributes, parent: int, name: str) -> None:
        if old.links > 1 and old.kind is FileKind.FILE:
            self._linked.setdefault(old.inode, (parent, name))

    def _content(self, old: Attributes, parent: int, name: str, new: Attributes | None) -> Attributes:
        flags = OpenFlags.READ | OpenFlags.WRITE
        if new is None:
            new, target = self._present.create(parent, name, old.mode, Owner(old.uid, old.gid), flags)
        else:
            target = self._present.open(new.inode, flags)
        try:
            source = self._past.open(old.inode, OpenFlags.READ)
            try:
                self._present.setattr(new.inode, AttributeChanges(size=old.size))
                for offset in range(0, old.size, PIECE):
                    wanted = self._past.read(source, offset, PIECE)
                    self._meter.bytes(len(wanted))
                    if self._present.read(target, offset, PIECE) != wanted:
                        self._present.write(target, offset, wanted)
            finally:
                self._past.close(source)
        finally:
            self._present.close(target)
        return new

    def _set_attributes(self, old: Attributes, inode: int) -> None:
        wanted = {name: self._past.getxattr(old.inode, name) for name in self._past.listxattr(old.inode)}
        for name in self._present.listxattr(inode):
            if name not in wanted:
                self._present.removexattr(inode, name)
        for name, value in wanted.items():
            self._present.setxattr(inode, name, value)
        mode = None if old.kind is FileKind.SYMLINK else old.mode
        times = {"accessed": old.accessed, "modified": old.modified}
        self._present.setattr(inode, AttributeChanges(mode=mode, uid=old.uid, gid=old.gid, **times))

    def _remove(self, parent: int, name: str) -> None:
        found = self._present.lookup(parent, name)
        if found.kind is FileKind.DIRECTORY:
            for inner in list(_names(self._present, found.inode)):
                self._remove(found.inode, inner)
            self._present.rmdir(parent, name)
        else:
            self._present.unlink(parent, name)
        self.done.removed += 1


def _names(provider: FsProvider, directory: int) -> Iterator[str]:
    cookie = 0
    while batch := provider.readdir(directory, cookie, LISTING):
        yield from (entry.name for entry in batch)
        cookie = batch[-1].cookie


def _is_unchanged(old: Attributes, new: Attributes) -> bool:
    """Every change of an object sets its time of change, in nanoseconds, and nobody can set that."""
    return (old.inode, old.changed, old.size, old.kind) == (new.inode, new.changed, new.size, new.kind)


def restore_path(
    past: FsProvider, present: FsProvider, names: tuple[str, ...], shown: str, meter: Meter, *, keep_new: bool = False
) -> Restored:
    """Make what these names lead to, below the roots of both, what it was; all of it where there are none.

    Raises FsError: NOT_FOUND where the snapshot has no such thing, or now has not the directory that it was in.
    """
    old, parent, new = past.getattr(past.root), present.root, present.getattr(present.root)
    for number, name in enumerate(names):
        old = past.lookup(old.inode, name)
        parent = new.inode
        try:
            new = present.lookup(parent, name)
        except FsError as error:
            if error.kind is not Kind.NOT_FOUND or number + 1 < len(names):
                raise
            restoring = Restoring(past, present, meter, keep_new=keep_new)
            restoring.entry(old, parent, name, None, shown)
            present.sync()
            return restoring.done
    restoring = Restoring(past, present, meter, keep_new=keep_new)
    if names:
        restoring.entry(old, parent, names[-1], new, shown)
    else:
        restoring.directory(old, new, shown)
    present.sync()
    return restoring.done
