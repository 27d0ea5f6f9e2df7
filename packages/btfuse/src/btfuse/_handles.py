"""Handles of the provider, one an inode, for mounts where the kernel sends neither OPEN nor RELEASE.

A mount that is the only client of its tree answers the first OPEN with "not implemented"; from then on the kernel opens
and closes files by itself (a *zero-message open*), which spares two requests a file. Reads and writes then name only
the inode: its handle is opened at the first of them and kept for the next, within a bound.

Nobody tells us whether an unlinked file is still open. So before its last name goes, a file that the kernel knows is
*kept*: its handle stays, and its content with it, until the kernel forgets the inode.

For one thread, as such a mount has.
"""

from __future__ import annotations

import contextlib

from btfproto.errors import FsError
from btfproto.provider import FileKind, FsProvider, KeepsUnlinked, OpenFlags
from btlib.kinds import Kind

#: Handles that are open because somebody may come back. A provider's handle is small; files in use at once are few.
IDLE_LIMIT = 4096
_BOTH = OpenFlags.READ | OpenFlags.WRITE
_READ_ONLY = {Kind.READ_ONLY, Kind.FORBIDDEN, Kind.EXPIRED}


class InodeHandles:
    def __init__(self, provider: FsProvider, limit: int = IDLE_LIMIT) -> None:
        self._provider = provider
        self._limit = limit
        self._unlink = provider.unlink_keeping if isinstance(provider, KeepsUnlinked) else self._unlink_plainly
        self._idle: dict[int, int] = {}
        self._kept: dict[int, int] = {}

    def get(self, inode: int) -> int:
        """The handle of an inode, opened where there is none. Raises FsError."""
        handle = self._idle.get(inode)
        if handle is None:
            handle = self._kept.get(inode)
        return self._open(inode) if handle is None else handle

    def put(self, inode: int, handle: int) -> None:
        """A handle that was opened with a file, to be the inode's."""
        if len(self._idle) >= self._limit:
            self._provider.close(self._idle.pop(next(iter(self._idle))))
        self._idle[inode] = handle

    def keep(self, inode: int) -> None:
        """The inode loses a name, maybe its last: its content must stay until it is forgotten."""
        if inode not in self._kept:
            handle = self.get(inode)
            self._idle.pop(inode, None)
            self._kept[inode] = handle

    def drop(self, inode: int) -> None:
        """The kernel has forgotten the inode."""
        handle = self._idle.pop(inode, None)
        if handle is None:
            handle = self._kept.pop(inode, None)
        if handle is not None:
            self._provider.close(handle)

    def unlink(self, parent: int, name: str) -> None:
        """Remove a name, and keep the file whose last one it was. Raises FsError."""
        lost = self._unlink(parent, name)
        if lost is not None:
            inode, handle = lost
            known = self._idle.pop(inode, handle)
            if inode not in self._kept:
                self._kept[inode] = self._opened(inode) if known is None else known

    def _unlink_plainly(self, parent: int, name: str) -> None:
        self.keep_before_loss(parent, name)
        self._provider.unlink(parent, name)

    def keep_before_loss(self, parent: int, name: str) -> None:
        """`name` is about to be removed or replaced: keep the file behind it.

        What is absent, no file, or too damaged to be opened is no loss, and must not be in the way of its removal.
        """
        with contextlib.suppress(FsError):
            attributes = self._provider.lookup(parent, name)
            if attributes.kind is FileKind.FILE and attributes.links == 1:
                self.keep(attributes.inode)

    def _open(self, inode: int) -> int:
        handle = self._opened(inode)
        self.put(inode, handle)
        return handle

    def _opened(self, inode: int) -> int:
        try:
            return self._provider.open(inode, _BOTH)
        except FsError as error:
            if error.kind not in _READ_ONLY:
                raise
            return self._provider.open(inode, OpenFlags.READ)
