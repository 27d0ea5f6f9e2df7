"""Calls on attributes, extended attributes, and the file system as a whole."""

from __future__ import annotations

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import AttributeChanges, Attributes, FileKind, FileSystemStatus
from ._attributes import MAX_XATTR_BYTES, MAX_XATTR_NAME
from ._changing import changing
from ._files import Files
from ._inode import Inode

XATTR_PREFIXES = ("user.", "trusted.", "security.")
SET_IDS = 0o6000
GROUP_EXECUTE = 0o010
MAX_TIME = 1 << 63


class Metadata(Files):
    """See `FsProvider` for what each call promises."""

    def getattr(self, inode: int) -> Attributes:
        with self.mutex:
            return self.inode_of(inode).attributes()

    @changing
    def setattr(self, inode: int, changes: AttributeChanges) -> Attributes:
        with self.mutex:
            found = self.inode_of(inode)
            self.check_writable(found)
            _check_times(changes)
            if changes.size is not None:
                self._set_size(found, changes.size)
            if changes.uid is not None or changes.gid is not None:
                self._set_owner(found, changes)
            if changes.mode is not None:
                found.mode = changes.mode & 0o7777
            if changes.accessed is not None:
                found.accessed = changes.accessed
            if changes.modified is not None:
                found.modified = changes.modified
            found.changed = self.clock()
            self.mark(found)
            return found.attributes()

    def _set_size(self, inode: Inode, size: int) -> None:
        if inode.kind is FileKind.DIRECTORY:
            raise FsError(Kind.IS_DIRECTORY, f"{inode.path} is a directory")
        if inode.kind is not FileKind.FILE:
            raise FsError(Kind.INVALID, f"{inode.path} is no regular file")
        self.resize(inode, size)

    def _set_owner(self, inode: Inode, changes: AttributeChanges) -> None:
        """A new owner does not inherit the power of set-id bits that the old one gave the file."""
        inode.uid = inode.uid if changes.uid is None else changes.uid
        inode.gid = inode.gid if changes.gid is None else changes.gid
        if inode.kind is FileKind.FILE and changes.mode is None:
            inode.mode &= ~SET_IDS if inode.mode & GROUP_EXECUTE else ~0o4000

    def readlink(self, inode: int) -> str:
        with self.mutex:
            found = self.inode_of(inode)
            if found.kind is not FileKind.SYMLINK:
                raise FsError(Kind.INVALID, f"{found.path} is no symlink")
            return found.target

    def getxattr(self, inode: int, name: str) -> bytes:
        with self.mutex:
            found = self.inode_of(inode)
            value = found.xattrs.get(name)
            if value is None:
                raise _no_attribute(found, name)
            return value

    @changing
    def setxattr(self, inode: int, name: str, value: bytes, create: bool = False, replace: bool = False) -> None:
        with self.mutex:
            found = self.inode_of(inode)
            self.check_writable(found)
            _check_xattr_name(name)
            if create and name in found.xattrs:
                raise FsError(Kind.EXISTS, f"{found.path} has the extended attribute {name} already")
            if replace and name not in found.xattrs:
                raise _no_attribute(found, name)
            self.renew_key(found, found.size)
            others = {key: held for key, held in found.xattrs.items() if key != name}
            if _xattr_size(others) + len(name.encode()) + len(value) > MAX_XATTR_BYTES:
                raise FsError(Kind.NO_SPACE, f"{found.path}: extended attributes have {MAX_XATTR_BYTES} bytes together")
            found.xattrs = {**others, name: bytes(value)}
            self.dirty_bytes += len(value)
            found.changed = self.clock()
            self.mark(found)

    def listxattr(self, inode: int) -> list[str]:
        with self.mutex:
            return sorted(self.inode_of(inode).xattrs)

    @changing
    def removexattr(self, inode: int, name: str) -> None:
        with self.mutex:
            found = self.inode_of(inode)
            self.check_writable(found)
            if name not in found.xattrs:
                raise _no_attribute(found, name)
            found.xattrs = {key: value for key, value in found.xattrs.items() if key != name}
            found.changed = self.clock()
            self.mark(found)

    def statfs(self) -> FileSystemStatus:
        try:
            status = self.store.status()
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error
        return FileSystemStatus(
            capacity=status.capacity,
            available=max(status.available - self.dirty_bytes - self.frozen_bytes, 0),
            files=status.blocks,
            read_only=self.options.read_only or self.volume.chain is None,
        )

    def forget(self, inode: int) -> None:
        """Who asked for it often asks again soon: the newest `idle_inodes` of the forgotten stay."""
        with self.mutex:
            if inode in self.table:
                self.idle.pop(inode, None)
                self.idle[inode] = None
                if len(self.idle) > self.options.idle_inodes:
                    self.drop(next(iter(self.idle)))


def _check_times(changes: AttributeChanges) -> None:
    for time in (changes.accessed, changes.modified):
        if time is not None and not -MAX_TIME <= time < MAX_TIME:
            raise FsError(Kind.INVALID, f"the time {time} is out of range")


def _check_xattr_name(name: str) -> None:
    if not name.startswith(XATTR_PREFIXES):
        raise FsError(Kind.NOT_SUPPORTED, f"extended attributes begin with {', '.join(XATTR_PREFIXES)}, not {name!a}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise FsError(Kind.INVALID, f"the name {name!a} is not valid UTF-8") from None
    if size > MAX_XATTR_NAME or name in XATTR_PREFIXES or "\0" in name:
        raise FsError(Kind.RANGE, f"{name[:40]!a} cannot name an extended attribute")


def _xattr_size(xattrs: dict[str, bytes]) -> int:
    return sum(len(name.encode()) + len(value) for name, value in xattrs.items())


def _no_attribute(inode: Inode, name: str) -> FsError:
    return FsError(Kind.NO_ATTRIBUTE, f"{inode.path} has no extended attribute {name}")
