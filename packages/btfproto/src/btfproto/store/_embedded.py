"""`EmbeddedStore`: a store in a directory of this machine. No service to start; one process at a time.

    <directory>/lock               who has it open (`_lock`)
               /index.sqlite       heads, small bodies, placement (`_index`)
               /segments/*.seg     all other records, append-only (`_segments`)

Threads that commit at the same time share one group: whoever gets the writer's lock takes all commits that wait, and
the others find theirs done. The order within a group is fixed: segments written → segments synced → index transaction
(synced) → answers. So the index never names a byte that is not durable, and an answer never precedes either.

After an error of the index the store refuses further commits until it is opened again: only then is it certain what
reached the disk. See `docs/spec/store.md` for the formats and the reasoning about crashes.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from btlib.kinds import Kind

from ..errors import StoreError
from ._cache import BlockCache
from ._events import EventLog
from ._files import Files, SystemFiles
from ._group import Block, Group, Source
from ._index import CHECKPOINT_BYTES, INDEX_NAME, HeadRow, Index, State
from ._interface import (
    REPLAY_RECORDS,
    Absent,
    Commit,
    CommitAnswer,
    Events,
    Found,
    Head,
    HeadAnswer,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseRequest,
    RecordRef,
    Records,
    StoreStatus,
    Unchanged,
)
from ._leases import Leases
from ._lock import LockHolder, StoreLock
from ._segments import SEGMENT_SIZE, Segments
from ._validate import check_commit_shape

SEGMENTS_NAME = "segments"
CACHE_BYTES = 16 * 2**20  #: heads and placements kept in memory


class _Ticket:
    """A commit that waits, and what became of it. `wake` is released when it is done, or has to lead the next group."""

    __slots__ = ("answer", "commit", "error", "wake")

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.answer: CommitAnswer | None = None
        self.error: StoreError | None = None
        self.wake = threading.Lock()
        self.wake.acquire()

    def outcome(self) -> CommitAnswer | None:
        """The answer; None while there is none. Raises StoreError."""
        if self.error is not None:
            raise self.error
        return self.answer


class EmbeddedStore:
    """See `Store`."""

    def __init__(
        self,
        directory: Path,
        *,
        program: str = "python",
        endpoint: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        files: Files | None = None,
        cache_bytes: int = CACHE_BYTES,
        segment_size: int = SEGMENT_SIZE,
    ) -> None:
        """Open the store in `directory`, or make one there.

        `program` and `endpoint` are what a second opener is told. Raises StoreError: BUSY where another process has it,
        INTEGRITY where the index or a segment is damaged, IO, NOT_SUPPORTED for a newer format.
        """
        self.directory = directory
        self._clock = clock
        self._files = SystemFiles() if files is None else files
        _make_directories(directory, self._files)
        self._lock = StoreLock(directory, LockHolder(os.getpid(), program, endpoint))
        try:
            self._open(cache_bytes, segment_size)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, cache_bytes: int, segment_size: int) -> None:
        _refuse_lost_index(self.directory)
        self._index = Index(self.directory, os.urandom(16))
        try:
            self._files.sync_directory(self.directory)
            self._state = self._index.state()
            rows = self._index.segments()
            self._segments = Segments(
                self.directory / SEGMENTS_NAME,
                self._state.store_id,
                self._files,
                {row.number: row.length for row in rows},
                size=segment_size,
            )
        except BaseException:
            self._index.close()
            raise
        self._living = {row.number: row.living for row in rows}
        self._dead: list[int] = []  # segments whose rows the next group deletes, and then the files
        self._requests = OrderedDict.fromkeys(self._index.requests())
        self._numbers = itertools.count(self._index.next_id())
        self._cache = BlockCache(self._index, cache_bytes)
        self._events = EventLog(self._state.cursor)
        self._leases = Leases(self._index.fences(), self._index.write_fence)
        self._lease_lock = threading.Lock()
        self._write_lock = threading.Lock()  # taken before any other lock
        self._waiting: list[_Ticket] = []
        self._led = False  # somebody works on a group, and will look who waits
        self._waiting_lock = threading.Lock()
        self._broken: StoreError | None = None
        self._closed = False

    # reading

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        self._check_open()
        return [
            _head_answer(want, row, small)
            for want, (row, small) in zip(wants, self._cache.read_heads(wants), strict=True)
        ]

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        self._check_open()
        for _ in range(3):
            found = self._cache.load(block)
            if found is None:
                return Records(0, [None] * len(refs))
            if found.head.inline:
                head, small = self._index.head_and_small(block)
                if head is not None and head.inline:
                    return Records(head.version, [None if r.level or r.index else small for r in refs])
                self._cache.drop(block)
                continue
            try:
                return Records(found.head.version, self._read_placed(found, refs))
            except FileNotFoundError:
                self._cache.drop(block)  # a compaction moved what this state names
        raise StoreError(
            Kind.INTEGRITY, f"a segment that holds block {block.hex()} is missing in {self._segments.directory}"
        )

    def _read_placed(self, block: Block, refs: Sequence[RecordRef]) -> list[bytes | memoryview | None]:
        levels = block.levels
        found: list[bytes | memoryview | None] = []
        at, end = 0, len(refs)
        while at < end:
            number, first = refs[at].level, refs[at].index
            level = levels.get(number) if levels else None
            run = None if level is None else level.find(first)
            if run is None:
                found.append(None)
                at += 1
                continue
            stop = at + 1
            limit = min(end, at + run.end - first)
            while stop < limit and refs[stop].index == first + stop - at and refs[stop].level == number:
                stop += 1
            part = run.cut(first, first + stop - at)
            data = self._segments.read(part.segment, part.bytes, part.offset)
            at = stop
            if part.length == 1:
                found.append(data)
            else:
                view, size = memoryview(data), part.size
                found += [view[start : start + size] for start in range(0, (part.length - 1) * size, size)]
                found.append(view[(part.length - 1) * size :])
        return found

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        self._check_open()
        return self._index.scan(after, limit)

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        def take_wanted() -> list[bytes]:
            with self._lease_lock:
                return self._leases.take_wanted(holder, self._clock())

        self._check_open()
        return self._events.wait(cursor, take_wanted, timeout)

    def status(self) -> StoreStatus:
        self._check_open()
        usage = shutil.disk_usage(self.directory)
        return StoreStatus(self._state.blocks, self._state.stored, usage.total, usage.free)

    # changing

    def commit(self, commit: Commit) -> CommitAnswer:
        check_commit_shape(commit)
        ticket = _Ticket(commit)
        with self._waiting_lock:
            self._waiting.append(ticket)
            leads, self._led = not self._led, True
        if not leads:
            ticket.wake.acquire()
        answer = ticket.outcome()
        if answer is None:
            self._lead()
            answer = ticket.outcome()
        assert answer is not None
        return answer

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        self._check_open()
        with self._lease_lock:
            now = self._clock()
            answer = None if self._leases.needs_fence(request, now) else self._leases.request(request, now)
        if answer is None:
            with self._write_lock, self._lease_lock:
                self._check_writable()
                answer = self._leases.request(request, self._clock())
        self._events.notify()
        return answer

    def close(self) -> None:
        with self._write_lock:
            if self._closed:
                return
            self._closed = True
            self._events.close()
            self._index.close()
            self._segments.close()
            self._lock.release()

    def _lead(self) -> None:
        """Commit all that waits, wake who waited, and hand the lead to the first of those who came meanwhile."""
        with self._write_lock:
            with self._waiting_lock:
                tickets, self._waiting = self._waiting, []
            try:
                self._commit_group(tickets)
            finally:
                with self._waiting_lock:
                    successor = self._waiting[0] if self._waiting else None
                    self._led = successor is not None
                for ticket in tickets:
                    ticket.wake.release()
                if successor is not None:
                    successor.wake.release()

    def _commit_group(self, tickets: list[_Ticket]) -> None:
        """Bring some commits to their end; every ticket has an answer or an error afterwards."""
        try:
            self._check_writable()
            answers = self._write_group([ticket.commit for ticket in tickets])
        except StoreError as error:
            for ticket in tickets:
                ticket.error = error
            return
        for ticket, answer in zip(tickets, answers, strict=True):
            ticket.answer = answer
        if self._index.log_size() > CHECKPOINT_BYTES:
            self._checkpoint()

    def _write_group(self, commits: list[Commit]) -> list[CommitAnswer]:
        batch = self._segments.batch()
        group = Group(self._source(), batch)
        answers = [group.add(commit) for commit in commits]
        if not group.events:
            return answers
        changes = group.changes(self._dead)
        batch.sync()
        try:
            self._index.write(changes)
        except StoreError as error:
            if error.kind is not Kind.NO_SPACE:
                self._broken = error
            raise
        batch.adopt()
        self._publish(group, changes.state)
        self._bury(group.living())
        return answers

    def _publish(self, group: Group, state: State) -> None:
        """Show what is durable now to everyone."""
        self._state = state
        self._cache.publish(group.published())
        self._requests.update(dict.fromkeys(group.requests))
        while len(self._requests) > REPLAY_RECORDS:
            self._requests.popitem(last=False)
        self._events.append(group.events)

    def _bury(self, living: Mapping[int, int]) -> None:
        """Delete the files whose rows are gone, and note segments that no run names any more for the next group."""
        dead, self._dead = self._dead, []
        for number in dead:
            self._living.pop(number, None)
            self._segments.forget(number)
        self._living.update(living)
        self._dead = [n for n, size in self._living.items() if not size and n != self._segments.active]

    def _source(self) -> Source:
        return Source(
            state=self._state,
            load_heads=self._cache.load_heads,
            load=self._cache.load,
            load_small=self._load_small,
            known_request=self._requests.__contains__,
            fence=self._leases.fence,
            living=self._living,
            next_number=self._numbers.__next__,
        )

    def _load_small(self, block: bytes) -> bytes:
        small = self._index.head_and_small(block)[1]
        if small is None:
            raise StoreError(Kind.INTEGRITY, f"the index {self._index.path} lost the small record of {block.hex()}")
        return small

    def _checkpoint(self) -> None:
        """Shorten the index's log. What was committed is durable whatever becomes of this."""
        try:
            self._index.checkpoint()
        except StoreError as error:
            self._broken = error

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(Kind.UNREACHABLE, f"the store {self.directory} was closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self._broken is not None:
            raise StoreError(Kind.IO, f"{self._broken.message} (earlier)", "close the store and open it again")


def _head_answer(want: HeadWant, row: HeadRow | None, small: bytes | None) -> HeadAnswer:
    if row is None:
        return Absent()
    if row.version == want.known:
        return Unchanged()
    return Found(Head(want.block, row.version, row.signed, row.removed, small))


def _make_directories(directory: Path, files: Files) -> None:
    try:
        for path in (directory, directory / SEGMENTS_NAME):
            if not path.is_dir():
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                files.sync_directory(path.parent)
    except OSError as error:
        raise StoreError(Kind.IO, f"cannot make the store {directory}: {error.strerror}") from error


def _refuse_lost_index(directory: Path) -> None:
    """Segments without an index are a damaged store, not a new one."""
    if not (directory / INDEX_NAME).exists() and any((directory / SEGMENTS_NAME).glob("*.seg")):
        raise StoreError(
            Kind.INTEGRITY,
            f"the store {directory} has segments, but its index {INDEX_NAME} is gone",
            "restore the index from a backup",
        )
