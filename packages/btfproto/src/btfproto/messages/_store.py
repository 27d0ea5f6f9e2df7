"""Requests to a store and their replies, one pair a method of `Store`.

A request travels as the body of one call to `<server path>/store` (`Watch` to `<server path>/store/watch`), its reply
as the answer's body. Tags are part of the wire format: add at the end, never renumber.
"""

from __future__ import annotations

import msgspec
from btserde import U32, U64, Fixed

from btfproto.provider import Lock
from btfproto.store import (
    BlockKey,
    Commit,
    CommitAnswer,
    Events,
    HeadAnswer,
    HeadDigest,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseRequest,
    RecordRef,
    Records,
    Snapshot,
    StoreMark,
    StoreStatus,
)

from ._failure import Failed

MAX_HEADS = 1024  #: heads of one request: 16 MiB with the largest small bodies
MAX_RECORDS = 1024  #: records of one request: 16 MiB of sectors of the default size
MAX_REPLY_BYTES = 48 * 1024 * 1024  #: of heads or records in one reply; with more, a client asks in smaller parts
MAX_SCAN = 4096  #: lines of one scan
MAX_CHANGES = 65_536  #: block changes of one commit
MAX_COMMIT_BYTES = 48 * 1024 * 1024  #: stored bytes of one commit: below the message limit, above any sensible group
MAX_WATCH_MILLISECONDS = 60_000  #: how long a watch may wait: shorter than what middle boxes cut
MAX_LEASE_MILLISECONDS = 60_000  #: how long a dead client may hold others up


class ReadHeads(msgspec.Struct, frozen=True, tag=1):
    wants: list[HeadWant]


class ReadRecords(msgspec.Struct, frozen=True, tag=2):
    block: BlockKey
    refs: list[RecordRef]


class DoCommit(msgspec.Struct, frozen=True, tag=3):
    commit: Commit


class Scan(msgspec.Struct, frozen=True, tag=4):
    after: BlockKey | None
    limit: U32


class Watch(msgspec.Struct, frozen=True, tag=5):
    """A long poll: answered when something happens, at the latest after `milliseconds`."""

    cursor: U64
    holder: Fixed[16]
    milliseconds: U32


class DoLease(msgspec.Struct, frozen=True, tag=6):
    request: LeaseRequest


class GetStatus(msgspec.Struct, frozen=True, tag=7):
    pass


class SetFileLock(msgspec.Struct, frozen=True, tag=8):
    """`file`: see `docs/spec/filesystem.md`, section 7. `again`: the server had given it, and has lost it."""

    file: Fixed[16]
    holder: Fixed[16]
    lock: Lock
    again: bool = False


class TestFileLock(msgspec.Struct, frozen=True, tag=9):
    __test__ = False  # no test case, whatever its name begins with

    file: Fixed[16]
    holder: Fixed[16]
    lock: Lock


class DropFileLocks(msgspec.Struct, frozen=True, tag=10):
    """All of a holder's."""

    holder: Fixed[16]


class ListSnapshots(msgspec.Struct, frozen=True, tag=11):
    pass


class CreateSnapshot(msgspec.Struct, frozen=True, tag=12):
    """`taken`: seconds since the epoch."""

    name: str
    taken: U64


class DeleteSnapshot(msgspec.Struct, frozen=True, tag=13):
    name: str


class ReadDigests(msgspec.Struct, frozen=True, tag=14):
    """Only within `AskPast`."""

    after: BlockKey | None
    limit: U32


class AskPast(msgspec.Struct, frozen=True, tag=15):
    """A request to the store as of a snapshot; answered as the request itself would be."""

    snapshot: str
    request: ReadHeads | ReadRecords | Scan | GetStatus | ReadDigests


class GetMark(msgspec.Struct, frozen=True, tag=16):
    """`at`: the cursor after the commit whose request id is asked for; 0: the newest."""

    at: U64 = 0


StoreRequest = (
    ReadHeads
    | ReadRecords
    | DoCommit
    | Scan
    | Watch
    | DoLease
    | GetStatus
    | SetFileLock
    | TestFileLock
    | DropFileLocks
    | ListSnapshots
    | CreateSnapshot
    | DeleteSnapshot
    | ReadDigests
    | AskPast
    | GetMark
)


class Heads(msgspec.Struct, frozen=True, tag=1):
    answers: list[HeadAnswer]


class GotRecords(msgspec.Struct, frozen=True, tag=2):
    records: Records


class CommitDone(msgspec.Struct, frozen=True, tag=3):
    answer: CommitAnswer


class Scanned(msgspec.Struct, frozen=True, tag=4):
    summaries: list[HeadSummary]


class Watched(msgspec.Struct, frozen=True, tag=5):
    events: Events


class LeaseDone(msgspec.Struct, frozen=True, tag=6):
    answer: LeaseAnswer


class Status(msgspec.Struct, frozen=True, tag=7):
    status: StoreStatus


class FileLockDone(msgspec.Struct, frozen=True, tag=8):
    """`conflict`: another's lock, which forbids it. `known`: the server still has the locks taken before."""

    conflict: Lock | None
    known: bool


class Snapshotted(msgspec.Struct, frozen=True, tag=9):
    """All snapshots; or the one that was made, or none, after one was deleted."""

    snapshots: list[Snapshot]


class Digested(msgspec.Struct, frozen=True, tag=10):
    digests: list[HeadDigest]


class MarkShown(msgspec.Struct, frozen=True, tag=11):
    mark: StoreMark


StoreReply = (
    Heads
    | GotRecords
    | CommitDone
    | Scanned
    | Watched
    | LeaseDone
    | Status
    | FileLockDone
    | Snapshotted
    | Digested
    | MarkShown
    | Failed
)
