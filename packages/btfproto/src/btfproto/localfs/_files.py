"""Calls on open files and their content."""

from __future__ import annotations

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import AllocateMode, FileKind, Handle, OpenFlags, Seek
from ._attributes import MAX_SIZE
from ._blocks import SECTOR_SIZE
from ._changing import changing
from ._content import SECTOR_SHIFT, Buffer, Content
from ._handles import OpenFile
from ._heads import refused
from ._inode import Inode
from ._reading import not_a_file
from ._renewing import Renewing

LOST = (Kind.FENCED, Kind.CONFLICT, Kind.STALE)  #: changes with these are not in memory any more; others wait


class Files(Renewing):
    """See `FsProvider` for what each call promises."""

    def open(self, inode: int, flags: OpenFlags) -> Handle:
        if flags & (OpenFlags.WRITE | OpenFlags.TRUNCATE):
            return self._open_to_change(inode, flags)
        return self._open(inode, flags)

    @changing
    def _open_to_change(self, inode: int, flags: OpenFlags) -> Handle:
        return self._open(inode, flags)

    def _open(self, inode: int, flags: OpenFlags) -> Handle:
        with self.mutex:
            found = self.inode_of(inode)
            self.prepare_open(found, flags)
            return self.handles.add(OpenFile(found, flags))

    def prepare_open(self, inode: Inode, flags: int) -> None:
        if inode.kind is FileKind.SYMLINK:
            raise FsError(Kind.LOOP, f"{inode.path} is a symlink")
        if not flags & (OpenFlags.WRITE | OpenFlags.TRUNCATE):
            return
        if inode.kind is FileKind.DIRECTORY:
            raise FsError(Kind.IS_DIRECTORY, f"{inode.path} is a directory")
        self.check_writable(inode)
        if flags & OpenFlags.TRUNCATE and inode.kind is FileKind.FILE:
            self.resize(inode, 0)

    def close(self, handle: Handle) -> None:
        with self.mutex:
            opened = self.handles.remove(handle)
            self.drop_locks(handle, opened)
            inode = opened.inode
            if not inode.opens:
                inode.store.rest()
                inode.store.drop_tree()
                self.hide(inode)
                if not inode.links:
                    self.release(inode)

    def below(self, inode: Inode, index: int) -> Buffer:
        """The committed content of a sector."""
        base = inode.cache_base
        data = self.sectors.get(base + index) if base else None
        return self.fetch(inode, [index])[0] if data is None else data

    @changing
    def write(self, handle: Handle, offset: int, data: bytes | memoryview) -> int:
        with self.mutex:
            opened = self.handles.get(handle)
            inode = opened.inode
            if not opened.writable:
                raise FsError(Kind.BAD_HANDLE, f"{inode.path} was not opened for writing")
            if inode.kind is not FileKind.FILE:
                raise not_a_file(inode)
            self.check_writable(inode)
            if opened.append:
                offset = inode.size
            view = memoryview(data)
            end = offset + len(view)
            if offset < 0 or end > MAX_SIZE:
                raise _too_large(inode, end)
            self.room.check(self.dirty_bytes + self.frozen_bytes, len(view))
            self.renew_key(inode, inode.size)
            content = inode.content
            if content is None:
                content = inode.content = Content()
            before = content.live.size
            try:
                content.write(offset, view, inode.size, lambda index: self.below(inode, index))
            finally:
                self.dirty_bytes += content.live.size - before
            if end > inode.size and len(view):
                inode.size = end
            inode.modified = inode.changed = self.clock()
            self.mark(inode)
            return len(view)

    def resize(self, inode: Inode, size: int) -> None:
        """Set the size of a regular file. Under the lock."""
        if not 0 <= size <= MAX_SIZE:
            raise _too_large(inode, size)
        self.renew_key(inode, size)
        if size < inode.size:
            content = inode.content = inode.content or Content()
            before = content.live.size
            content.truncate(size, lambda index: self.below(inode, index))
            self.dirty_bytes += content.live.size - before
        inode.size = size
        inode.modified = inode.changed = self.clock()
        self.mark(inode)

    @changing
    def fallocate(self, handle: Handle, mode: AllocateMode, offset: int, length: int) -> None:
        with self.mutex:
            opened = self.handles.get(handle)
            inode = opened.inode
            if not opened.writable:
                raise FsError(Kind.BAD_HANDLE, f"{inode.path} was not opened for writing")
            if inode.kind is not FileKind.FILE:
                raise not_a_file(inode)
            self.check_writable(inode)
            if offset < 0 or length <= 0:
                raise FsError(Kind.INVALID, f"a range of {length} bytes from {offset} on cannot be allocated")
            end = offset + length
            if end > MAX_SIZE:
                raise _too_large(inode, end)
            if mode in (AllocateMode.PUNCH_HOLE, AllocateMode.ZERO_RANGE):
                self._punch(inode, offset, min(end, inode.size))
            if mode in (AllocateMode.ALLOCATE, AllocateMode.ZERO_RANGE) and end > inode.size:
                self.resize(inode, end)

    def _punch(self, inode: Inode, start: int, end: int) -> None:
        if start >= end:
            return
        self.renew_key(inode, inode.size)
        content = inode.content = inode.content or Content()
        before = content.live.size
        content.punch(start, end, inode.size, lambda index: self.below(inode, index))
        self.dirty_bytes += content.live.size - before
        inode.modified = inode.changed = self.clock()
        self.mark(inode)

    def seek(self, handle: Handle, offset: int, whence: Seek) -> int:
        with self.mutex:
            inode = self.handles.get(handle).inode
            if inode.kind is not FileKind.FILE:
                raise not_a_file(inode)
            if not 0 <= offset < inode.size:
                raise FsError(Kind.RANGE, f"{inode.path} has {inode.size} bytes; {offset} lies behind them")
            first = offset >> SECTOR_SHIFT
            try:
                found = self._next_data(inode, first) if whence is Seek.DATA else self._next_hole(inode, first)
            except BlocktreeError as error:
                raise refused(inode.path, error) from error
            if found is None:
                raise FsError(Kind.RANGE, f"{inode.path} has no data from {offset} on")
            return min(max(offset, found << SECTOR_SHIFT), inode.size)

    def _next_data(self, inode: Inode, first: int) -> int | None:
        """The first sector from one on that holds data, in the layers or below where they do not hide it."""
        content, store = inode.content, inode.store
        written = content.written(first) if content is not None else []
        end = written[0] if written else -(-inode.size // SECTOR_SIZE)
        index: int | None = first
        while index is not None and index < end:
            index = store.next_stored(index, self.read_records)
            if index is None or index >= end:
                break
            if content is None or content.find(index) is None:
                return index
            index = content.hidden_to(index)
        return end if written else None

    def _next_hole(self, inode: Inode, first: int) -> int:
        """The first sector from one on that is a hole, or lies behind the end."""
        content, store = inode.content, inode.store
        end = -(-inode.size // SECTOR_SIZE)
        index = first
        while index < end:
            layered = None if content is None else content.find(index)
            if layered is None:
                hole = store.next_hole(index, self.read_records)
                hidden = content.next_hidden(index, hole) if content is not None else hole
                if hole == index:
                    return index
                index = min(hole, hidden)
            elif not layered:
                return index
            else:
                index += 1
        return end

    def flush(self, handle: Handle) -> None:
        with self.mutex:
            self._report_error(self.handles.get(handle).inode)

    def fsync(self, handle: Handle, data_only: bool = False) -> None:
        with self.mutex:
            inode = self.handles.get(handle).inode
            if inode.error is not None and inode.error.kind in LOST:
                self._report_error(inode)
            inode.error = None
            group = inode.group
        self.commit_through(group)

    def sync(self) -> None:
        with self.mutex:
            group = self.live_group
            if not self.dirty and self.pending is None:
                group -= 1
        self.commit_through(group)

    def _report_error(self, inode: Inode) -> None:
        error, inode.error = inode.error, None
        if error is not None:
            raise FsError(error.kind, f"{inode.path}: {error.message}", error.hint)


def _too_large(inode: Inode, size: int) -> FsError:
    if size < 0:
        return FsError(Kind.INVALID, f"{inode.path}: a position cannot be negative")
    return FsError(Kind.TOO_LARGE, f"{inode.path}: a file has at most {MAX_SIZE} bytes, not {size}")
