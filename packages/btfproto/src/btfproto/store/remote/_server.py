"""`StoreServer`: serves a store to clients that it does not trust, and whose blocks it cannot read.

    <server path>/store          every request but `Watch`, in worker threads
    <server path>/store/watch    `Watch`, in the event loop: a long poll must not hold a thread

Every commit is checked before it reaches the store: signatures, chains, scopes, versions, trees (`check_commit`).
Reading is open to whoever was let in here; what is read is sealed. Every refusal is a typed reply with a sentence.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath
from bttp import Peer, Request, Router

from btfproto._bell import Bell
from btfproto.errors import StoreError
from btfproto.messages import (
    MessageError,
    decode_store_request,
    encode_store_reply,
    failure_of,
    stores,
)
from btfproto.store import Commit, CommitAnswer, Events, Past, Store

from ._bounded import check_limit, read_heads, read_records
from ._desk import LeaseDesk, bound_holder
from ._observed import ObservedStore

log = logging.getLogger("btfproto.store")

WATCH = "watch"  #: the name below the service where long polls go
MAX_WATCHES = 64  #: long polls of one connection at once; a client needs one

#: Seconds for which leases outlive their link: a client that only lost its link is back by then, and commits what
#: it has; one that died holds nobody up for longer.
LINGER_SECONDS = 3.0

Parts = list[bytes | memoryview]
CommitCheck = Callable[[Commit], None]
PeerCheck = Callable[[Peer], None]


def refuse_everybody(peer: Peer) -> None:
    """Where nobody was told who may make snapshots, nobody may."""
    raise StoreError(Kind.FORBIDDEN, "snapshots are neither made nor deleted at this server by others")


class StoreServer:
    """The store service. Thread-safe. It does not close the store that it serves; `close` ends what clients hold."""

    def __init__(
        self,
        store: Store,
        check: CommitCheck,
        *,
        check_peer: PeerCheck = refuse_everybody,
        clock: Callable[[], float] = time.monotonic,
        linger: float = LINGER_SECONDS,
    ) -> None:
        """`check` raises BlocktreeError for a commit that must not be applied, `check_peer` for one who may not make
        or delete snapshots. `linger`: see `LINGER_SECONDS`.
        """
        #: for whoever uses the same store in this process
        self.store = store if isinstance(store, ObservedStore) else ObservedStore(store)
        self._check = check
        self._check_peer = check_peer
        self._clock = clock
        self._linger = linger
        self._desk = LeaseDesk(self.store)
        self._lock = threading.Lock()
        self._links: set[int] = set()
        self._watches: dict[int, int] = {}
        self._draining = False

    def add_to(self, router: Router, service: BlockPath) -> None:
        """Listen at `service`."""
        router.add(service, self.handle)
        router.add(service.child(WATCH), self.watch)

    def drain(self) -> None:
        """Answer all long polls now, and later ones at once: the server is about to stop. From any thread."""
        self._draining = True
        self.store.tell()

    def close(self) -> None:
        """Release the leases that clients hold; idempotent. They ask anew at whoever serves the store next."""
        self._desk.release_all()

    def figures(self) -> dict[str, int]:
        """How much it has to remember, for people."""
        return {
            "leases": len(self._desk),
            "locked files": len(self.store.locks),
            "watches": sum(self._watches.copy().values()),
        }

    def handle(self, request: Request) -> Parts:
        """Everything but `Watch`."""
        try:
            return encode_store_reply(self._answer(request))
        except BlocktreeError as error:
            return encode_store_reply(failure_of(error))

    async def watch(self, request: Request) -> Parts:
        """Answer when something happens after the cursor, or when the time is over."""
        link = request.link.id
        try:
            message = decode_store_request(request.body)
            if not isinstance(message, stores.Watch):
                raise MessageError("only watches are answered here")
            self._count_watch(link, 1)
            try:
                holder = bound_holder(message.holder, request.peer.principals)
                events = await self._watch(message, holder)
            finally:
                self._count_watch(link, -1)
        except BlocktreeError as error:
            return encode_store_reply(failure_of(error))
        return encode_store_reply(stores.Watched(events))

    def _answer(self, request: Request) -> stores.StoreReply:
        message = decode_store_request(request.body)
        match message:
            case stores.ReadHeads():
                return stores.Heads(read_heads(self.store, message.wants))
            case stores.ReadRecords():
                return stores.GotRecords(read_records(self.store, message.block, message.refs))
            case stores.DoCommit():
                return stores.CommitDone(self._commit(message.commit, request))
            case stores.Scan():
                limit = min(message.limit, stores.MAX_SCAN)
                return stores.Scanned(self.store.scan(message.after, limit))
            case stores.DoLease():
                self._remember(request)
                answer = self._desk.request(message.request, request.peer.principals, request.link.id)
                return stores.LeaseDone(answer)
            case stores.SetFileLock() | stores.TestFileLock():
                return self._lock_file(message, request)
            case stores.DropFileLocks():
                self.store.locks.drop(bound_holder(message.holder, request.peer.principals))
                return stores.FileLockDone(None, True)
            case stores.GetStatus():
                return stores.Status(self.store.status())
            case stores.GetMark():
                return stores.MarkShown(self.store.mark(message.at))
            case stores.ListSnapshots():
                return stores.Snapshotted(list(self.store.snapshots()))
            case stores.CreateSnapshot():
                self._check_peer(request.peer)
                return stores.Snapshotted([self.store.create_snapshot(message.name, message.taken)])
            case stores.DeleteSnapshot():
                self._check_peer(request.peer)
                self.store.delete_snapshot(message.name)
                return stores.Snapshotted([])
            case stores.AskPast():
                return self._answer_past(self.store.at(message.snapshot), message)
            case stores.ReadDigests():
                raise MessageError("digests are there of snapshots only")
            case stores.Watch():
                raise MessageError(f"watches are answered at {request.path.child(WATCH)}")

    def _answer_past(self, past: Past, message: stores.AskPast) -> stores.StoreReply:
        match message.request:
            case stores.ReadHeads(wants):
                return stores.Heads(read_heads(past, wants))
            case stores.ReadRecords(block, refs):
                return stores.GotRecords(read_records(past, block, refs))
            case stores.Scan(after, limit):
                return stores.Scanned(past.scan(after, min(limit, stores.MAX_SCAN)))
            case stores.ReadDigests(after, limit):
                return stores.Digested(past.digests(after, min(limit, stores.MAX_SCAN)))
            case stores.GetStatus():
                return stores.Status(past.status())

    def _lock_file(self, message: stores.SetFileLock | stores.TestFileLock, request: Request) -> stores.StoreReply:
        self._remember(request)
        holder = bound_holder(message.holder, request.peer.principals)
        table, link = self.store.locks, request.link.id
        try:
            if isinstance(message, stores.SetFileLock):
                return stores.FileLockDone(*table.set(message.file, holder, message.lock, link, again=message.again))
            return stores.FileLockDone(*table.test(message.file, holder, message.lock, link))
        finally:
            if link not in self._links:  # it ended while the request waited for a thread
                table.link_closed(link)

    def _commit(self, commit: Commit, request: Request) -> CommitAnswer:
        check_limit("changes of a commit", len(commit.changes), stores.MAX_CHANGES)
        size = sum(len(record) for change in commit.changes for run in change.runs for record in run.records)
        check_limit("bytes of a commit", size, stores.MAX_COMMIT_BYTES)
        fenced = self._desk.foreign_fence(commit.fences, request.peer.principals)
        if fenced is not None:
            return fenced
        try:
            self._check(commit)
        except BlocktreeError as error:
            log.warning("refused a commit of %s: %s", request.peer, error.message)
            raise
        return self.store.commit(commit, self._desk.holder_of(commit.fences))

    async def _watch(self, message: stores.Watch, holder: bytes) -> Events:
        """Asks the store without waiting, and sleeps until somebody committed or asked for a lease.

        What the holder commits under its own leases ends no sleep: a busy writer would be told of each commit.
        """
        deadline = self._clock() + min(message.milliseconds, stores.MAX_WATCH_MILLISECONDS) / 1000
        bell = Bell()
        self.store.listen(bell.ring, holder)
        try:
            while True:
                events = self.store.watch(message.cursor, holder, 0.0)
                happened = events.changes or events.wanted or events.lost or events.cursor != message.cursor
                left = deadline - self._clock()
                if happened or left <= 0 or self._draining or not await bell.wait(left):
                    return events
        finally:
            self.store.unlisten(bell.ring)

    def _remember(self, request: Request) -> None:
        """See to it that the leases of this link end with it, or soon after."""
        with self._lock:
            if request.link.id in self._links:
                return
            self._links.add(request.link.id)
        request.link.on_close(lambda: self._forget(request.link.id))

    def _forget(self, link: int) -> None:
        with self._lock:
            self._links.discard(link)
        self.store.locks.link_closed(link)
        timer = threading.Timer(self._linger, self._desk.link_closed, args=(link,))
        timer.name, timer.daemon = "btfproto-release", True
        timer.start()

    def _count_watch(self, link: int, step: int) -> None:
        with self._lock:
            count = self._watches.get(link, 0) + step
            if count > MAX_WATCHES:
                raise StoreError(Kind.LIMIT, f"a connection may watch {MAX_WATCHES} times at once", "use one watch")
            if count:
                self._watches[link] = count
            else:
                self._watches.pop(link, None)
