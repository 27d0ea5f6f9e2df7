"""`EmbeddedStore`: a store in a directory of this machine. No service to start; one process at a time.

    <directory>/lock               who has it open (`_lock`)
               /index.sqlite       heads, small bodies, placement (`_index`)
               /segments/*.seg     all other records, append-only (`_segments`)

Reading happens here; changing is the `Writer`'s. A read takes an immutable state of a block and then reads from
segments that never change, so it needs no lock and never waits for a commit.

See `docs/spec/store.md` for the formats and the reasoning about crashes.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from btlib.kinds import Kind

from ..errors import StoreError
from ._cache import BlockCache
from ._events import EventLog
from ._files import Files, SystemFiles
from ._full_device import FullDevice, usual_segment_size
from ._group import Block
from ._index import INDEX_NAME, Index
from ._interface import (
    Commit,
    CommitAnswer,
    Events,
    HeadAnswer,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseRequest,
    Place,
    RecordRef,
    Records,
    Store,
    StoreStatus,
    Stretches,
)
from ._leases import Leases
from ._lock import LockHolder, StoreLock
from ._marks import StoreMark
from ._past import EmbeddedPast, head_answer
from ._placement import Level
from ._reserve import Reserve
from ._scrub import scrub
from ._segments import OpenSegment, Segments
from ._snapshots import Past, Snapshot, check_snapshot_name, unknown_snapshot
from ._validate import check_commit_shape
from ._writer import CHECKPOINT_BYTES, Writer

SEGMENTS_NAME = "segments"
CACHE_BYTES = 16 * 2**20  #: heads and placements kept in memory


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
        segment_size: int | None = None,
        damaged: bool = False,
    ) -> None:
        """Open the store in `directory`, or make one there.

        `program` and `endpoint` are what a second opener is told. Segments are smaller on a small device, unless
        `segment_size` says how large they are. Raises StoreError: BUSY where another process has it, INTEGRITY where
        the index or a segment is damaged, IO, NOT_SUPPORTED for a newer format.

        With `damaged`, segments may be missing, cut or damaged: none is touched, what is left can be read, and commits
        are refused (READ_ONLY).
        """
        self.directory = directory
        self._clock = clock
        self._files = SystemFiles() if files is None else files
        self._closed = StoreError(Kind.UNREACHABLE, f"the store {directory} was closed")
        self._is_closed = False
        self._damaged = damaged
        _make_directories(directory, self._files)
        self._reserve = Reserve(directory)
        self._lock = StoreLock(directory, LockHolder(os.getpid(), program, endpoint))
        try:
            if self._reserve.free() < self._reserve.size // 2:
                self._reserve.release()  # to open the index needs some
            self._open(cache_bytes, segment_size or usual_segment_size(directory))
        except BaseException:
            self._lock.release()
            raise

    def _open(self, cache_bytes: int, segment_size: int) -> None:
        _refuse_lost_index(self.directory)
        self._index = Index(self.directory, os.urandom(16))
        try:
            self._files.sync_directory(self.directory)
            state, rows = self._index.state(), self._index.segments()
            self._id = state.store_id
            lengths = {row.number: row.length for row in rows}
            self._segments = Segments(
                self.directory / SEGMENTS_NAME,
                state.store_id,
                self._files,
                lengths,
                size=segment_size,
                lenient=self._damaged,
            )
            self._cache = BlockCache(self._index, cache_bytes)
            self._events = EventLog(state.cursor)
            self._leases = Leases(self._index.fences(), self._index.write_fence)
            self._lease_lock = threading.Lock()
            log_bytes = min(CHECKPOINT_BYTES, self._reserve.size // 2)
            self._writer = Writer(self._index, self._segments, self._cache, self._events, self._leases, rows, log_bytes)
            self._device = FullDevice(self._reserve, self._writer, spare=not self._damaged)
        except BaseException:
            self._index.close()
            raise

    # reading

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        self._check_open()
        found = self._cache.read_heads(wants)
        return [head_answer(want, row, small) for want, (row, small) in zip(wants, found, strict=True)]

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        if self._is_closed:
            raise self._closed
        for _ in range(3):
            found = self._cache.load(block)
            if found is None:
                return Records(0, [None] * len(refs))
            try:
                if not found.head.inline:
                    return Records(found.head.version, self._read_placed(found, refs))
                head, small = self._index.heads_and_smalls([block]).get(block, (None, None))
                if head is not None and head.inline:
                    return Records(head.version, [None if r.level or r.index else small for r in refs])
            except FileNotFoundError:
                pass  # a compaction moved what this state names
            self._cache.drop(block)
        raise StoreError(Kind.INTEGRITY, f"{self._segments.directory} lacks a segment with block {block.hex()}")

    def _read_placed(self, block: Block, refs: Sequence[RecordRef]) -> list[bytes | memoryview | None]:
        """Records from segments; consecutive ones of a run in one read, cut into views."""
        levels = block.levels
        if len(refs) == 1:
            return [self._read_one(levels, refs[0])]
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
            data = self._segments.read(part.segment, part.data_size, part.offset)
            found += [data] if part.length == 1 else part.split(data)
            at = stop
        return found

    def _read_one(self, levels: Mapping[int, Level] | None, ref: RecordRef) -> bytes | None:
        level = levels.get(ref.level) if levels else None
        index = ref.index
        run = None if level is None else level.find(index)
        if run is None:
            return None
        first, length, segment, offset, size, last, _ = run
        at = index - first
        return self._segments.read(segment, last if at == length - 1 else size, offset + at * size)

    def place(self, block: bytes, index: int) -> Place | None:
        """See `Places`."""
        if self._is_closed or type(self._files) is not SystemFiles:
            return None
        found = self._cache.load(block)
        level = found.levels.get(0) if found is not None and found.levels else None
        run = None if level is None else level.find(index)
        if run is None:
            return None
        first, length, number, offset, size, last, _ = run
        try:
            segment = self._segments.segment(number)
        except FileNotFoundError:  # a compaction moved what this state names
            return None
        at = index - first
        return Place(segment.fd, offset + at * size, last if at == length - 1 else size, segment)

    def stretches(self, block: bytes, first: int, end: int) -> Stretches | None:
        """See `Places`."""
        if self._is_closed or type(self._files) is not SystemFiles:
            return None
        found = self._cache.load(block)
        level = found.levels.get(0) if found is not None and found.levels else None
        if level is None:
            return None
        runs: list[tuple[int, int, int, int, int, int]] = []
        owners: dict[int, OpenSegment] = {}
        try:
            for run in level.between(first, end):
                owner = owners.get(run.segment)
                if owner is None:
                    owner = owners[run.segment] = self._segments.segment(run.segment)
                runs.append((run.first, run.length, owner.fd, run.offset, run.size, run.last))
        except FileNotFoundError:  # a compaction moved what this state names
            return None
        return Stretches(tuple(runs), tuple(owners.values()))

    def on_move(self, moved: Callable[[], None]) -> None:
        """See `Places`."""
        self._segments.on_forget.append(moved)

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        self._check_open()
        return self._index.scan(after, limit)

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        def take_wanted() -> list[bytes]:
            with self._lease_lock:
                return self._leases.take_wanted(holder, self._clock())

        self._check_open()
        return self._events.wait(cursor, take_wanted, timeout)

    def snapshots(self) -> list[Snapshot]:
        """See `Snapshots`."""
        self._check_open()
        return self._index.snapshots()

    def at(self, name: str) -> Past:
        """See `Snapshots`."""
        self._check_open()
        snapshot = self._index.snapshot(name)
        if snapshot is None:
            raise unknown_snapshot(name)
        return EmbeddedPast(snapshot, self._index, self._read_placed, self._check_open, self.status)

    @property
    def name(self) -> str:
        """See `Marked`."""
        return str(self.directory)

    def mark(self, at: int = 0) -> StoreMark:
        """See `Marked`."""
        self._check_open()
        cursor = self._events.cursor
        return StoreMark(self._id, cursor, self._index.request_at(at or cursor))

    def status(self) -> StoreStatus:
        self._check_open()
        usage = shutil.disk_usage(self.directory)
        state = self._writer.state
        return StoreStatus(state.blocks, state.stored, usage.total, self._device.free())

    def scrub(self) -> Iterator[StoreError]:
        """Read everything, and tell of each damaged record or head, with its file. Raises StoreError.

        Of snapshots, what is not there now as well.
        """
        yield from scrub(self, self._place)
        newer: Store = self
        for snapshot in reversed(self.snapshots()):
            past = self.at(snapshot.name)
            yield from scrub(past, lambda *_, name=snapshot.name: f"the snapshot {name!r}", newer)
            newer = past

    def _place(self, block: bytes, level: int, index: int) -> str:
        """Where a record lies, for people."""
        found = self._cache.load(block)
        if found is None or found.head.inline:
            return str(self._index.path)
        place = (found.levels or {}).get(level, Level()).find(index)
        if place is None:
            return "no segment"
        record = place.cut(index, index + 1)
        return f"{self._segments.path(record.segment)} (byte {record.offset})"

    # changing

    def commit(self, commit: Commit) -> CommitAnswer:
        check_commit_shape(commit)
        self._check_undamaged()
        return self._device.commit(commit)

    def create_snapshot(self, name: str, taken: int) -> Snapshot:
        """See `Snapshots`."""
        check_snapshot_name(name)
        self._check_undamaged()
        return self._writer.create_snapshot(name, taken)

    def delete_snapshot(self, name: str) -> None:
        """See `Snapshots`."""
        self._check_undamaged()
        self._device.giving_back(lambda: self._writer.delete_snapshot(name))

    def compactable(self, share: float) -> tuple[int, int]:
        """Of segments with less than `share` alive: how many bytes `compact` would move, and how many give back."""
        return self._writer.compactable(share)

    def compact(self, share: float) -> Iterator[int]:
        """Give back the dead bytes of these segments, a step at a time; each tells how many bytes it moved.

        Each step is durable; commits of others go on in between. Raises StoreError.
        """
        return self._device.compact(share)

    def forget_tombstones(self, tombstones: Sequence[tuple[bytes, int]]) -> int:
        """Forget removed blocks, given with the versions of their tombstones; how many. Raises StoreError.

        From then on the store takes an old head of such a block for that of a new one.
        """
        return self._device.giving_back(lambda: self._writer.forget_tombstones(tombstones))

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        self._check_open()
        with self._lease_lock:
            now = self._clock()
            answer = None if self._leases.needs_fence(request, now) else self._leases.request(request, now)
        if answer is None:
            answer = self._device.giving_back(lambda: self._lease_with_fence(request))
        self._events.notify()
        return answer

    def _lease_with_fence(self, request: LeaseRequest) -> LeaseAnswer:
        with self._writer.exclusive(), self._lease_lock:
            return self._leases.request(request, self._clock())

    def close(self) -> None:
        if self._writer.stop(self._closed):
            self._is_closed = True
            self._events.close()
            self._index.close()
            self._segments.close()
            self._lock.release()

    def _check_undamaged(self) -> None:
        if self._damaged:
            hint = f"keep what is whole: python -m btfproto.store.rebuild {self.directory}"
            raise StoreError(Kind.READ_ONLY, f"the store {self.directory} is damaged, and opened to be read", hint)

    def _check_open(self) -> None:
        if self._is_closed:
            raise self._closed


def _make_directories(directory: Path, files: Files) -> None:
    try:
        wanted = [*reversed(directory.absolute().parents), directory, directory / SEGMENTS_NAME]
        for path in wanted:
            if not path.is_dir():
                path.mkdir(mode=0o700, exist_ok=True)
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
