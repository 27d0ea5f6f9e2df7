"""`Handles`: what is open. Passive; `LocalFs` holds the lock."""

from __future__ import annotations

from btlib.kinds import Kind

from ..errors import FsError
from ..provider import OpenFlags
from ._inode import Inode

READ, WRITE, APPEND = int(OpenFlags.READ), int(OpenFlags.WRITE), int(OpenFlags.APPEND)


class OpenFile:
    """One `open` of an inode."""

    __slots__ = ("append", "inode", "locked", "readable", "writable")

    def __init__(self, inode: Inode, flags: int) -> None:
        self.inode = inode
        bits = int(flags)  # an enum's operators cost more than the rest of an open
        self.readable = bool(bits & READ) or not bits & WRITE
        self.writable = bool(bits & WRITE)
        self.append = bool(bits & APPEND)
        self.locked = False  #: locks were taken through it


class Handles:
    """Numbers for open files, never used twice."""

    __slots__ = ("_next", "_open")

    def __init__(self) -> None:
        self._next = 1
        self._open: dict[int, OpenFile] = {}

    def add(self, opened: OpenFile) -> int:
        number = self._next
        self._next += 1
        self._open[number] = opened
        opened.inode.opens += 1
        return number

    def get(self, number: int) -> OpenFile:
        """Raises FsError (BAD_HANDLE)."""
        opened = self._open.get(number)
        if opened is None:
            raise FsError(Kind.BAD_HANDLE, f"handle {number} is not open")
        return opened

    def remove(self, number: int) -> OpenFile:
        """Raises FsError (BAD_HANDLE)."""
        opened = self.get(number)
        del self._open[number]
        opened.inode.opens -= 1
        return opened

    def clear(self) -> None:
        self._open.clear()
