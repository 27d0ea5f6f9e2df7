"""Names: looking up, making, linking, renaming and removing them, and reading symlinks."""

from __future__ import annotations

import errno
import logging
import os

from btfproto.errors import FsError
from btfproto.provider import FileKind, RenameFlags
from btlib.kinds import Kind

from ._context import SET_GID, Context, Handlers, Head, Symlinks, decode_name
from ._protocol import (
    BODY,
    LINK_IN,
    MKDIR_IN,
    MKNOD_IN,
    RENAME2_IN,
    RENAME_IN,
    ROOT_NODE,
    Opcode,
    pack_absence,
)
from ._symlinks import is_contained

log = logging.getLogger("btfuse")

#: The kernel's rename flags → ours. RENAME_WHITEOUT is for overlay file systems and is refused.
_RENAME_FLAGS = {0: RenameFlags.NONE, 1: RenameFlags.NO_REPLACE, 2: RenameFlags.EXCHANGE}
_KINDS = {
    0o100000: FileKind.FILE,
    0: FileKind.FILE,
    0o010000: FileKind.FIFO,
    0o140000: FileKind.SOCKET,
    0o020000: FileKind.CHARACTER_DEVICE,
    0o060000: FileKind.BLOCK_DEVICE,
}
SNAPSHOTS = ".snapshots"  #: found at the root of a mount, where the tree has no such name (`_snapshots`)
_EMPTY = b""
#: Symlinks made through a mount that are remembered, some 200 bytes each; the oldest are forgotten.
_MADE_LIMIT = 10_000


class Namespace:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._provider = context.provider
        self._lookup = context.provider.lookup
        self._absent = pack_absence(context.valid)
        self._contained = context.settings.symlinks is Symlinks.CONTAINED
        self._made: dict[int, str] = {}
        self._refused: set[int] = set()

    def handlers(self) -> Handlers:
        return {
            Opcode.LOOKUP: self.lookup,
            Opcode.READLINK: self.readlink,
            Opcode.SYMLINK: self.symlink,
            Opcode.MKNOD: self.mknod,
            Opcode.MKDIR: self.mkdir,
            Opcode.UNLINK: self.unlink,
            Opcode.RMDIR: self.rmdir,
            Opcode.RENAME: self.rename,
            Opcode.RENAME2: self.rename2,
            Opcode.LINK: self.link,
        }

    def lookup(self, head: Head, buffer: memoryview) -> bytes:
        context = self._context
        node = head[3]
        parent = context.nodes.root if node == ROOT_NODE else node
        name = decode_name(bytes(buffer[BODY : head[0] - 1]))
        try:
            attributes = self._lookup(parent, name)
        except FsError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            if name == SNAPSHOTS and node == ROOT_NODE and context.door is not None:
                return context.door.enter()
            return self._absent
        return context.entry(attributes, parent, name)

    def mkdir(self, head: Head, buffer: memoryview) -> bytes:
        context = self._context
        mode, _umask = MKDIR_IN.unpack_from(buffer, BODY)
        parent, name = context.inode(head), context.name(head, buffer, MKDIR_IN.size)
        if context.inherits_set_gid(parent):
            mode |= SET_GID
        attributes = self._provider.mkdir(parent, name, mode & 0o7777, context.owner(head, parent))
        return context.entry(attributes, parent, name)

    def mknod(self, head: Head, buffer: memoryview) -> bytes:
        context = self._context
        mode, device, _umask, _padding = MKNOD_IN.unpack_from(buffer, BODY)
        parent, name = context.inode(head), context.name(head, buffer, MKNOD_IN.size)
        if (kind := _KINDS.get(mode & 0o170000)) is None:
            raise OSError(errno.EINVAL, "no such kind of file")
        attributes = self._provider.mknod(parent, name, kind, mode & 0o7777, context.owner(head, parent), device)
        return context.entry(attributes, parent, name)

    def symlink(self, head: Head, buffer: memoryview) -> bytes:
        context = self._context
        parent = context.inode(head)
        name, target = context.two_names(head, buffer)
        attributes = self._provider.symlink(parent, name, target, context.owner(head, parent))
        self._remember(attributes.inode, target)
        return context.entry(attributes, parent, name)

    def link(self, head: Head, buffer: memoryview) -> bytes:
        context = self._context
        (node,) = LINK_IN.unpack_from(buffer, BODY)
        parent, name = context.inode(head), context.name(head, buffer, LINK_IN.size)
        inode = context.nodes.inode(node)
        try:
            attributes = self._provider.link(inode, parent, name)
        except FsError as error:
            if error.kind is not Kind.STALE or not context.revive(inode):
                raise
            attributes = self._provider.link(inode, parent, name)
        return context.entry(attributes, parent, name)

    def unlink(self, head: Head, buffer: memoryview) -> bytes:
        context = self._context
        parent, name = context.inode(head), context.name(head, buffer)
        if context.exclusive:
            context.handles.unlink(parent, name)
        else:
            self._provider.unlink(parent, name)
        return _EMPTY

    def rmdir(self, head: Head, buffer: memoryview) -> bytes:
        self._provider.rmdir(self._context.inode(head), self._context.name(head, buffer))
        return _EMPTY

    def rename(self, head: Head, buffer: memoryview) -> bytes:
        (new_node,) = RENAME_IN.unpack_from(buffer, BODY)
        return self._rename(head, buffer, RENAME_IN.size, new_node, RenameFlags.NONE)

    def rename2(self, head: Head, buffer: memoryview) -> bytes:
        new_node, flags, _padding = RENAME2_IN.unpack_from(buffer, BODY)
        if (ours := _RENAME_FLAGS.get(flags)) is None:
            raise OSError(errno.EINVAL, "rename flags that are not supported")
        return self._rename(head, buffer, RENAME2_IN.size, new_node, ours)

    def _rename(self, head: Head, buffer: memoryview, skip: int, new_node: int, flags: RenameFlags) -> bytes:
        context, nodes = self._context, self._context.nodes
        parent, new_parent = context.inode(head), nodes.inode(new_node)
        name, new_name = context.two_names(head, buffer, skip)
        if context.exclusive and flags is RenameFlags.NONE:
            context.handles.keep_before_loss(new_parent, new_name)
        self._provider.rename(parent, name, new_parent, new_name, flags)
        # The kernel keeps its node: only its place changes, and the request names no inode.
        nodes.move(self._lookup(new_parent, new_name).inode, new_parent, new_name)
        if flags is RenameFlags.EXCHANGE:
            nodes.move(self._lookup(parent, name).inode, parent, name)
        return _EMPTY

    def readlink(self, head: Head, _buffer: memoryview) -> bytes:
        inode = self._context.inode(head)
        target = self._provider.readlink(inode)
        # A link that was made through this mount has the target that its maker wrote, whoever keeps it now.
        if self._contained and self._made.get(inode) != target:
            self._check_contained(inode, target)
        return target.encode()

    def _remember(self, inode: int, target: str) -> None:
        if self._contained:
            if len(self._made) >= _MADE_LIMIT:
                del self._made[next(iter(self._made))]
            self._made[inode] = target

    def _check_contained(self, inode: int, target: str) -> None:
        nodes = self._context.nodes
        path = nodes.path(inode)
        if is_contained(target, max(len(path) - 1, 0), self._context.settings.mountpoint):
            return
        if inode not in self._refused:
            self._refused.add(inode)
            log.warning(
                "symlink %s was refused: its target %r leads out of the mount; "
                "to follow it, mount with: -o symlinks=as-written",
                nodes.describe(inode),
                target,
            )
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
