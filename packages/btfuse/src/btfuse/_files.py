"""Regular files: opening, reading, writing, making durable, allocating, seeking, closing.

Two ways, one for each kind of mount. `Files` is for a tree that others change meanwhile: what was written is committed
when it is closed, so that whoever opens the file afterwards sees it (close-to-open). `ExclusiveFiles` is for a mount
that is the only client, and commits when asked or when it is time.
"""

from __future__ import annotations

import errno
import os
from functools import lru_cache

from btfproto.provider import AllocateMode, AttributeChanges, FileKind, OpenFlags, Seek

from ._context import Context, Handlers, Head, surviving_mode
from ._protocol import (
    BODY,
    CREATE_IN,
    FALLOCATE_IN,
    FLUSH_IN,
    FOPEN_KEEP_CACHE,
    FSYNC_DATA_ONLY,
    FSYNC_IN,
    LSEEK_IN,
    LSEEK_OUT,
    OPEN_IN,
    OPEN_KILL_SUIDGID,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    WRITE_IN,
    WRITE_KILL_SUIDGID,
    WRITE_OUT,
    Opcode,
)

_EMPTY = b""
_DATA = BODY + WRITE_IN.size
_ACCESS = (OpenFlags.READ, OpenFlags.WRITE, OpenFlags.READ | OpenFlags.WRITE, OpenFlags.READ | OpenFlags.WRITE)

#: `fallocate(2)`: KEEP_SIZE 1, PUNCH_HOLE 2 (which Linux allows only with KEEP_SIZE), ZERO_RANGE 16. Space is given out
#: at a commit and never reserved, so zeros that keep the size are a hole.
_ALLOCATE = {
    0: AllocateMode.ALLOCATE,
    1: AllocateMode.KEEP_SIZE,
    3: AllocateMode.PUNCH_HOLE,
    16: AllocateMode.ZERO_RANGE,
    17: AllocateMode.PUNCH_HOLE,
}
_SEEK = {os.SEEK_DATA: Seek.DATA, os.SEEK_HOLE: Seek.HOLE}


class Files:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._provider = context.provider
        self._read = context.provider.read
        self._write = context.provider.write
        self._unseen: set[int] = set()  # handles whose changes others do not see yet

    def handlers(self) -> Handlers:
        return {
            Opcode.CREATE: self.create,
            Opcode.OPEN: self.open,
            Opcode.READ: self.read,
            Opcode.WRITE: self.write,
            Opcode.FLUSH: self.flush,
            Opcode.FSYNC: self.fsync,
            Opcode.RELEASE: self.release,
            Opcode.FALLOCATE: self.fallocate,
            Opcode.LSEEK: self.lseek,
        }

    def create(self, head: Head, buffer: memoryview) -> bytes:
        flags, mode, _umask, _open_flags = CREATE_IN.unpack_from(buffer, BODY)
        entry, _inode, handle = self._create(head, buffer, mode, open_flags(flags))
        self._unseen.add(handle)
        return entry + OPEN_OUT.pack(handle, FOPEN_KEEP_CACHE, 0)

    def _create(self, head: Head, buffer: memoryview, mode: int, flags: OpenFlags) -> tuple[bytes, int, int]:
        context = self._context
        parent, name = context.inode(head), context.name(head, buffer, CREATE_IN.size)
        owner = context.owner(head, parent)
        attributes, handle = self._provider.create(parent, name, mode & 0o7777, owner, flags)
        return context.entry(attributes, parent, name), attributes.inode, handle

    def open(self, head: Head, buffer: memoryview) -> bytes:
        flags, extra = OPEN_IN.unpack_from(buffer, BODY)
        inode = self._context.inode(head)
        if extra & OPEN_KILL_SUIDGID:
            self._drop_set_id(inode)
        handle = self._provider.open(inode, open_flags(flags))
        keep = not self._context.settings.shared or self._unchanged(inode)
        return OPEN_OUT.pack(handle, FOPEN_KEEP_CACHE if keep else 0, 0)

    def _unchanged(self, inode: int) -> bool:
        """Whether the pages that the kernel holds are those of now: close-to-open, with others about."""
        attributes = self._provider.getattr(inode)
        state = (attributes.size, attributes.modified)
        before = self._context.opened.get(inode)
        self._context.opened[inode] = state
        return before == state

    def read(self, _head: Head, buffer: memoryview) -> bytes:
        handle, offset, size = READ_IN.unpack_from(buffer, BODY)
        return self._read(handle, offset, size)

    def write(self, head: Head, buffer: memoryview) -> bytes:
        handle, offset, size, flags, _, _, _ = WRITE_IN.unpack_from(buffer, BODY)
        if flags & WRITE_KILL_SUIDGID:
            self._drop_set_id(self._context.inode(head))
        self._unseen.add(handle)
        return WRITE_OUT.pack(self._write(handle, offset, buffer[_DATA : _DATA + size]), 0)

    def _drop_set_id(self, inode: int) -> None:
        if inode not in self._context.set_id:
            return
        attributes = self._provider.getattr(inode)
        mode = surviving_mode(attributes.mode)
        if attributes.kind is FileKind.FILE and mode != attributes.mode:
            self._provider.setattr(inode, AttributeChanges(mode=mode))
        self._context.set_id.discard(inode)

    def flush(self, _head: Head, buffer: memoryview) -> bytes:
        handle = FLUSH_IN.unpack_from(buffer, BODY)[0]
        self._provider.flush(handle)
        if handle in self._unseen and self._context.settings.commit_on_close:
            self._provider.fsync(handle)
            self._unseen.discard(handle)
        return _EMPTY

    def fsync(self, head: Head, buffer: memoryview) -> bytes:
        handle, flags, _padding = FSYNC_IN.unpack_from(buffer, BODY)
        self._unseen.discard(handle)
        self._provider.fsync(self._handle(head, handle), bool(flags & FSYNC_DATA_ONLY))
        return _EMPTY

    def release(self, _head: Head, buffer: memoryview) -> bytes:
        handle = RELEASE_IN.unpack_from(buffer, BODY)[0]
        self._unseen.discard(handle)
        self._provider.close(handle)
        return _EMPTY

    def _handle(self, _head: Head, given: int) -> int:
        """The handle that a request means."""
        return given

    def fallocate(self, head: Head, buffer: memoryview) -> bytes:
        handle, offset, length, mode, _padding = FALLOCATE_IN.unpack_from(buffer, BODY)
        if (ours := _ALLOCATE.get(mode)) is None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        self._provider.fallocate(self._handle(head, handle), ours, offset, length)
        return _EMPTY

    def lseek(self, head: Head, buffer: memoryview) -> bytes:
        handle, offset, whence, _padding = LSEEK_IN.unpack_from(buffer, BODY)
        if (ours := _SEEK.get(whence)) is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return LSEEK_OUT.pack(self._provider.seek(self._handle(head, handle), offset, ours))


class ExclusiveFiles(Files):
    """The same where this mount is the only client: the kernel opens and closes without us (`_handles`)."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._handles = context.handles

    def create(self, head: Head, buffer: memoryview) -> bytes:
        flags, mode, _umask, _open_flags = CREATE_IN.unpack_from(buffer, BODY)
        entry, inode, handle = self._create(head, buffer, mode, _inode_flags(flags))
        self._handles.put(inode, handle)
        return entry + OPEN_OUT.pack(0, FOPEN_KEEP_CACHE, 0)

    def open(self, _head: Head, _buffer: memoryview) -> bytes:
        raise OSError(errno.ENOSYS, "files need no handle")

    def flush(self, _head: Head, _buffer: memoryview) -> bytes:
        # What a close could report is reported by fsync; the kernel writes through, so nothing is left to write.
        raise OSError(errno.ENOSYS, "a close needs no request")

    def read(self, head: Head, buffer: memoryview) -> bytes:
        _, offset, size = READ_IN.unpack_from(buffer, BODY)
        return self._read(self._handles.get(head[3]), offset, size)

    def write(self, head: Head, buffer: memoryview) -> bytes:
        _, offset, size, flags, _, _, _ = WRITE_IN.unpack_from(buffer, BODY)
        if flags & WRITE_KILL_SUIDGID:
            self._drop_set_id(head[3])
        return WRITE_OUT.pack(self._write(self._handles.get(head[3]), offset, buffer[_DATA : _DATA + size]), 0)

    def release(self, _head: Head, _buffer: memoryview) -> bytes:
        return _EMPTY

    def _handle(self, head: Head, _given: int) -> int:
        return self._handles.get(head[3])


@lru_cache(maxsize=256)  # the operators of an enum cost more than the rest of an open
def open_flags(flags: int) -> OpenFlags:
    """The kernel's O_… flags as ours."""
    ours = _ACCESS[flags & os.O_ACCMODE]
    if flags & (os.O_APPEND | os.O_TRUNC | os.O_EXCL):
        if flags & os.O_APPEND:
            ours |= OpenFlags.APPEND
        if flags & os.O_TRUNC:
            ours |= OpenFlags.TRUNCATE
        if flags & os.O_EXCL:
            ours |= OpenFlags.EXCLUSIVE
    return ours


@lru_cache(maxsize=256)
def _inode_flags(flags: int) -> OpenFlags:
    """Of the handle of an inode that is created with the kernel's flags: whoever opens it later shares it."""
    return OpenFlags.READ | OpenFlags.WRITE | (open_flags(flags) & ~OpenFlags.APPEND)
