"""Reading files: what is in memory at once, the rest without the lock, and what a sequential reader wants next.

    begin   under the lock     layers and cache give what they hold, as of this moment; what they lack is a `Miss`
    load    without the lock   that is read from the store, verified and opened
    keep    under the lock     it goes to the cache, unless the file was committed meanwhile

So a read shows the file as it was when it began, and a slow store holds nobody up. Behind a sequential reader a thread,
started by the first of them, fetches the next window while the last one is being delivered. Its failures are dropped:
whoever reads that window fetches it again, and is told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import FileKind, Handle
from ._blocks import SECTOR_MASK, SECTOR_SIZE, SectorRequest
from ._cache import new_base
from ._content import SECTOR_SHIFT, Buffer
from ._heads import refused
from ._inode import Inode
from ._locking import Locking

UNLOCKED_TRIES = 4  #: reads from the store without the lock before the lock is kept for one
FIRST_WINDOW = 8  #: sectors read ahead once a reader is sequential; doubled up to `read_ahead`
AHEAD_WINDOW = 2 * FIRST_WINDOW  #: from here on a reader is sequential enough for the thread
NOWHERE = -2  #: a `read_end` that no read follows
AHEAD_LIMIT = 2  #: windows that the thread has or waits for: 2 MiB of uncached memory at the most


class Miss:
    """Sectors of a file that are not in memory: how to fetch them, and, afterwards, what was found."""

    __slots__ = ("_version", "asked", "done", "found", "indexes", "inode", "request")

    def __init__(self, inode: Inode, indexes: list[int], request: SectorRequest, asked: int = 0) -> None:
        self.inode = inode
        self.asked = asked  #: how many of them the reader asked for; the others are for his next reads
        self.indexes = indexes
        self.request = request
        self.found: list[bytes] = []
        self.done: threading.Event | None = None  #: where the thread fetches it
        self._version = inode.store.version

    def is_old(self) -> bool:
        """Whether the file was committed or reloaded since."""
        return self.inode.store.version != self._version


class Begun:
    """A read that lacks some sectors: `pieces` has None for each of them, in the order of `miss`."""

    __slots__ = ("_head", "_tail", "miss", "pieces")

    def __init__(self, miss: Miss, pieces: list[Buffer | None], head: int, tail: int) -> None:
        self.miss = miss
        # What lies in the layers may change before the rest is there.
        self.pieces = [bytes(piece) if type(piece) is bytearray else piece for piece in pieces]
        self._head = head
        self._tail = tail

    def result(self) -> bytes:
        found: Iterator[bytes] = iter(self.miss.found)
        return _join([next(found) if piece is None else piece for piece in self.pieces], self._head, self._tail)


class Reading(Locking):
    """Adds `read`."""

    def start_reading(self) -> None:
        self._fetcher: threading.Thread | None = None
        self._wanted: SimpleQueue[Miss | None] = SimpleQueue()
        self._in_flight = 0
        # Windows that the cache cannot hold until they are read would be fetched in vain.
        self._ahead = 4 * self.options.read_ahead * SECTOR_SIZE <= self.options.cache_bytes

    def stop_reading(self) -> None:
        """End the thread. Never called with the lock held; `closed` is set."""
        with self.mutex:
            thread, self._fetcher = self._fetcher, None
        if thread is not None:
            self._wanted.put(None)
            thread.join()

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        for _ in range(UNLOCKED_TRIES):
            with self.mutex:
                begun = self._begin(handle, offset, size)
            if type(begun) is bytes:
                return begun
            assert isinstance(begun, Begun)
            miss = begun.miss
            if miss.done is not None:
                miss.done.wait()
            elif self._load(miss):
                with self.mutex:
                    self._keep(miss)
                return begun.result()
        with self.mutex:  # somebody commits to this very file all the time
            begun = self._begin(handle, offset, size, wait=False)
            if isinstance(begun, Begun):
                begun.miss.found = self.fetch(begun.miss.inode, begun.miss.indexes)
                self._keep(begun.miss)
                return begun.result()
            return begun

    def _begin(self, handle: Handle, offset: int, size: int, wait: bool = True) -> bytes | Begun:
        """What was read, or what has to be fetched first (`wait`: perhaps by the thread, or with what comes next)."""
        opened = self.handles.get(handle)
        inode = opened.inode
        if not opened.readable:
            raise FsError(Kind.BAD_HANDLE, f"{inode.path} was not opened for reading")
        if inode.kind is not FileKind.FILE:
            raise not_a_file(inode)
        end = min(offset + size, inode.size)
        if offset < 0 or end <= offset:
            return b""
        first, last = offset >> SECTOR_SHIFT, end - 1 >> SECTOR_SHIFT
        pieces: list[Buffer | None] = [None]
        missing = [first]
        if first != last:
            pieces, missing = self._pieces(inode, first, last + 1)
        elif (piece := self._cached(inode, first)) is not None:
            self._follow(inode, first, first + 1)
            return _cut_one(piece, offset & SECTOR_MASK, end - offset)
        head, tail = offset & SECTOR_MASK, (last + 1 << SECTOR_SHIFT) - end
        if missing:
            return Begun(self._miss(inode, missing, first, last + 1, wait), pieces, head, tail)
        self._follow(inode, first, last + 1)
        return _join(pieces, head, tail)  # type: ignore[arg-type]  # nothing is missing

    def _pieces(self, inode: Inode, first: int, end: int) -> tuple[list[Buffer | None], list[int]]:
        """The content of consecutive sectors, as far as it is in memory; and which are not."""
        content, base, get = inode.content, inode.cache_base, self.sectors.get
        pieces: list[Buffer | None] = []
        missing: list[int] = []
        for index in range(first, end):
            data = None if content is None else content.find(index)
            if data is None:
                data = get(base + index) if base else None
                if data is None:
                    missing.append(index)
            pieces.append(data)
        return pieces, missing

    def _cached(self, inode: Inode, index: int) -> Buffer | None:
        data = None if inode.content is None else inode.content.find(index)
        if data is None and inode.cache_base:
            data = self.sectors.get(inode.cache_base + index)
        return data

    def _miss(self, inode: Inode, missing: list[int], first: int, end: int, wait: bool) -> Miss:
        """Sectors to fetch, and more behind them where somebody reads in sequence."""
        ahead = inode.ahead
        if ahead is not None and wait and ahead.indexes[0] <= missing[0] <= ahead.indexes[-1]:
            return ahead
        asked = len(missing)
        if wait and inode.read_end - 1 <= first <= inode.read_end:
            inode.window = min(max(inode.window * 2, FIRST_WINDOW), self.options.read_ahead)
            inode.fetched = min(end + inode.window, inode.store.sector_count)
            missing += [index for index in range(end, inode.fetched) if self._cached(inode, index) is None]
        else:
            inode.window = 0
        inode.read_end = end
        try:
            return Miss(inode, missing, inode.store.request(missing, self.read_records), asked)
        except BlocktreeError as error:
            raise refused(inode.path, error) from error

    def _load(self, miss: Miss) -> bool:
        """Fetch it; False where it has to be asked for again: others changed it, or it was too much. Raises FsError."""
        heard = self.reloads
        try:
            miss.found = miss.request.load(self.read_records)
        except BlocktreeError as error:
            if error.kind is Kind.INTEGRITY and (miss.is_old() or self.heard_since(heard)):
                return False
            if miss.asked < len(miss.indexes):  # damage ahead is no concern of this read
                miss.inode.read_end = NOWHERE
                return False
            raise refused(miss.inode.path, error) from error
        return True

    def _keep(self, miss: Miss) -> None:
        """What was loaded goes to the cache."""
        if miss.is_old():
            return
        inode = miss.inode
        base, put = inode.cache_base, self.sectors.put
        if not base:
            base = inode.cache_base = new_base()
        for index, plain in zip(miss.indexes, miss.found, strict=True):
            put(base + index, plain, len(plain) + 64)

    # Ahead of a sequential reader

    def _follow(self, inode: Inode, first: int, end: int) -> None:
        """Somebody read these sectors from memory; if that is how it goes on, the next window is wanted."""
        before, inode.read_end = inode.read_end, end
        if inode.window < AHEAD_WINDOW or not before - 1 <= first <= before or inode.ahead is not None:
            return
        start = max(inode.fetched, end)
        if start - end <= inode.window and self._ahead and self._in_flight < AHEAD_LIMIT and not self.closed:
            self._read_ahead(inode, start)

    def _read_ahead(self, inode: Inode, start: int) -> None:
        inode.window = min(inode.window * 2, self.options.read_ahead)
        inode.fetched = stop = min(start + inode.window, inode.store.sector_count)
        indexes = [index for index in range(start, stop) if self._cached(inode, index) is None]
        if not indexes:
            return
        try:
            miss = Miss(inode, indexes, inode.store.request(indexes, self.read_records))
        except BlocktreeError:
            return  # whoever reads there is told
        miss.done = threading.Event()
        inode.ahead = miss
        self._in_flight += 1
        if self._fetcher is None:
            self._fetcher = threading.Thread(target=self._fetch_wanted, name="localfs-ahead", daemon=True)
            self._fetcher.start()
        self._wanted.put(miss)

    def _fetch_wanted(self) -> None:
        """The thread."""
        while (miss := self._wanted.get()) is not None:
            try:
                miss.found = miss.request.load(self.read_records)
            except BlocktreeError:
                miss.found = []
            finally:
                self._fetched(miss)

    def _fetched(self, miss: Miss) -> None:
        with self.mutex:
            if miss.found:
                self._keep(miss)
            miss.inode.ahead = None
            self._in_flight -= 1
        assert miss.done is not None
        miss.done.set()


def _cut_one(data: Buffer, start: int, size: int) -> bytes:
    """A part of a sector, with zeros for what is not stored of it."""
    piece = bytes(data[start : start + size])
    return piece if len(piece) == size else piece + bytes(size - len(piece))


def _join(pieces: list[Buffer], head: int, tail: int) -> bytes:
    """Sectors one after the other, without what lies before and after the range."""
    if len(pieces) == 1:
        return _cut_one(pieces[0], head, SECTOR_SIZE - head - tail)
    for position, piece in enumerate(pieces):
        if len(piece) != SECTOR_SIZE:
            pieces[position] = bytes(piece) + bytes(SECTOR_SIZE - len(piece))
    if tail:
        pieces[-1] = pieces[-1][:-tail]
    if head:
        pieces[0] = pieces[0][head:]
    return b"".join(pieces)


def not_a_file(inode: Inode) -> FsError:
    if inode.kind is FileKind.DIRECTORY:
        return FsError(Kind.IS_DIRECTORY, f"{inode.path} is a directory")
    return FsError(Kind.INVALID, f"{inode.path} is no regular file")
