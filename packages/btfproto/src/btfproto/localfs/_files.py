"""Calls on open files and their content."""

from __future__ import annotations

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import AllocateMode, FileKind, Handle, OpenFlags, Seek
from ._attributes import MAX_SIZE
from ._blocks import SECTOR_MASK, SECTOR_SIZE, SectorRequest
from ._cache import new_base
from ._changing import changing
from ._content import SECTOR_SHIFT, Buffer, Content
from ._handles import OpenFile
from ._heads import refused
from ._inode import Inode
from ._locking import Locking

SEEK_STEP = 256  #: sectors looked at in one go for a hole: one Merkle node
UNLOCKED_TRIES = 4  #: reads from the store without the lock before the lock is kept for one
FIRST_WINDOW = 8  #: sectors read ahead once a reader is sequential; doubled up to `read_ahead`


class Miss:
    """Sectors of a file that are not in memory: how to fetch them, and, afterwards, what was found."""

    __slots__ = ("_version", "found", "indexes", "inode", "request")

    def __init__(self, inode: Inode, indexes: list[int], request: SectorRequest) -> None:
        self.inode = inode
        self.indexes = indexes
        self.request = request
        self.found: dict[int, bytes] = {}
        self._version = inode.store.version

    def is_old(self) -> bool:
        """Whether the file was committed or reloaded since."""
        return self.inode.store.version != self._version


class Files(Locking):
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
                if not inode.links:
                    self.release(inode)

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        loaded: Miss | None = None
        for _ in range(UNLOCKED_TRIES):
            found = self._read_known(handle, offset, size, loaded)
            if type(found) is bytes:
                return found
            assert isinstance(found, Miss)
            loaded = found if self._load(found) else None
        with self.mutex:  # somebody commits to this very file all the time
            found = self._read_known(handle, offset, size, None, whole=True)
            if isinstance(found, Miss):
                found.found = dict(zip(found.indexes, self.fetch(found.inode, found.indexes), strict=True))
                found = self._read_known(handle, offset, size, found, whole=True)
        assert type(found) is bytes
        return found

    def _read_known(
        self, handle: Handle, offset: int, size: int, loaded: Miss | None, whole: bool = False
    ) -> bytes | Miss:
        """What was read, or what has to be fetched from the store first (`whole`: whatever the cache holds)."""
        with self.mutex:
            opened = self.handles.get(handle)
            inode = opened.inode
            if not opened.readable:
                raise FsError(Kind.BAD_HANDLE, f"{inode.path} was not opened for reading")
            if inode.kind is not FileKind.FILE:
                raise _not_a_file(inode)
            end = min(offset + size, inode.size)
            if offset < 0 or end <= offset:
                return b""
            first, last = offset >> SECTOR_SHIFT, end - 1 >> SECTOR_SHIFT
            pieces = self._sectors(inode, first, last + 1, loaded, whole)
            if isinstance(pieces, Miss):
                return pieces
            if first == last:
                return _cut_one(pieces[0], offset & SECTOR_MASK, end - offset)
            return _join(pieces, offset & SECTOR_MASK, (last + 1 << SECTOR_SHIFT) - end)

    def _load(self, miss: Miss) -> bool:
        """Fetch it; False where it has to be asked for again, because others changed it. Raises FsError."""
        heard = self.reloads
        try:
            miss.found = dict(zip(miss.indexes, miss.request.load(self.read_records), strict=True))
        except BlocktreeError as error:
            if error.kind is Kind.INTEGRITY and (miss.is_old() or self.heard_since(heard)):
                return False
            raise refused(miss.inode.path, error) from error
        return True

    def _sectors(self, inode: Inode, first: int, end: int, loaded: Miss | None, whole: bool) -> list[Buffer] | Miss:
        """The content of consecutive sectors, from the layers, the cache or what was loaded; or what is missing."""
        content, base, get = inode.content, 0 if whole else inode.cache_base, self.sectors.get
        fresh = {} if loaded is None or loaded.is_old() else loaded.found
        found: list[Buffer] = []
        missing: list[int] = []
        for index in range(first, end):
            data = None if content is None else content.find(index)
            if data is None:
                data = get(base + index) if base else None
                if data is None:
                    data = fresh.get(index)
                    if data is None:
                        missing.append(index)
                        continue
            found.append(data)
        if missing:
            return self._miss(inode, missing, first, end)
        if fresh:
            self._keep(inode, fresh)
        inode.read_end = end
        return found

    def _keep(self, inode: Inode, fresh: dict[int, bytes]) -> None:
        """What was loaded goes to the cache."""
        base = inode.cache_base = inode.cache_base or new_base()
        for index, plain in fresh.items():
            self.sectors.put(base + index, plain, len(plain) + 64)

    def _miss(self, inode: Inode, missing: list[int], first: int, end: int) -> Miss:
        """Sectors to fetch, and more behind them where somebody reads in sequence."""
        if inode.read_end - 1 <= first <= inode.read_end:
            inode.window = min(max(inode.window * 2, FIRST_WINDOW), self.options.read_ahead)
            stop = min(end + inode.window, inode.store.sector_count)
            missing += [index for index in range(end, stop) if self._cached(inode, index) is None]
        else:
            inode.window = 0
        try:
            return Miss(inode, missing, inode.store.request(missing, self.read_records))
        except BlocktreeError as error:
            raise refused(inode.path, error) from error

    def _cached(self, inode: Inode, index: int) -> Buffer | None:
        data = None if inode.content is None else inode.content.find(index)
        if data is None and inode.cache_base:
            data = self.sectors.get(inode.cache_base + index)
        return data

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
                raise _not_a_file(inode)
            self.check_writable(inode)
            if opened.append:
                offset = inode.size
            view = memoryview(data)
            end = offset + len(view)
            if offset < 0 or end > MAX_SIZE:
                raise _too_large(inode, end)
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
                raise _not_a_file(inode)
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
                raise _not_a_file(inode)
            if not 0 <= offset < inode.size:
                raise FsError(Kind.RANGE, f"{inode.path} has {inode.size} bytes; {offset} lies behind them")
            found = self._seek(inode, offset >> SECTOR_SHIFT, whence is Seek.DATA)
            if found is None and whence is Seek.DATA:
                raise FsError(Kind.RANGE, f"{inode.path} has no data from {offset} on")
            return inode.size if found is None else min(max(offset, found << SECTOR_SHIFT), inode.size)

    def _seek(self, inode: Inode, first: int, data: bool) -> int | None:
        """The first sector from one on that holds data (or is a hole)."""
        end = -(-inode.size // SECTOR_SIZE)
        for start in range(first, end, SEEK_STEP):
            stop = min(start + SEEK_STEP, end)
            present = inode.store.present(start, stop - start, self.read_records)
            for index in range(start, stop):
                layered = None if inode.content is None else inode.content.find(index)
                if (present[index - start] if layered is None else bool(layered)) is data:
                    return index
        return None

    def flush(self, handle: Handle) -> None:
        with self.mutex:
            self._report_error(self.handles.get(handle).inode)

    def fsync(self, handle: Handle, data_only: bool = False) -> None:
        with self.mutex:
            inode = self.handles.get(handle).inode
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


def _cut_one(data: Buffer, start: int, size: int) -> bytes:
    """A part of a sector, with zeros for what is not stored of it."""
    piece = bytes(data[start : start + size])
    return piece if len(piece) == size else piece + bytes(size - len(piece))


def _join(pieces: list[Buffer], head: int, tail: int) -> bytes:
    """Sectors one after the other, without what lies before and after the range."""
    for position, piece in enumerate(pieces):
        if len(piece) != SECTOR_SIZE:
            pieces[position] = bytes(piece) + bytes(SECTOR_SIZE - len(piece))
    if tail:
        pieces[-1] = pieces[-1][:-tail]
    if head:
        pieces[0] = pieces[0][head:]
    return b"".join(pieces)


def _not_a_file(inode: Inode) -> FsError:
    if inode.kind is FileKind.DIRECTORY:
        return FsError(Kind.IS_DIRECTORY, f"{inode.path} is a directory")
    return FsError(Kind.INVALID, f"{inode.path} is no regular file")


def _too_large(inode: Inode, size: int) -> FsError:
    if size < 0:
        return FsError(Kind.INVALID, f"{inode.path}: a position cannot be negative")
    return FsError(Kind.TOO_LARGE, f"{inode.path}: a file has at most {MAX_SIZE} bytes, not {size}")
