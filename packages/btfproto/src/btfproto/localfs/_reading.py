"""Reading files: what is in memory at once, the rest without the lock, and what a sequential reader wants next.

    begin   under the lock     layers and cache give what they hold, as of this moment; what they lack is a `Miss`
    load    without the lock   that is read from the store, verified and opened
    keep    under the lock     it goes to the cache, unless the file was committed meanwhile

So a read shows the file as it was when it began, and a slow store holds nobody up. Whoever reads in sequence gets
*chunks*: a mebibyte in one piece, which costs no work for each of its sectors. Threads, started by the first of them,
fetch the next ones while the last is being delivered, and what lies behind the reader is dropped. Their failures are
dropped too: whoever reads there fetches it again, and is told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

from btlib.block import COMPILED
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import FileKind, Handle
from ..store import Places
from ._blocks import SECTOR_MASK, SECTOR_SIZE, ChunkRequest, SectorRequest, SingleRequest
from ._cache import new_base
from ._chunks import CHUNK_BITS, CHUNK_MASK, CHUNK_SECTORS, CHUNK_SHIFT, CHUNK_SIZE, CHUNKS
from ._content import SECTOR_SHIFT, Buffer
from ._direct import DirectReads
from ._heads import refused
from ._inode import Inode
from ._locking import Locking

if TYPE_CHECKING:
    from btspeed import ReadTable

UNLOCKED_TRIES = 6  #: reads from the store without the lock before the lock is kept for one
FIRST_AHEAD = 32  #: sectors (128 KiB) that the first read in sequence gets in addition
STREAK = 2  #: misses in sequence from which on a reader gets chunks
NOWHERE = -2  #: a `read_end` that no read follows
CHUNK_ROOM = 8  #: chunks that the cache must hold before there are any: they must not push each other out
AHEAD = 2  #: chunks to fetch before a sequential reader, each by a thread of its own
FAR_AHEAD = 4  #: the same where the store is far away: the link is busy while the threads open what came
#: Sectors by which a long read may come early or late and still be the next, where several threads read from a store
#: that is far away: what a kernel reads ahead reaches them in any order. As many chunks stay behind the reader.
SLACK_CHUNKS = 4
SLACK = SLACK_CHUNKS * CHUNK_SECTORS
LONG = 16  #: sectors (64 KiB); who reads here and there asks for less
IN_FLIGHT = 4  #: chunks that the threads have or wait for: uncached memory


class Miss:
    """Sectors of a file that are not in memory: how to fetch them, and, afterwards, what was found."""

    __slots__ = ("_version", "asked", "chunk", "done", "found", "indexes", "inode", "request")

    def __init__(
        self, inode: Inode, indexes: Sequence[int], request: SectorRequest | ChunkRequest, asked: int = 0
    ) -> None:
        self.inode = inode
        self.asked = asked  #: how many of them the reader asked for; the others are for his next reads
        self.indexes = indexes
        self.request = request
        self.found: list[bytes] = []
        self.chunk = isinstance(request, ChunkRequest)  #: they make a chunk, and are found in one piece
        self.done: threading.Event | None = None  #: where the thread fetches it
        self._version = inode.store.version

    def is_old(self) -> bool:
        """Whether the file was committed or reloaded since."""
        return self.inode.store.version != self._version

    @property
    def number(self) -> int:
        """Of the chunk."""
        return self.indexes[0] >> CHUNK_BITS


class Single:
    """A read of a part of one sector that is not in memory, by somebody who reads here and there."""

    __slots__ = ("index", "inode", "request", "size", "start", "version")

    def __init__(self, inode: Inode, index: int, request: SingleRequest, start: int, size: int) -> None:
        self.inode = inode
        self.index = index
        self.request = request
        self.start = start
        self.size = size
        self.version = inode.store.version


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
        self._fetchers: list[threading.Thread] = []
        self._wanted: SimpleQueue[Miss | None] = SimpleQueue()
        self._in_flight = 0
        self._places = self.store if COMPILED and isinstance(self.store, Places) else None
        self._direct = None if self._places is None or self.options.shared else DirectReads(self._places)
        far = self._places is None
        self._slack, self._behind, self._ahead = (SLACK, SLACK_CHUNKS, FAR_AHEAD) if far else (0, 0, AHEAD)
        self._chunks = self.options.cache_bytes >= CHUNK_ROOM * CHUNK_SIZE

    def stop_reading(self) -> None:
        """End the threads. Never called with the lock held; `closed` is set."""
        with self.mutex:
            threads, self._fetchers = self._fetchers, []
            if self._direct is not None:
                self._direct.table.clear()
        for _ in threads:
            self._wanted.put(None)
        for thread in threads:
            thread.join()

    @property
    def read_table(self) -> ReadTable | None:
        """See `ReadsDirectly`."""
        return None if self._direct is None else self._direct.table

    def hide(self, inode: Inode) -> None:
        if inode.direct and self._direct is not None:
            self._direct.drop(inode)

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        for _ in range(UNLOCKED_TRIES):
            with self.mutex:
                begun = self._begin(handle, offset, size)
            if type(begun) is bytes:
                return begun
            if type(begun) is Single:
                if (found := self._get_single(begun)) is not None:
                    return found
            elif type(begun) is Begun:
                if self._load(begun.miss):
                    with self.mutex:
                        self._keep(begun.miss)
                    return begun.result()
            else:
                assert isinstance(begun, Miss)
                self._get_chunk(begun)
        with self.mutex:  # somebody commits to this very file all the time
            begun = self._begin(handle, offset, size, whole=False)
            if isinstance(begun, Begun):
                begun.miss.found = self.fetch(begun.miss.inode, list(begun.miss.indexes))
                self._keep(begun.miss)
                return begun.result()
            assert isinstance(begun, bytes)
            return begun

    def _begin(self, handle: Handle, offset: int, size: int, whole: bool = True) -> bytes | Single | Begun | Miss:
        """What was read; or the sectors that have to be fetched first; or (`whole`) the chunk that has to be."""
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
        if inode.streak and inode.chunked and inode.content is None:
            found = self._from_chunks(inode, offset, end)
            if found is not None:
                self._follow(inode, first, last + 1)
                return found
            if whole and (number := self._lacking(inode, first, last)) is not None:
                return self._chunk(inode, number)
        pieces: list[Buffer | None] = [None]
        missing = [first]
        if first != last:
            pieces, missing = self._pieces(inode, first, last + 1)
        elif (piece := self._cached(inode, first)) is not None:
            self._follow(inode, first, first + 1)
            return _cut_one(piece, offset & SECTOR_MASK, end - offset)
        elif whole and not self._follows(inode, first, first + 1):
            inode.streak, inode.read_end = 0, first + 1
            if self._direct is not None:
                self._direct.note(inode, first, self.read_records)
            try:
                request = inode.store.request_one(first, self.read_records)
            except BlocktreeError as error:
                raise refused(inode.path, error) from error
            return Single(inode, first, request, offset & SECTOR_MASK, end - offset)
        head, tail = offset & SECTOR_MASK, (last + 1 << SECTOR_SHIFT) - end
        if missing:
            miss = self._miss(inode, missing, first, last + 1, whole)
            return miss if miss.chunk else Begun(miss, pieces, head, tail)
        self._follow(inode, first, last + 1)
        return _join(pieces, head, tail)  # type: ignore[arg-type]  # nothing is missing

    def _pieces(self, inode: Inode, first: int, end: int) -> tuple[list[Buffer | None], list[int]]:
        """The content of consecutive sectors, as far as it is in memory; and which are not."""
        cached = self._cached
        pieces = [cached(inode, index) for index in range(first, end)]
        return pieces, [index for index, piece in enumerate(pieces, first) if piece is None]

    def _cached(self, inode: Inode, index: int) -> Buffer | None:
        data = None if inode.content is None else inode.content.find(index)
        if data is None and (base := inode.cache_base):
            data = self.sectors.get(base + index)
            if data is None and inode.streak and inode.chunked:  # who reads here and there does not look for chunks
                chunk = self.sectors.get(base + CHUNKS + (index >> CHUNK_BITS))
                if chunk is not None:
                    start = (index & CHUNK_SECTORS - 1) << SECTOR_SHIFT
                    data = chunk[start : start + SECTOR_SIZE]
        return data

    def _miss(self, inode: Inode, missing: list[int], first: int, end: int, whole: bool) -> Miss:
        """Sectors to fetch, and more behind them where somebody reads in sequence."""
        follows = self._follows(inode, first, end)
        inode.streak = inode.streak + 1 if follows else 0
        asked = len(missing)
        if whole and inode.streak >= STREAK and self._chunks and inode.content is None and end - first <= CHUNK_SECTORS:
            return self._chunk(inode, missing[0] >> CHUNK_BITS)  # and then the read begins again
        inode.read_end = max(inode.read_end, end) if follows else end
        if whole and inode.streak:
            ahead = range(end, min(end + FIRST_AHEAD, inode.store.sector_count))
            missing += [index for index in ahead if self._cached(inode, index) is None]
        try:
            return Miss(inode, missing, inode.store.request(missing, self.read_records), asked)
        except BlocktreeError as error:
            raise refused(inode.path, error) from error

    def _get_single(self, single: Single) -> bytes | None:
        """None where it has to be asked for again. Raises FsError."""
        inode, heard = single.inode, self.reloads
        try:
            plain = single.request.load(self.read_records, self._places)
        except BlocktreeError as error:
            old = inode.store.version != single.version
            if error.kind is Kind.INTEGRITY and (old or self.heard_since(heard)):
                return None
            raise refused(inode.path, error) from error
        if not single.start and single.size >= len(plain):  # whoever asked has all of it, and keeps it if he wants
            return _cut_one(plain, 0, single.size)
        with self.mutex:
            if inode.store.version == single.version:
                base = inode.cache_base
                if not base:
                    base = inode.cache_base = new_base()
                self.sectors.put(base + single.index, plain, len(plain) + 64)
        return _cut_one(plain, single.start, single.size)

    def _load(self, miss: Miss) -> bool:
        """Fetch it; False where it has to be asked for again: others changed it, or it was too much. Raises FsError."""
        heard = self.reloads
        try:
            self._find(miss)
        except BlocktreeError as error:
            if error.kind is Kind.INTEGRITY and (miss.is_old() or self.heard_since(heard)):
                return False
            if miss.chunk or miss.asked < len(miss.indexes):  # damage ahead is no concern of this read
                miss.inode.read_end = NOWHERE
                return False
            raise refused(miss.inode.path, error) from error
        return True

    def _find(self, miss: Miss) -> None:
        request = miss.request
        if isinstance(request, ChunkRequest):
            miss.found = [request.load(self.read_records, self._places)]
        else:
            miss.found = request.load(self.read_records)

    def _keep(self, miss: Miss) -> None:
        """What was loaded goes to the cache."""
        if miss.is_old():
            return
        inode = miss.inode
        base, put = inode.cache_base, self.sectors.put
        if not base:
            base = inode.cache_base = new_base()
        if miss.chunk:
            inode.chunked = True
            put(base + CHUNKS + miss.number, miss.found[0], CHUNK_SIZE)
            return
        for index, plain in zip(miss.indexes, miss.found, strict=True):
            put(base + index, plain, len(plain) + 64)

    # In chunks

    def _from_chunks(self, inode: Inode, offset: int, end: int) -> bytes | None:
        """A range of a file without uncommitted changes, where all of it is in one or two chunks."""
        number, stop = offset >> CHUNK_SHIFT, end - 1 >> CHUNK_SHIFT
        base, get = inode.cache_base + CHUNKS, self.sectors.get
        chunk = get(base + number)
        if chunk is None:
            return None
        if number == stop:
            return _cut_one(chunk, offset & CHUNK_MASK, end - offset)
        rest = get(base + stop) if stop == number + 1 else None
        if rest is None or len(chunk) < CHUNK_SIZE:
            return None
        head, tail = offset & CHUNK_MASK, (end - 1 & CHUNK_MASK) + 1
        return b"".join((memoryview(chunk)[head:], memoryview(rest)[:tail])).ljust(end - offset, b"\0")

    def _lacking(self, inode: Inode, first: int, last: int) -> int | None:
        """The first chunk not in memory of those that a sequential reader wants; None where he is none."""
        if inode.streak < STREAK or last - first >= CHUNK_SECTORS or not self._follows(inode, first, last + 1):
            return None
        base, numbers = inode.cache_base + CHUNKS, range(first >> CHUNK_BITS, (last >> CHUNK_BITS) + 1)
        return next((number for number in numbers if base + number not in self.sectors), None)

    def _follows(self, inode: Inode, first: int, end: int) -> bool:
        """Whether a read goes on where the last one ended."""
        before = inode.read_end
        slack = self._slack if end - first >= LONG and before != NOWHERE else 0
        return before - 1 - slack <= first <= before + slack

    def _chunk(self, inode: Inode, number: int) -> Miss:
        """How to fetch a chunk; the same for all who want it while it is under way. Raises FsError."""
        miss = inode.ahead.get(number)
        if miss is None:
            start = number << CHUNK_BITS
            end = min(start + CHUNK_SECTORS, max(inode.store.sector_count, start + 1))
            try:
                request = inode.store.request_chunk(start, end, self.read_records)
            except BlocktreeError as error:
                raise refused(inode.path, error) from error
            miss = Miss(inode, range(start, end), request)
        return miss

    def _get_chunk(self, miss: Miss) -> None:
        """Have a chunk in the cache, if nothing comes between. Raises FsError."""
        if miss.done is not None:
            miss.done.wait()
        elif self._load(miss):
            with self.mutex:
                self._keep(miss)

    def _follow(self, inode: Inode, first: int, end: int) -> None:
        """Somebody read these sectors from memory; if that is how it goes on, the next chunks are wanted."""
        follows = self._follows(inode, first, end)
        inode.read_end = max(inode.read_end, end) if follows else end
        if inode.streak < STREAK or not follows or not self._chunks:
            return
        number = end - 1 >> CHUNK_BITS
        base, sectors = inode.cache_base + CHUNKS, self.sectors
        if first >> CHUNK_BITS != number or not first & CHUNK_SECTORS - 1:
            sectors.drop(base + number - 1 - self._behind)
        for wanted in range(number + 1, min(number + self._ahead, inode.store.sector_count - 1 >> CHUNK_BITS) + 1):
            if wanted not in inode.ahead and base + wanted not in sectors:
                self._read_ahead(inode, wanted)

    def _read_ahead(self, inode: Inode, number: int) -> None:
        if self._in_flight >= IN_FLIGHT or self.closed:
            return
        try:
            miss = self._chunk(inode, number)
        except BlocktreeError:
            return  # whoever reads there is told
        miss.done = threading.Event()
        inode.ahead[number] = miss
        self._in_flight += 1
        if len(self._fetchers) < AHEAD:
            thread = threading.Thread(target=self._fetch_wanted, name="localfs-ahead", daemon=True)
            self._fetchers.append(thread)
            thread.start()
        self._wanted.put(miss)

    def _fetch_wanted(self) -> None:
        """A thread."""
        while (miss := self._wanted.get()) is not None:
            try:
                self._find(miss)
            except BlocktreeError:
                miss.found = []
            finally:
                self._fetched(miss)

    def _fetched(self, miss: Miss) -> None:
        with self.mutex:
            if miss.found:
                self._keep(miss)
            else:
                miss.inode.streak = 0
            del miss.inode.ahead[miss.number]
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
