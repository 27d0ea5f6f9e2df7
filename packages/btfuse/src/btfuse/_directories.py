"""Directories: listing them, and making their changes durable.

A listing has no state here: the kernel says where it goes on. Offset 0 is the start, 1 follows `.`, 2 follows `..`,
and every larger one is a cookie of the provider, plus 2.
"""

from __future__ import annotations

import errno

from btfproto.provider import Attributes, Entry

from ._context import Context, Handlers, Head
from ._protocol import (
    BODY,
    ENTRY_OUT,
    OPEN_OUT,
    READ_IN,
    TYPE_BITS,
    Opcode,
    pack_dirent,
)

_EMPTY = b""
_DOTS = 2
_DIRECTORY = 0o040000
#: About what an entry takes with a name of usual length; how many to ask the provider for follows from it.
_USUAL_DIRENT = 40
_USUAL_DIRENTPLUS = 168
#: The entry part of READDIRPLUS that gives the kernel no node: for `.` and `..`.
_NO_ENTRY = bytes(ENTRY_OUT.size)


class Directories:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._provider = context.provider

    def handlers(self) -> Handlers:
        return {
            Opcode.OPENDIR: self.opendir,
            Opcode.READDIR: self.readdir,
            Opcode.READDIRPLUS: self.readdirplus,
            Opcode.RELEASEDIR: self.releasedir,
            Opcode.FSYNCDIR: self.fsyncdir,
        }

    def opendir(self, _head: Head, _buffer: memoryview) -> bytes:
        if not self._context.settings.shared:
            # "Not implemented" means: never ask again, and cache listings until a change through this kernel.
            raise OSError(errno.ENOSYS, "directories need no handle")
        return OPEN_OUT.pack(0, 0, 0)

    def releasedir(self, _head: Head, _buffer: memoryview) -> bytes:
        return _EMPTY

    def fsyncdir(self, _head: Head, _buffer: memoryview) -> bytes:
        self._provider.sync()
        return _EMPTY

    def readdir(self, head: Head, buffer: memoryview) -> bytes:
        _handle, offset, room = READ_IN.unpack_from(buffer, BODY)
        inode = self._context.inode(head)
        parts = self._dots(inode, offset, b"")
        room -= sum(map(len, parts))
        for entry in self._entries(inode, offset, room // _USUAL_DIRENT, plus=False):
            dirent = pack_dirent(entry.inode, entry.cookie + _DOTS, TYPE_BITS[entry.kind], entry.name.encode())
            room -= len(dirent)
            if room < 0:
                break
            parts.append(dirent)
        return b"".join(parts)

    def readdirplus(self, head: Head, buffer: memoryview) -> bytes:
        _handle, offset, room = READ_IN.unpack_from(buffer, BODY)
        inode = self._context.inode(head)
        parts = self._dots(inode, offset, _NO_ENTRY)
        room -= sum(map(len, parts))
        for entry in self._entries(inode, offset, room // _USUAL_DIRENTPLUS, plus=True):
            attributes, name = entry.attributes, entry.name.encode()
            dirent = pack_dirent(entry.inode, entry.cookie + _DOTS, TYPE_BITS[entry.kind], name)
            room -= len(dirent) + ENTRY_OUT.size
            if room < 0:
                break
            parts.append(self._entry(attributes, inode, entry.name))
            parts.append(dirent)
        return b"".join(parts)

    def _entry(self, attributes: Attributes | None, parent: int, name: str) -> bytes:
        return _NO_ENTRY if attributes is None else self._context.entry(attributes, parent, name)

    def _entries(self, inode: int, offset: int, limit: int, *, plus: bool) -> list[Entry]:
        return self._provider.readdir(inode, max(offset - _DOTS, 0), max(limit, 1), plus)

    def _dots(self, inode: int, offset: int, before: bytes) -> list[bytes]:
        if offset >= _DOTS:
            return []
        dots = [b".", b".."][offset:]
        inodes = {b".": inode, b"..": self._context.nodes.parent(inode)}
        return [
            before + pack_dirent(inodes[name], position, _DIRECTORY, name)
            for position, name in enumerate(dots, offset + 1)
        ]
