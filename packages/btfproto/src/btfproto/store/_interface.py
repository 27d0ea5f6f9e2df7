"""The store: where blocks lie. One small synchronous, thread-safe interface, and the values that it speaks of.

A store keeps, per block, one *head* (an opaque signed header with its version) and numbered *records*: the sealed
sectors at level 0 and the Merkle nodes at the levels above. It understands none of them. It promises:

- **Atomic:** a commit is applied whole or not at all, over all of its blocks.
- **Durable:** when `commit` returns `Committed`, it survives a power cut.
- **Compare-and-set:** each change names the version that it replaces; a mismatch changes nothing and is an answer
  (`Conflict`), not an exception.
- **Idempotent:** a commit carries a request id; a repetition of one already applied answers `Committed` again and
  changes nothing (replay records are kept for at least the newest `REPLAY_RECORDS` requests).

It does *not* check signatures: the server does so before it commits (`btfproto.store.check`), the client at reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import msgspec
from btserde import U8, U32, U64, Fixed, View

BlockKey = Annotated[bytes, Fixed[16]]  # a block id as raw bytes, as it stands on the wire

REPLAY_RECORDS = 4096  #: replay records that every store keeps at the least
LEASE_SECONDS = 10.0  #: default time to live of a lease: how long a dead holder can hold others up


class RecordRef(msgspec.Struct, frozen=True, array_like=True):
    """Names one record of a block: level 0 is sealed sectors, level n ≥ 1 the nth level of Merkle nodes."""

    level: U8
    index: U64


class RecordRun(msgspec.Struct, frozen=True):
    """Consecutive records of one level, written together. `records[i]` is the record `first + i`; never empty bytes."""

    level: U8
    first: U64
    records: list[View]


class RecordHole(msgspec.Struct, frozen=True):
    """`count` consecutive records from `first` on that cease to exist (punched, truncated)."""

    level: U8
    first: U64
    count: U64


class Head(msgspec.Struct, frozen=True):
    """The newest head of a block. `signed` is an encoded `btlib.block.SignedHeader`; the store only keeps it."""

    block: BlockKey
    version: U64
    signed: bytes
    removed: bool = False  #: a tombstone: the block has no records any more
    #: Record (0, 0), if the block has no other and the store keeps it beside the head. None says nothing: read it.
    small: bytes | None = None


class HeadWant(msgspec.Struct, frozen=True):
    """Asks for a head, unless its version is still `known` (0: always send)."""

    block: BlockKey
    known: U64 = 0


class Unchanged(msgspec.Struct, frozen=True, tag=1):
    """The head still has the version that the caller knows."""


class Found(msgspec.Struct, frozen=True, tag=2):
    head: Head


class Absent(msgspec.Struct, frozen=True, tag=3):
    """No head of this block was ever committed (a removed block answers `Found` with its tombstone)."""


HeadAnswer = Unchanged | Found | Absent


class Records(msgspec.Struct, frozen=True):
    """Answer of `read_records`: one entry a reference (None: a hole), and the head's version that all belong to."""

    version: U64
    records: list[View | None]


class BlockChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit does to one block: replaces the head, then applies `holes`, then `runs`.

    `expected` is the version that the new head replaces (0: the block is new). `removed` drops all records and leaves
    the head as a tombstone, so that an old head cannot come back.
    """

    block: BlockKey
    expected: U64
    version: U64
    signed: bytes
    removed: bool = False
    holes: list[RecordHole] = []
    runs: list[RecordRun] = []


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A set of block changes that become true together.

    `fences` names the leases this commit relies on: pairs of lease key and fence. A fence older than the key's current
    one refuses the commit (`Fenced`).
    """

    request: Fixed[16]
    changes: list[BlockChange]
    fences: list[tuple[BlockKey, U64]] = []


class Committed(msgspec.Struct, frozen=True, tag=1):
    """Applied and durable. `cursor` is the store's event cursor after it."""

    cursor: U64


class Conflict(msgspec.Struct, frozen=True, tag=2):
    """Nothing was changed: `block` is at version `found`, not at the expected one."""

    block: BlockKey
    found: U64


class Fenced(msgspec.Struct, frozen=True, tag=3):
    """Nothing was changed: the lease `key` has since been given to another holder, under fence `current`."""

    key: BlockKey
    current: U64


CommitAnswer = Committed | Conflict | Fenced


class HeadSummary(msgspec.Struct, frozen=True):
    """One line of a scan: enough for scrub and collection without reading records."""

    block: BlockKey
    version: U64
    removed: bool
    stored_bytes: U64


class Change(msgspec.Struct, frozen=True):
    block: BlockKey
    version: U64


class Events(msgspec.Struct, frozen=True):
    """What happened after a cursor. With `lost`, events in between are gone: the caller drops all that it cached.

    `wanted` lists lease keys that somebody waits for and that the asking holder holds: flush and release them.
    """

    cursor: U64
    changes: list[Change]
    wanted: list[BlockKey] = []
    lost: bool = False


class Acquire(msgspec.Struct, frozen=True, tag=1):
    """Takes (or renews: same holder) the exclusive lease `key` for `milliseconds`."""

    key: BlockKey
    holder: Fixed[16]
    milliseconds: U32


class Release(msgspec.Struct, frozen=True, tag=2):
    key: BlockKey
    holder: Fixed[16]


LeaseRequest = Acquire | Release


class LeaseHeld(msgspec.Struct, frozen=True, tag=1):
    """Yours until `milliseconds` from now. `fence` grows whenever the holder changes; a renewal keeps it."""

    fence: U64
    milliseconds: U32


class LeaseBusy(msgspec.Struct, frozen=True, tag=2):
    """Another holds it for at most `milliseconds` more; it has been told (`Events.wanted`)."""

    milliseconds: U32


class LeaseFree(msgspec.Struct, frozen=True, tag=3):
    """Answer to a release, also when the lease was not held."""


LeaseAnswer = LeaseHeld | LeaseBusy | LeaseFree


class StoreStatus(msgspec.Struct, frozen=True):
    """Sizes in bytes; `capacity` and `available` are those of the underlying device."""

    blocks: U64
    stored_bytes: U64
    capacity: U64
    available: U64


class Place(NamedTuple):
    """Where a record lies in a file of this machine: as long as `owner` lives, the descriptor is open."""

    descriptor: int
    offset: int
    length: int
    owner: object


class Stretches(NamedTuple):
    """Runs of records in files of this machine; open as long as `owners` lives.

    Each is (first, length, descriptor, offset, size, last): `length` records from number `first` on, one after another
    from `offset`, of `size` bytes, the last one of `last`. The first and the last run may reach beyond what was asked.
    """

    runs: tuple[tuple[int, int, int, int, int, int], ...]
    owners: tuple[object, ...]


@runtime_checkable
class Places(Protocol):
    """A store whose records are read without copies, where that goes."""

    def place(self, block: bytes, index: int) -> Place | None:
        """Where record (0, index) of the newest version lies; None where `read_records` has to be asked."""
        ...

    def stretches(self, block: bytes, first: int, end: int) -> Stretches | None:
        """Where records (0, first) up to `end` lie; those that are missing in it do not exist. None as above."""
        ...

    def on_move(self, moved: Callable[[], None]) -> None:
        """Have `moved` called, from any thread, when a file went whose `owners` should not be kept any longer."""
        ...


class Store(Protocol):
    """Keeps heads and records of blocks. Thread-safe; every method may be called from any thread.

    Raises `btfproto.errors.StoreError` (with a `Kind`: INVALID for a malformed commit, NO_SPACE, IO, INTEGRITY for a
    damaged store, UNREACHABLE, also when closed, FORBIDDEN, DEADLINE) and nothing else. After an IO error in `commit`
    the effect is unknown until the same request is repeated with the same id.
    """

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        """Newest heads, one answer a want, in order. Sees every commit that returned before the call began."""
        ...

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        """Records of one block as of one moment (all belong to `Records.version`; 0 with only holes if absent)."""
        ...

    def commit(self, commit: Commit) -> CommitAnswer:
        """Apply a set of changes atomically; returns when durable. Concurrent commits may share one sync."""
        ...

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        """Up to `limit` heads with block id > `after` in order of id (tombstones included). Not a snapshot."""
        ...

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        """Wait up to `timeout` seconds for events after `cursor` (0: answer at once with the current cursor)."""
        ...

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        """Acquire, renew or release; never waits. Leases of an embedded store live in memory; fences are durable."""
        ...

    def status(self) -> StoreStatus: ...

    def close(self) -> None:
        """Release all resources; idempotent. Everything acknowledged is already durable."""
        ...
