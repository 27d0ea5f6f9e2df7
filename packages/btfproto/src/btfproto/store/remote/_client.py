"""`StoreClient`: a store on a server, as a `Store`.

It trusts the server with nothing but being there: answers are checked for being answers to the question (counts, ids,
orders, sizes), and what they contain is verified by whoever uses the store. Every request may be repeated (a commit
carries its request id; that a snapshot is there, or gone, may be what the first attempt did), so one that is lost with
its link goes out again on the next. Large records stay views into the message that brought them.
"""

from __future__ import annotations

from collections.abc import Callable

from btlib.kinds import Kind
from btlib.paths import BlockPath
from btserde import SerdeError
from bttp.errors import BttpError

from btfproto._dial import CONNECT_SECONDS, Dialer, Doubt, Link, UnwelcomeError
from btfproto.errors import FsError, StoreError, StoreWentBackError
from btfproto.messages import MessageError, decode_store_reply, encode_store_request, printable, stores
from btfproto.provider import Lock
from btfproto.store import (
    Acquire,
    Ask,
    Commit,
    CommitAnswer,
    Conflict,
    Events,
    HeadDigest,
    LeaseAnswer,
    LeaseBusy,
    LeaseHeld,
    LeaseRequest,
    Past,
    ReadOnlyStore,
    Snapshot,
    StoreMark,
    check_snapshot_name,
    is_snapshot_name,
    unknown_snapshot,
)

from ._asking import Asking, Question, Reply, check_digests, require
from ._server import WATCH

CALL_SECONDS = 60.0  #: one call: a slow disk at the other end, not a dead one (the link notices that itself)
NOT_SERVED = (Kind.NO_SUCH_TARGET, Kind.FORBIDDEN)  #: what a server answers that serves its files alone
WATCH_GRACE = 10.0  #: seconds by which the answer to a watch may be late


class StoreClient(Asking):
    """See `Store`. Thread-safe; calls of several threads share one link."""

    def __init__(self, dialer: Dialer, service: BlockPath) -> None:
        """`service` is `<server path>/store`. The client closes the dialer when it is closed."""
        self._dialer = dialer
        self._service = service
        self._watch_path = service.child(WATCH)

    @property
    def dialer(self) -> Dialer:
        """What its calls go through, for others who speak with the same server."""
        return self._dialer

    @property
    def connection(self) -> object | None:
        """What ends leases when it ends; None while there is no link."""
        return self._dialer.connection

    @property
    def name(self) -> str:
        """See `Marked`."""
        return f"at {self._dialer.endpoint}"

    def mark(self, at: int = 0) -> StoreMark:
        """See `Marked`."""
        return self._call(stores.GetMark(at), stores.MarkShown).mark

    def guard(self, check: Callable[[Ask], None]) -> None:
        """See `Guarded`."""
        self.guard_links(check)
        check(self.mark)

    def guard_links(self, check: Callable[[Ask], None], *, optional: bool = False) -> None:
        """Only on each new link. `optional`: the server may serve its files alone, and then nothing is compared."""

        def greet(link: Link) -> None:
            def ask(at: int) -> StoreMark:
                body = link.call(self._service, encode_store_request(stores.GetMark(at)), timeout=CONNECT_SECONDS)
                return decode_store_reply(body, stores.MarkShown).mark

            try:
                check(ask)
            except (FsError, StoreError) as error:
                raise UnwelcomeError(error.message, kind=error.kind, hint=error.hint) from error
            except BttpError as error:
                if not optional or error.kind not in NOT_SERVED:
                    raise

        self._dialer.greet = greet

    def commit(self, commit: Commit) -> CommitAnswer:
        count = len(commit.changes)
        if count > stores.MAX_CHANGES:
            raise StoreError(Kind.LIMIT, f"a commit changes at most {stores.MAX_CHANGES} blocks, not {count}")
        answer = self._call(stores.DoCommit(commit), stores.CommitDone).answer
        if isinstance(answer, Conflict):
            known = any(change.block == answer.block for change in commit.changes)
            require(known, "a conflict over a block that is not in the commit")
        return answer

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        milliseconds = min(int(max(timeout, 0) * 1000), stores.MAX_WATCH_MILLISECONDS)
        request = stores.Watch(cursor, holder, milliseconds)
        wait = milliseconds / 1000 + WATCH_GRACE
        events = self._call(request, stores.Watched, path=self._watch_path, timeout=wait).events
        require(events.lost or events.cursor >= cursor, "events from before the ones already seen")
        return events

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        answer = self._call(stores.DoLease(request), stores.LeaseDone).answer
        asked_for_lease = isinstance(request, Acquire)
        require(isinstance(answer, LeaseHeld | LeaseBusy) == asked_for_lease, "an answer to another lease request")
        return answer

    def set_file_lock(self, file: bytes, holder: bytes, lock: Lock, *, again: bool = False) -> tuple[Lock | None, bool]:
        """Take or release a range of a file: what forbids it, and whether the server had this holder's locks.

        `again`: it was this holder's, and the server has lost it.
        """
        done = self._call(stores.SetFileLock(file, holder, lock, again), stores.FileLockDone)
        return done.conflict, done.known

    def test_file_lock(self, file: bytes, holder: bytes, lock: Lock) -> tuple[Lock | None, bool]:
        """The same without taking anything."""
        done = self._call(stores.TestFileLock(file, holder, lock), stores.FileLockDone)
        return done.conflict, done.known

    def drop_file_locks(self, holder: bytes) -> None:
        """Release all of a holder's."""
        self._call(stores.DropFileLocks(holder), stores.FileLockDone)

    def snapshots(self) -> list[Snapshot]:
        found = self._call(stores.ListSnapshots(), stores.Snapshotted).snapshots
        names = [snapshot.name for snapshot in found]
        require(len(set(names)) == len(names), "two snapshots of one name")
        require(all(map(is_snapshot_name, names)), "a snapshot whose name is none")
        return found

    def create_snapshot(self, name: str, taken: int) -> Snapshot:
        check_snapshot_name(name)
        doubt = Doubt()
        try:
            made = self._call(stores.CreateSnapshot(name, taken), stores.Snapshotted, doubt=doubt).snapshots
        except StoreError as error:
            if error.kind is not Kind.EXISTS or not doubt.sent:
                raise
            made = [snapshot for snapshot in self.snapshots() if (snapshot.name, snapshot.taken) == (name, taken)]
            if not made:
                raise
        require([snapshot.name for snapshot in made] == [name], "another snapshot than the one to be made")
        return made[0]

    def delete_snapshot(self, name: str) -> None:
        doubt = Doubt()
        try:
            self._call(stores.DeleteSnapshot(name), stores.Snapshotted, doubt=doubt)
        except StoreError as error:
            if error.kind is not Kind.NOT_FOUND or not doubt.sent:
                raise

    def at(self, name: str) -> Past:
        found = [snapshot for snapshot in self.snapshots() if snapshot.name == name]
        if not found:
            raise unknown_snapshot(name)
        return RemotePast(found[0], self)

    def ask(self, request: Question, expected: type[Reply]) -> Reply:
        return self._call(request, expected)

    def ask_past(self, snapshot: str, request: Question, expected: type[Reply]) -> Reply:
        """The same as of a snapshot."""
        return self._call(stores.AskPast(snapshot, request), expected)

    def close(self) -> None:
        self._dialer.close()

    def _call(
        self,
        request: stores.StoreRequest,
        expected: type[Reply],
        *,
        path: BlockPath | None = None,
        timeout: float = CALL_SECONDS,
        doubt: Doubt | None = None,
    ) -> Reply:
        try:
            message = encode_store_request(request)
        except SerdeError as error:
            raise StoreError(Kind.INVALID, f"a request that no store can answer: {error}") from error
        try:
            body = self._dialer.call(path or self._service, message, timeout=timeout, doubt=doubt)
            return decode_store_reply(body, expected)
        except MessageError as error:
            raise StoreError(error.kind, f"{self._dialer.endpoint}: {error.message}") from error
        except BttpError as error:
            made = StoreWentBackError if isinstance(error, UnwelcomeError) else StoreError
            raise made(error.kind, printable(error.message), error.hint) from error


class RemotePast(ReadOnlyStore, Asking):
    """See `Past`: a store on a server as of a snapshot."""

    def __init__(self, snapshot: Snapshot, client: StoreClient) -> None:
        super().__init__(snapshot)
        self._client = client

    def ask(self, request: Question, expected: type[Reply]) -> Reply:
        return self._client.ask_past(self.snapshot.name, request, expected)

    def digests(self, after: bytes | None, limit: int) -> list[HeadDigest]:
        request = stores.ReadDigests(after, min(limit, stores.MAX_SCAN))
        digests = self.ask(request, stores.Digested).digests
        check_digests(after, limit, digests)
        return digests

    def close(self) -> None:
        """Nothing to release: the link is the client's."""
