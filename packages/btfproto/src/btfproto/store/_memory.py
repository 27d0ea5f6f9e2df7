"""`MemoryStore`: a store in a dictionary, for tests and for trying things out. Nothing survives the process.

It keeps every promise of `Store` but durability, and is short enough to serve as the model of the others.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from btlib.kinds import Kind

from ..errors import StoreError
from ._events import EventLog
from ._interface import (
    REPLAY_RECORDS,
    Absent,
    BlockChange,
    Change,
    Commit,
    CommitAnswer,
    Committed,
    Conflict,
    Events,
    Fenced,
    Found,
    Head,
    HeadAnswer,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseRequest,
    RecordHole,
    RecordRef,
    Records,
    StoreStatus,
    Unchanged,
)
from ._leases import Leases
from ._limits import INLINE_LIMIT
from ._marks import STORE_ID_SIZE, StoreMark
from ._snapshots import (
    MAX_SNAPSHOTS,
    HeadDigest,
    Past,
    ReadOnlyStore,
    Snapshot,
    check_snapshot_name,
    existing_snapshot,
    too_many_snapshots,
    unknown_snapshot,
)
from ._validate import check_commit_shape

UNBOUNDED = 2**40  #: what `status` reports where no capacity was given

RecordTable = dict[tuple[int, int], bytes]


class _Block(msgspec.Struct, frozen=True):
    head: Head
    records: RecordTable

    @property
    def stored_bytes(self) -> int:
        return sum(map(len, self.records.values()))


class MemoryStore:
    """See `Store`. A commit that would leave more than `capacity` bytes of records is refused with NO_SPACE."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, capacity: int | None = None) -> None:
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.Lock()  # taken before the log's and the lease lock, never after
        self._lease_lock = threading.Lock()
        self._blocks: dict[bytes, _Block] = {}
        self._snapshots: dict[str, tuple[Snapshot, dict[bytes, _Block]]] = {}
        self._requests: OrderedDict[bytes, int] = OrderedDict()  # each with the cursor after it
        self._events = EventLog(1)
        self._id = os.urandom(STORE_ID_SIZE)
        self._leases = Leases({}, lambda key, holder, fence: None)
        self._closed = False

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        with self._open():
            return [_read_head(self._blocks, want) for want in wants]

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        with self._open():
            return _read_records(self._blocks.get(block), refs)

    def commit(self, commit: Commit) -> CommitAnswer:
        check_commit_shape(commit)
        with self._open():
            refusal = self._refusal(commit)
            if refusal is not None:
                return refusal
            changed = {change.block: _apply(self._blocks.get(change.block), change) for change in commit.changes}
            self._check_capacity(changed)
            self._blocks.update(changed)
            self._requests[commit.request] = self._events.cursor + 1
            if len(self._requests) > REPLAY_RECORDS:
                self._requests.popitem(last=False)
            self._events.append([[Change(change.block, change.version) for change in commit.changes]])
            return Committed(self._events.cursor)

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        with self._open():
            return [_summary(block) for block in _page(self._blocks, after, limit)]

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        def take_wanted() -> list[bytes]:
            with self._lease_lock:
                return self._leases.take_wanted(holder, self._clock())

        return self._events.wait(cursor, take_wanted, timeout)

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        with self._open(), self._lease_lock:
            answer = self._leases.request(request, self._clock())
        self._events.notify()
        return answer

    def create_snapshot(self, name: str, taken: int) -> Snapshot:
        check_snapshot_name(name)
        with self._open():
            if name in self._snapshots:
                raise existing_snapshot(name)
            if len(self._snapshots) >= MAX_SNAPSHOTS:
                raise too_many_snapshots()
            snapshot = Snapshot(name, self._events.cursor, taken)
            self._snapshots[name] = (snapshot, dict(self._blocks))
            return snapshot

    def delete_snapshot(self, name: str) -> None:
        with self._open():
            if self._snapshots.pop(name, None) is None:
                raise unknown_snapshot(name)

    def snapshots(self) -> list[Snapshot]:
        with self._open():
            there = sorted(self._snapshots.values(), key=lambda pair: (pair[0].cursor, pair[0].taken, pair[0].name))
            tables = [self._blocks, *(blocks for _, blocks in there)]
            holders = Counter(record for blocks in tables for record in {id(r): r for r in _records(blocks)})
            kept = [sum(len(r) for r in _records(blocks) if holders[id(r)] == 1) for blocks in tables[1:]]
            return [
                msgspec.structs.replace(snapshot, kept=size) for (snapshot, _), size in zip(there, kept, strict=True)
            ]

    def at(self, name: str) -> Past:
        with self._open():
            if name not in self._snapshots:
                raise unknown_snapshot(name)
            return _MemoryPast(self._snapshots[name][0], self)

    def as_of(self, snapshot: Snapshot) -> dict[bytes, _Block]:
        """All blocks as they were. Raises StoreError where it was deleted."""
        with self._open():
            found = self._snapshots.get(snapshot.name)
            if found is None or found[0] is not snapshot:
                raise unknown_snapshot(snapshot.name)
            return found[1]

    @property
    def name(self) -> str:
        """See `Marked`."""
        return "in memory"

    def mark(self, at: int = 0) -> StoreMark:
        """See `Marked`."""
        with self._open():
            cursor = self._events.cursor
            wanted = at or cursor
            request = next((request for request, after in self._requests.items() if after == wanted), None)
            return StoreMark(self._id, cursor, request)

    def status(self) -> StoreStatus:
        with self._open():
            used = self._used()
            capacity = UNBOUNDED if self._capacity is None else self._capacity
            return StoreStatus(_living(self._blocks), used, capacity, max(capacity - used, 0))

    def close(self) -> None:
        self._closed = True
        self._events.close()

    def _open(self) -> threading.Lock:
        if self._closed:
            raise StoreError(Kind.UNREACHABLE, "the store was closed")
        return self._lock

    def _refusal(self, commit: Commit) -> CommitAnswer | None:
        if commit.request in self._requests:
            return Committed(self._events.cursor)
        for key, fence in commit.fences:
            if fence < self._leases.fence(key):
                return Fenced(key, self._leases.fence(key))
        for change in commit.changes:
            found = self._blocks.get(change.block)
            version = found.head.version if found else 0
            if version != change.expected:
                return Conflict(change.block, version)
        return None

    def _used(self) -> int:
        return sum(block.stored_bytes for block in self._blocks.values())

    def _check_capacity(self, changed: dict[bytes, _Block]) -> None:
        if self._capacity is None:
            return
        growth = sum(block.stored_bytes for block in changed.values())
        growth -= sum(self._blocks[block].stored_bytes for block in changed if block in self._blocks)
        if growth > 0 and self._used() + growth > self._capacity:
            raise StoreError(Kind.NO_SPACE, f"the store is full ({self._capacity} bytes)")


class _MemoryPast(ReadOnlyStore):
    """See `Past`."""

    def __init__(self, snapshot: Snapshot, store: MemoryStore) -> None:
        super().__init__(snapshot)
        self._store = store

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        blocks = self._store.as_of(self.snapshot)
        return [_read_head(blocks, want) for want in wants]

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        return _read_records(self._store.as_of(self.snapshot).get(block), refs)

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        return [_summary(block) for block in _page(self._store.as_of(self.snapshot), after, limit)]

    def digests(self, after: bytes | None, limit: int) -> list[HeadDigest]:
        heads = [block.head for block in _page(self._store.as_of(self.snapshot), after, limit)]
        return [HeadDigest(head.block, head.version, hashlib.sha256(head.signed).digest()) for head in heads]

    def status(self) -> StoreStatus:
        blocks, device = self._store.as_of(self.snapshot), self._store.status()
        stored = sum(block.stored_bytes for block in blocks.values())
        return StoreStatus(_living(blocks), stored, device.capacity, device.available)

    def close(self) -> None:
        """Nothing to release."""


def _read_head(blocks: Mapping[bytes, _Block], want: HeadWant) -> HeadAnswer:
    found = blocks.get(want.block)
    if found is None:
        return Absent()
    return Unchanged() if found.head.version == want.known else Found(found.head)


def _read_records(found: _Block | None, refs: Sequence[RecordRef]) -> Records:
    if found is None:
        return Records(0, [None] * len(refs))
    return Records(found.head.version, [found.records.get((ref.level, ref.index)) for ref in refs])


def _page(blocks: Mapping[bytes, _Block], after: bytes | None, limit: int) -> list[_Block]:
    return [blocks[block] for block in sorted(block for block in blocks if after is None or block > after)[:limit]]


def _living(blocks: Mapping[bytes, _Block]) -> int:
    return sum(not block.head.removed for block in blocks.values())


def _records(blocks: Mapping[bytes, _Block]) -> Iterator[bytes]:
    for block in blocks.values():
        yield from block.records.values()


def _apply(old: _Block | None, change: BlockChange) -> _Block:
    records = {} if old is None or change.removed else dict(old.records)
    for hole in change.holes:
        _punch(records, hole)
    for run in change.runs:
        records.update({(run.level, run.first + i): _own(record) for i, record in enumerate(run.records)})
    first = records.get((0, 0))
    small = first if first is not None and len(records) == 1 and len(first) <= INLINE_LIMIT else None
    return _Block(Head(change.block, change.version, bytes(change.signed), change.removed, small), records)


def _own(record: bytes | memoryview) -> bytes:
    """A copy, so that what was written by each commit can be told apart."""
    return bytes(memoryview(record))


def _punch(records: RecordTable, hole: RecordHole) -> None:
    end = hole.first + hole.count
    for key in [key for key in records if key[0] == hole.level and hole.first <= key[1] < end]:
        del records[key]


def _summary(block: _Block) -> HeadSummary:
    return HeadSummary(block.head.block, block.head.version, block.head.removed, block.stored_bytes)
