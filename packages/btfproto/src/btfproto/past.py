"""Snapshots of a domain: making and deleting them, and its files as they were.

    create   the store keeps a moment; its heads are compared with what was seen here, and their digests signed
    files    a read-only `LocalFs` over the store as of a snapshot, believed as far as the record goes

A snapshot is of the whole store, with everything that was committed. What somebody may read of it is what the grants of
then say: keys that were changed since open nothing in it, and who was granted something since must ask who had it.
Whoever may write in the whole domain may make and delete snapshots.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.writecaps import Chain, Rights

from .domain import (
    MAX_STRETCHES,
    DomainReader,
    SnapshotHeads,
    SnapshotRecord,
    all_digests,
    commit_draft,
    open_volume,
    read_held,
    snapshot_block,
    stretch_length,
    stretches_of,
)
from .domain._drafts import Draft
from .errors import FsError
from .localfs import FsOptions, LocalFs, MemoryPins, Pins
from .revocations import RevocationView
from .store import (
    Commit,
    CommitAnswer,
    Events,
    Found,
    HeadAnswer,
    HeadDigest,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseRequest,
    Past,
    RecordRef,
    Records,
    Snapshot,
    Snapshots,
    Store,
    StoreStatus,
)

REQUEST_SIZE = 16
CACHE_BYTES = 4 * 2**20  #: of content, for each snapshot that somebody looks into
INODES = 20_000  #: objects of a snapshot in memory, some 10 MB

ROLLED_BACK = "delete the snapshot, and look at who keeps the store"


class SnapshotKeeper:
    """The snapshots of a domain's store, for one identity. Thread-safe as the store is."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        path: BlockPath,
        pins: Pins,
        revocations: RevocationView,
        clock: Callable[[], int],
    ) -> None:
        """`path` is what `files` attaches at; `clock` tells seconds. Raises FsError where a store has no snapshots."""
        if not isinstance(store, Snapshots):
            raise FsError(Kind.NOT_SUPPORTED, "this store keeps no snapshots")
        self._store: Store = store
        self._snapshots: Snapshots = store
        self._identity = identity
        self._path = path
        self._pins = pins
        self._revocations = revocations
        self._clock = clock
        self._reader = DomainReader(store, path.root, revocations)

    def all(self) -> Sequence[Snapshot]:
        """The oldest first. Raises StoreError."""
        return self._snapshots.snapshots()

    def find(self, name: str) -> Snapshot:
        """One, without counting what only it needs. Raises StoreError (NOT_FOUND)."""
        return self._snapshots.at(name).snapshot

    def create(self, name: str) -> Snapshot:
        """Of everything that is committed. Raises FsError, StoreError (EXISTS, INVALID…)."""
        now = self._clock()
        chain = self._chain(now)
        with self._pins.as_of_now() as seen:  # what is seen later need not be in the snapshot
            made = self._snapshots.create_snapshot(name, now)
            try:
                self._sign(made, chain, now, seen)
            except BaseException:
                self._snapshots.delete_snapshot(name)
                raise
        return made

    def delete(self, name: str) -> None:
        """Raises FsError, StoreError (NOT_FOUND)."""
        self._chain(self._clock())
        self._snapshots.delete_snapshot(name)

    def files(self, name: str) -> LocalFs:
        """The files as they were; `shutdown` it. Raises FsError (INTEGRITY, FORBIDDEN…), StoreError (NOT_FOUND)."""
        past = self._snapshots.at(name)
        try:
            believed = BelievedPast(past, SnapshotHeads(past, self._record(past.snapshot)))
        except IntegrityError as error:
            raise FsError(error.kind, error.message, error.hint) from error
        volume = open_volume(believed, self._identity, self._path, self._clock(), revocations=self._revocations)
        options = FsOptions(read_only=True, commit_interval=None, cache_bytes=CACHE_BYTES, inode_limit=INODES)
        pins, view = MemoryPins(), self._revocations
        return LocalFs(believed, self._identity, volume, options=options, pins=pins, revocations=view)

    def _record(self, snapshot: Snapshot) -> SnapshotRecord:
        """What the maker of a snapshot signed. Raises FsError (INTEGRITY, ROLLBACK), IntegrityError."""
        name = snapshot.name
        block = snapshot_block(self._path.root, name)
        found = self._reader.public(block, SnapshotRecord)
        if found is None or found[1].cursor != snapshot.cursor or found[1].name != name:
            raise FsError(
                Kind.INTEGRITY,
                f"nobody signed what the store shows as the snapshot {name!r}",
                "if making it was interrupted, delete it and make another",
            )
        header, record = found
        if header.scope != self._reader.domain().scope:
            raise FsError(Kind.INTEGRITY, f"the record of the snapshot {name!r} is not in the root scope")
        if header.version < self._pins.seen(block):
            raise FsError(Kind.ROLLBACK, f"the store shows an older snapshot {name!r} than was seen", ROLLED_BACK)
        self._pins.note({block: header.version})
        return record

    def _chain(self, now: int) -> Chain:
        """Of those that came with the identity, and those that it was granted since."""
        root = BlockPath(self._path.root, ())
        try:
            identity = read_held(self._reader, self._identity, now=now).identity
            return identity.chain_for(root.root, Rights.WRITE, now, path=root, revocations=self._revocations.current)
        except CapabilityError as error:
            raise FsError(
                error.kind, f"snapshots are for who may write in the whole domain: {error.message}", error.hint
            ) from error

    def _sign(self, made: Snapshot, chain: Chain, now: int, seen: Callable[[bytes], int]) -> None:
        past = self._snapshots.at(made.name)
        length = stretch_length(past.status().blocks)

        def checked() -> Iterator[HeadDigest]:
            for head in all_digests(past):
                if head.version < seen(head.block):
                    raise FsError(
                        Kind.ROLLBACK, f"the store shows an older block {head.block.hex()} than was seen", ROLLED_BACK
                    )
                yield head

        while len(stretches := tuple(islice(stretches_of(checked(), length), MAX_STRETCHES + 1))) > MAX_STRETCHES:
            length *= 2  # the store counts no tombstones, and may have more of these than of anything else
        record = SnapshotRecord(
            name=made.name, cursor=made.cursor, taken=made.taken, length=length, stretches=stretches
        )
        block, scope = snapshot_block(self._path.root, made.name), self._reader.domain().scope
        draft = Draft(self._identity.signer, chain, now=now)
        before = self._reader.public(block, SnapshotRecord)
        draft.put_public(block, scope, record, previous=None if before is None else before[0])
        commit_draft(self._store, draft, scope, os.urandom(REQUEST_SIZE))


class BelievedPast:
    """A store as of a snapshot, whose heads are those that the record says. All else is checked by its reader."""

    def __init__(self, past: Past, heads: SnapshotHeads) -> None:
        self._past = past
        self._heads = heads
        self._lock = threading.Lock()

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        """Raises IntegrityError too."""
        answers = self._past.read_heads(wants)
        if len(answers) != len(wants):
            raise IntegrityError(f"the store gave {len(answers)} heads instead of {len(wants)}")
        with self._lock:
            for want, answer in zip(wants, answers, strict=True):
                digest = hashlib.sha256(answer.head.signed).digest() if isinstance(answer, Found) else None
                self._heads.check(want, answer, digest)
        return answers

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        return self._past.read_records(block, refs)

    @property
    def snapshot(self) -> Snapshot:
        return self._past.snapshot

    def commit(self, commit: Commit) -> CommitAnswer:
        return self._past.commit(commit)

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        return self._past.scan(after, limit)

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        return self._past.watch(cursor, holder, timeout)

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        return self._past.lease(request)

    def status(self) -> StoreStatus:
        return self._past.status()

    def close(self) -> None:
        self._past.close()
