"""A file system in dictionaries: the plainest `FsProvider`, to test everything of btfuse that is not a store."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from btfproto.errors import FsError
from btfproto.provider import (
    AllocateMode,
    AttributeChanges,
    Attributes,
    Entry,
    FileKind,
    FileSystemStatus,
    Lock,
    LockKind,
    OpenFlags,
    Owner,
    RenameFlags,
    Seek,
)
from btlib.kinds import Kind

_CAPACITY = 1 << 40


@dataclass
class _Object:
    inode: int
    kind: FileKind
    mode: int
    owner: Owner
    links: int = 1
    device: int = 0
    data: bytearray = field(default_factory=bytearray)
    target: str = ""
    names: dict[str, tuple[int, int]] = field(default_factory=dict)  # name → (inode, cookie)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    accessed: int = 0
    modified: int = 0
    changed: int = 0
    handles: int = 0
    locks: list[Lock] = field(default_factory=list)


@dataclass
class _Handle:
    of: _Object
    flags: OpenFlags


class MemoryProvider:
    """Thread-safe by one lock. `tampered` inodes answer INTEGRITY; `unknown` ones STALE until they are looked up."""

    def __init__(self) -> None:
        self._numbers = itertools.count(2)
        self._cookies = itertools.count(1)
        self._handle_numbers = itertools.count(1)
        self._guard = threading.RLock()
        self._objects: dict[int, _Object] = {}
        self._handles: dict[int, _Handle] = {}
        self._root = self._make(FileKind.DIRECTORY, 0o755, Owner(0, 0), links=2)
        self.forgotten: list[int] = []
        self.synced = 0
        self.tampered: set[int] = set()
        self.unknown: set[int] = set()
        self.closed = False

    @property
    def root(self) -> int:
        return self._root.inode

    def _make(self, kind: FileKind, mode: int, owner: Owner, links: int = 1, device: int = 0) -> _Object:
        now = time.time_ns()
        made = _Object(
            inode=next(self._numbers) << 8,
            kind=kind,
            mode=mode,
            owner=owner,
            links=links,
            device=device,
            accessed=now,
            modified=now,
            changed=now,
        )
        self._objects[made.inode] = made
        return made

    def _object(self, inode: int) -> _Object:
        if inode in self.tampered:
            raise FsError(Kind.INTEGRITY, f"inode {inode} was tampered with")
        try:
            if inode in self.unknown:
                raise KeyError(inode)
            return self._objects[inode]
        except KeyError:
            raise FsError(Kind.STALE, f"there is no inode {inode}") from None

    def _directory(self, inode: int) -> _Object:
        found = self._object(inode)
        if found.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, "not a directory")
        return found

    def _child(self, parent: int, name: str) -> _Object:
        try:
            return self._objects[self._directory(parent).names[name][0]]
        except KeyError:
            raise FsError(Kind.NOT_FOUND, f"there is no {name!r}") from None

    def _attributes(self, of: _Object) -> Attributes:
        size = len(of.target.encode()) if of.kind is FileKind.SYMLINK else len(of.data)
        return Attributes(
            inode=of.inode,
            kind=of.kind,
            mode=of.mode,
            links=of.links,
            uid=of.owner.uid,
            gid=of.owner.gid,
            device=of.device,
            size=size,
            blocks=-(-size // 512),
            accessed=of.accessed,
            modified=of.modified,
            changed=of.changed,
        )

    def _enter(self, parent: _Object, name: str, child: _Object) -> None:
        if name in parent.names:
            raise FsError(Kind.EXISTS, f"{name!r} exists")
        if len(name.encode()) > 255:
            raise FsError(Kind.NAME_TOO_LONG, "a name has at most 255 bytes")
        parent.names[name] = (child.inode, next(self._cookies))
        if child.kind is FileKind.DIRECTORY:
            parent.links += 1
        self._touch(parent)

    def _touch(self, of: _Object, *, content: bool = True) -> None:
        of.changed = time.time_ns()
        if content:
            of.modified = of.changed

    def _release(self, of: _Object) -> None:
        if of.links == 0 and of.handles == 0:
            self._objects.pop(of.inode, None)

    def lookup(self, parent: int, name: str) -> Attributes:
        with self._guard:
            found = self._child(parent, name)
            self.unknown.discard(found.inode)
            return self._attributes(found)

    def getattr(self, inode: int) -> Attributes:
        with self._guard:
            return self._attributes(self._object(inode))

    def setattr(self, inode: int, changes: AttributeChanges) -> Attributes:
        with self._guard:
            of = self._object(inode)
            if changes.size is not None:
                _resize(of.data, changes.size)
                of.modified = time.time_ns()
            of.mode = of.mode if changes.mode is None else changes.mode
            of.owner = Owner(
                of.owner.uid if changes.uid is None else changes.uid,
                of.owner.gid if changes.gid is None else changes.gid,
            )
            of.accessed = of.accessed if changes.accessed is None else changes.accessed
            of.modified = of.modified if changes.modified is None else changes.modified
            self._touch(of, content=False)
            return self._attributes(of)

    def readlink(self, inode: int) -> str:
        return self._object(inode).target

    def retarget(self, inode: int, target: str) -> None:
        """Change a symlink as only a rogue server would."""
        self._object(inode).target = target

    def readdir(self, inode: int, cookie: int, limit: int, plus: bool = False) -> list[Entry]:
        with self._guard:
            entries = []
            for name, (child, position) in self._directory(inode).names.items():
                if position > cookie:
                    of = self._objects[child]
                    attributes = self._attributes(of) if plus else None
                    entries.append(Entry(name=name, inode=child, kind=of.kind, cookie=position, attributes=attributes))
                    if len(entries) == limit:
                        break
            return entries

    def create(self, parent: int, name: str, mode: int, owner: Owner, flags: OpenFlags) -> tuple[Attributes, int]:
        with self._guard:
            directory = self._directory(parent)
            if name in directory.names:
                if flags & OpenFlags.EXCLUSIVE:
                    raise FsError(Kind.EXISTS, f"{name!r} exists")
                of = self._child(parent, name)
            else:
                of = self._make(FileKind.FILE, mode, owner)
                self._enter(directory, name, of)
            handle = self.open(of.inode, flags)
            return self._attributes(of), handle

    def _made(self, parent: int, name: str, of: _Object) -> Attributes:
        try:
            self._enter(self._directory(parent), name, of)
        except FsError:
            del self._objects[of.inode]
            raise
        return self._attributes(of)

    def mkdir(self, parent: int, name: str, mode: int, owner: Owner) -> Attributes:
        with self._guard:
            return self._made(parent, name, self._make(FileKind.DIRECTORY, mode, owner, links=2))

    def symlink(self, parent: int, name: str, target: str, owner: Owner) -> Attributes:
        with self._guard:
            of = self._make(FileKind.SYMLINK, 0o777, owner)
            of.target = target
            return self._made(parent, name, of)

    def mknod(self, parent: int, name: str, kind: FileKind, mode: int, owner: Owner, device: int = 0) -> Attributes:
        with self._guard:
            return self._made(parent, name, self._make(kind, mode, owner, device=device))

    def link(self, inode: int, parent: int, name: str) -> Attributes:
        with self._guard:
            of = self._object(inode)
            self._enter(self._directory(parent), name, of)
            of.links += 1
            self._touch(of, content=False)
            return self._attributes(of)

    def unlink(self, parent: int, name: str) -> None:
        with self._guard:
            of = self._child(parent, name)
            if of.kind is FileKind.DIRECTORY:
                raise FsError(Kind.IS_DIRECTORY, "a directory")
            self._remove(self._directory(parent), name, of)

    def _remove(self, directory: _Object, name: str, of: _Object) -> None:
        del directory.names[name]
        self._touch(directory)
        self._touch(of, content=False)
        if of.kind is FileKind.DIRECTORY:
            directory.links -= 1
            of.links = 0
        else:
            of.links -= 1
        self._release(of)

    def rmdir(self, parent: int, name: str) -> None:
        with self._guard:
            of = self._child(parent, name)
            if of.kind is not FileKind.DIRECTORY:
                raise FsError(Kind.NOT_DIRECTORY, "not a directory")
            if of.names:
                raise FsError(Kind.NOT_EMPTY, "not empty")
            self._remove(self._directory(parent), name, of)

    def rename(
        self, parent: int, name: str, new_parent: int, new_name: str, flags: RenameFlags = RenameFlags.NONE
    ) -> None:
        with self._guard:
            source, target = self._directory(parent), self._directory(new_parent)
            of = self._child(parent, name)
            there = target.names.get(new_name)
            if flags is RenameFlags.EXCHANGE:
                other = self._child(new_parent, new_name)
                source.names[name], target.names[new_name] = (
                    (other.inode, source.names[name][1]),
                    (of.inode, target.names[new_name][1]),
                )
                return
            if there is not None:
                if flags is RenameFlags.NO_REPLACE:
                    raise FsError(Kind.EXISTS, f"{new_name!r} exists")
                if there[0] == of.inode:
                    return
                self._replace(target, new_name, self._objects[there[0]], of)
            del source.names[name]
            if of.kind is FileKind.DIRECTORY:
                source.links -= 1
            self._touch(source)
            self._enter(target, new_name, of)
            self._touch(of, content=False)

    def _replace(self, target: _Object, name: str, there: _Object, of: _Object) -> None:
        if there.names:
            raise FsError(Kind.NOT_EMPTY, "not empty")
        if of.kind is FileKind.DIRECTORY and there.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, "not a directory")
        if of.kind is not FileKind.DIRECTORY and there.kind is FileKind.DIRECTORY:
            raise FsError(Kind.IS_DIRECTORY, "a directory")
        self._remove(target, name, there)

    def open(self, inode: int, flags: OpenFlags) -> int:
        with self._guard:
            of = self._object(inode)
            of.handles += 1
            if flags & OpenFlags.TRUNCATE:
                of.data.clear()
                self._touch(of)
            handle = next(self._handle_numbers)
            self._handles[handle] = _Handle(of, flags)
            return handle

    def _opened(self, handle: int) -> _Handle:
        try:
            return self._handles[handle]
        except KeyError:
            raise FsError(Kind.BAD_HANDLE, f"there is no handle {handle}") from None

    def read(self, handle: int, offset: int, size: int) -> bytes:
        of = self._opened(handle).of
        if of.inode in self.tampered:
            raise FsError(Kind.INTEGRITY, f"inode {of.inode} was tampered with")
        return bytes(memoryview(of.data)[offset : offset + size])

    def write(self, handle: int, offset: int, data: bytes | memoryview) -> int:
        with self._guard:
            opened = self._opened(handle)
            of = opened.of
            if opened.flags & OpenFlags.APPEND:
                offset = len(of.data)
            if offset > len(of.data):
                _resize(of.data, offset)
            of.data[offset : offset + len(data)] = data
            self._touch(of)
            return len(data)

    def flush(self, handle: int) -> None:
        self._opened(handle)

    def fsync(self, handle: int, data_only: bool = False) -> None:
        self._opened(handle)
        self.synced += 1

    def sync(self) -> None:
        self.synced += 1

    def close(self, handle: int) -> None:
        with self._guard:
            of = self._opened(handle).of
            del self._handles[handle]
            of.handles -= 1
            self._release(of)

    def forget(self, inode: int) -> None:
        self.forgotten.append(inode)

    def fallocate(self, handle: int, mode: AllocateMode, offset: int, length: int) -> None:
        with self._guard:
            of = self._opened(handle).of
            if mode in (AllocateMode.ALLOCATE, AllocateMode.ZERO_RANGE) and offset + length > len(of.data):
                _resize(of.data, offset + length)
            if mode in (AllocateMode.PUNCH_HOLE, AllocateMode.ZERO_RANGE):
                end = min(offset + length, len(of.data))
                of.data[offset:end] = bytes(max(end - offset, 0))

    def seek(self, handle: int, offset: int, whence: Seek) -> int:
        size = len(self._opened(handle).of.data)
        if offset >= size:
            raise FsError(Kind.INVALID, "beyond the end")
        return offset if whence is Seek.DATA else size

    def getxattr(self, inode: int, name: str) -> bytes:
        try:
            return self._object(inode).xattrs[name]
        except KeyError:
            raise FsError(Kind.NO_ATTRIBUTE, f"no attribute {name}") from None

    def setxattr(self, inode: int, name: str, value: bytes, create: bool = False, replace: bool = False) -> None:
        xattrs = self._object(inode).xattrs
        if create and name in xattrs:
            raise FsError(Kind.EXISTS, f"{name} exists")
        if replace and name not in xattrs:
            raise FsError(Kind.NO_ATTRIBUTE, f"no attribute {name}")
        xattrs[name] = value

    def listxattr(self, inode: int) -> list[str]:
        return list(self._object(inode).xattrs)

    def removexattr(self, inode: int, name: str) -> None:
        if self._object(inode).xattrs.pop(name, None) is None:
            raise FsError(Kind.NO_ATTRIBUTE, f"no attribute {name}")

    def lock(self, handle: int, lock: Lock) -> None:
        with self._guard:
            of = self._opened(handle).of
            if lock.kind is not LockKind.UNLOCK and _conflict(of.locks, lock) is not None:
                raise FsError(Kind.WOULD_BLOCK, "another owner holds a lock")
            of.locks = [held for held in of.locks if held.owner != lock.owner or not _overlap(held, lock)]
            if lock.kind is not LockKind.UNLOCK:
                of.locks.append(lock)

    def test_lock(self, handle: int, lock: Lock) -> Lock | None:
        return _conflict(self._opened(handle).of.locks, lock)

    def statfs(self) -> FileSystemStatus:
        used = sum(len(of.data) for of in self._objects.values())
        return FileSystemStatus(capacity=_CAPACITY, available=_CAPACITY - used, files=len(self._objects))

    def changes(self) -> Sequence[int]:
        return []

    def shutdown(self) -> None:
        self.closed = True


def _resize(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


def _overlap(one: Lock, other: Lock) -> bool:
    return one.start < other.end and other.start < one.end


def _conflict(held: list[Lock], asked: Lock) -> Lock | None:
    for lock in held:
        exclusive = LockKind.WRITE in (lock.kind, asked.kind)
        if lock.owner != asked.owner and exclusive and _overlap(lock, asked):
            return lock
    return None
