"""What an object is: stat, chmod, chown, truncate, utimens, extended attributes, statfs; and forgetting it."""

from __future__ import annotations

import errno
import os
import time

from btfproto.provider import AttributeChanges, Attributes, FileKind

from ._context import SET_ID, Context, Handlers, Head, surviving_mode
from ._protocol import (
    ACCESS_IN,
    BODY,
    FORGET_IN,
    GETXATTR_IN,
    GETXATTR_OUT,
    NANO,
    ROOT_NODE,
    SETATTR_IN,
    SETXATTR_IN,
    STATFS_OUT,
    Opcode,
    SetAttr,
    read_forgets,
)

_EMPTY = b""
_STATFS_UNIT = 4096

#: What programs of this user may keep. `security.` has no effect on a mount that is always `nosuid`, and the kernel
#: would ask for it all the time; `system.` is the kernel's own (access control lists, which are not enforced here).
_NAMESPACES = ("user.", "trusted.")

_MODE, _UID, _GID, _SIZE = int(SetAttr.MODE), int(SetAttr.UID), int(SetAttr.GID), int(SetAttr.SIZE)
_ATIME, _MTIME = int(SetAttr.ATIME), int(SetAttr.MTIME)
_ATIME_NOW, _MTIME_NOW, _KILL = int(SetAttr.ATIME_NOW), int(SetAttr.MTIME_NOW), int(SetAttr.KILL_SUIDGID)


class ObjectAttributes:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._provider = context.provider
        self._getattr = context.provider.getattr

    def handlers(self) -> Handlers:
        return {
            Opcode.GETATTR: self.getattr,
            Opcode.SETATTR: self.setattr,
            Opcode.FORGET: self.forget,
            Opcode.BATCH_FORGET: self.batch_forget,
            Opcode.STATFS: self.statfs,
            Opcode.SETXATTR: self.setxattr,
            Opcode.ACCESS: self.access,
            Opcode.GETXATTR: self.getxattr,
            Opcode.LISTXATTR: self.listxattr,
            Opcode.REMOVEXATTR: self.removexattr,
        }

    def getattr(self, head: Head, _buffer: memoryview) -> bytes:
        context = self._context
        node = head[3]
        return context.attributes(self._getattr(context.nodes.root if node == ROOT_NODE else node))

    def setattr(self, head: Head, buffer: memoryview) -> bytes:
        context = self._context
        inode = context.inode(head)
        (valid, _, _, size, _, accessed, modified, _, accessed_ns, modified_ns, _, mode, _, uid, gid, _) = (
            SETATTR_IN.unpack_from(buffer, BODY)
        )
        changes = AttributeChanges(
            mode=mode & 0o7777 if valid & _MODE else self._mode_without_set_id(inode, valid),
            uid=uid if valid & _UID else None,
            gid=gid if valid & _GID else None,
            size=size if valid & _SIZE else None,
            accessed=_time(valid & _ATIME, valid & _ATIME_NOW, accessed, accessed_ns),
            modified=_time(valid & _MTIME, valid & _MTIME_NOW, modified, modified_ns),
        )
        attributes = self._provider.setattr(inode, changes)
        if not attributes.mode & SET_ID:
            context.set_id.discard(inode)
        return context.attributes(attributes)

    def _mode_without_set_id(self, inode: int, valid: int) -> int | None:
        # A change of owner takes the set-id bits as well, as everywhere on Linux.
        if inode not in self._context.set_id or not valid & (_KILL | _UID | _GID):
            return None
        attributes: Attributes = self._getattr(inode)
        mode = surviving_mode(attributes.mode)
        return mode if mode != attributes.mode and attributes.kind != 1 else None

    def access(self, head: Head, buffer: memoryview) -> bytes:
        """Asked only where the kernel does not judge itself: on a mount that nobody but root enters (ADR 15)."""
        (wanted, _) = ACCESS_IN.unpack_from(buffer, BODY)
        if wanted & os.X_OK:
            attributes = self._getattr(self._context.inode(head))
            if attributes.kind is FileKind.FILE and not attributes.mode & 0o111:
                raise OSError(errno.EACCES, "nobody may execute this file")
        return _EMPTY

    def forget(self, head: Head, buffer: memoryview) -> None:
        (count,) = FORGET_IN.unpack_from(buffer, BODY)
        if head[3] != ROOT_NODE:
            self._context.nodes.drop(head[3], count)

    def batch_forget(self, head: Head, buffer: memoryview) -> None:
        drop = self._context.nodes.drop
        for node, count in read_forgets(buffer[: head[0]]):
            if node != ROOT_NODE:
                drop(node, count)

    def statfs(self, _head: Head, _buffer: memoryview) -> bytes:
        status = self._provider.statfs()
        blocks, available = status.capacity // _STATFS_UNIT, status.available // _STATFS_UNIT
        # Free inodes are not counted anywhere: as many as blocks are free, so that `df -i` shows no shortage.
        return STATFS_OUT.pack(
            blocks,
            available,
            available,
            status.files + available,
            available,
            _STATFS_UNIT,
            status.name_limit,
            _STATFS_UNIT,
        )

    def getxattr(self, head: Head, buffer: memoryview) -> bytes:
        room, _ = GETXATTR_IN.unpack_from(buffer, BODY)
        name = self._context.name(head, buffer, GETXATTR_IN.size)
        inode = self._context.inode(head)
        _check_namespace(name, errno.ENODATA)
        return _fit(self._provider.getxattr(inode, name), room)

    def setxattr(self, head: Head, buffer: memoryview) -> bytes:
        size, flags = SETXATTR_IN.unpack_from(buffer, BODY)
        end = head[0] - size
        name = bytes(buffer[BODY + SETXATTR_IN.size : end - 1]).decode()
        _check_namespace(name, errno.EOPNOTSUPP)
        self._provider.setxattr(
            self._context.inode(head),
            name,
            bytes(buffer[end : head[0]]),
            create=bool(flags & os.XATTR_CREATE),
            replace=bool(flags & os.XATTR_REPLACE),
        )
        return _EMPTY

    def listxattr(self, head: Head, buffer: memoryview) -> bytes:
        room, _ = GETXATTR_IN.unpack_from(buffer, BODY)
        names = self._provider.listxattr(self._context.inode(head))
        return _fit(b"".join(name.encode() + b"\0" for name in names), room)

    def removexattr(self, head: Head, buffer: memoryview) -> bytes:
        name = self._context.name(head, buffer)
        _check_namespace(name, errno.ENODATA)
        self._provider.removexattr(self._context.inode(head), name)
        return _EMPTY


def _time(given: int, now: int, seconds: int, nanoseconds: int) -> int | None:
    if now:
        return time.time_ns()
    return seconds * NANO + nanoseconds if given else None


def _check_namespace(name: str, refusal: int) -> None:
    if not name.startswith(_NAMESPACES):
        raise OSError(refusal, os.strerror(refusal))


def _fit(value: bytes, room: int) -> bytes:
    """The value, or with no room its size, which is how callers ask for it."""
    if room == 0:
        return GETXATTR_OUT.pack(len(value), 0)
    if len(value) > room:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return value
