"""`ObservedStore`: a store that tells who listens that something may have happened.

A server has many clients that wait for events. Instead of a thread for each, they sleep in the event loop, and this
wrapper wakes them after every commit and every request for a lease. Whoever uses the same store in the same process
(the thin service) uses it through the wrapper too. It adds nothing else to the store beneath.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from btlib.kinds import Kind

from btfproto.errors import StoreError
from btfproto.provider import Lock
from btfproto.store import (
    Commit,
    CommitAnswer,
    Events,
    HeadAnswer,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseRequest,
    Marked,
    Past,
    RecordRef,
    Records,
    Snapshot,
    Snapshots,
    Store,
    StoreMark,
    StoreStatus,
)

from ._lock_holders import LockHolders, NoLockHolders
from ._locks import LockTable

Listener = Callable[[], None]

PASTS = 16  #: snapshots whose heads and placements are remembered, 4 MiB each


class ObservedStore:
    """See `Store`. Listeners are called in the thread that committed; they must not wait."""

    def __init__(self, store: Store, lock_holders: LockHolders = NoLockHolders()) -> None:  # noqa: B008 - no state
        self._store = store
        self._lock = threading.Lock()
        self._listeners: tuple[tuple[Listener, bytes | None], ...] = ()
        self._followers: tuple[tuple[bytes, Listener], ...] = ()
        self._pasts: dict[str, Past] = {}
        self._deleted = 0  # snapshots, until now
        self.locks = LockTable(remembered=lock_holders)  #: of files, for clients of any kind

    def listen(self, listener: Listener, holder: bytes | None = None) -> None:
        """Call `listener` from now on, from any thread; not for what this holder commits under its leases."""
        with self._lock:
            self._listeners = (*self._listeners, (listener, holder))

    def listen_for(self, block: bytes, listener: Listener) -> None:
        """Call `listener` when a commit may have changed this block, before whoever committed it is answered."""
        with self._lock:
            self._followers = (*self._followers, (block, listener))

    def unlisten(self, listener: Listener) -> None:
        """Stop calling it."""
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if known[0] != listener)

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        return self._store.read_heads(wants)

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        return self._store.read_records(block, refs)

    def commit(self, commit: Commit, holder: bytes | None = None) -> CommitAnswer:
        """`holder`: under whose leases, where that is known. It knows of its own commits."""
        try:
            answer = self._store.commit(commit)
        finally:  # also where it failed: it may have taken effect all the same
            for block, listener in self._followers:
                if any(change.block == block for change in commit.changes):
                    listener()
        self.tell(holder)
        return answer

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        return self._store.scan(after, limit)

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        return self._store.watch(cursor, holder, timeout)

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        answer = self._store.lease(request)
        self.tell()
        return answer

    def set_file_lock(self, file: bytes, holder: bytes, lock: Lock, *, again: bool = False) -> tuple[Lock | None, bool]:
        """As `StoreClient` does, for a file system in this process."""
        return self.locks.set(file, holder, lock, again=again)

    def test_file_lock(self, file: bytes, holder: bytes, lock: Lock) -> tuple[Lock | None, bool]:
        return self.locks.test(file, holder, lock)

    def drop_file_locks(self, holder: bytes) -> None:
        self.locks.drop(holder)

    def snapshots(self) -> Sequence[Snapshot]:
        return self._with_snapshots().snapshots()

    def create_snapshot(self, name: str, taken: int) -> Snapshot:
        return self._with_snapshots().create_snapshot(name, taken)

    def delete_snapshot(self, name: str) -> None:
        self._with_snapshots().delete_snapshot(name)
        with self._lock:
            self._deleted += 1
            self._pasts.pop(name, None)

    def at(self, name: str) -> Past:
        """The same one for several readers: it remembers what it read."""
        with self._lock:
            past, deleted = self._pasts.get(name), self._deleted
        if past is None:
            past = self._with_snapshots().at(name)
            with self._lock:
                if deleted == self._deleted:  # else it may be one that was deleted meanwhile
                    self._pasts[name] = past
                if len(self._pasts) > PASTS:
                    del self._pasts[next(iter(self._pasts))]
        return past

    def _with_snapshots(self) -> Snapshots:
        if not isinstance(self._store, Snapshots):
            raise StoreError(Kind.NOT_SUPPORTED, "this store keeps no snapshots")
        return self._store

    @property
    def name(self) -> str:
        return self._marked().name

    def mark(self, at: int = 0) -> StoreMark:
        return self._marked().mark(at)

    def _marked(self) -> Marked:
        if not isinstance(self._store, Marked):
            raise StoreError(Kind.NOT_SUPPORTED, "this store does not say how far it has come")
        return self._store

    def status(self) -> StoreStatus:
        return self._store.status()

    def close(self) -> None:
        self._store.close()
        self.tell()

    def tell(self, holder: bytes | None = None) -> None:
        """Wake the listeners, but for those of a holder; also where nothing happened."""
        for listener, known in self._listeners:
            if holder is None or known != holder:
                listener()
