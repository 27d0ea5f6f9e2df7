"""`Committer`: brings groups into the store. One at a time; whoever waits for one may carry it out.

    done      the newest group that is durable
    pending   a sealed group whose fate is unknown (the connection broke, the device failed): until it is known,
              nothing else is committed, and the very same commit is sent again
    failed    the newest group that was refused, and why; its changes live on in later groups

`fsync` runs the commit in its own thread if nobody else does, which saves two thread switches; callers who come
meanwhile wait for it, and share the next one. A background thread, started at the first change, commits what nobody
asked for.
"""

from __future__ import annotations

import threading
import time

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError, StoreWentBackError
from ..store import Commit, CommitAnswer, Committed, Conflict, Fenced, Found
from ._core import Core
from ._entropy import Entropy
from ._group import Group, freeze, revert, seal, settle

#: After these nobody knows whether a commit took effect; it is sent again with the same request id.
UNKNOWN_FATE = frozenset({Kind.IO, Kind.UNREACHABLE, Kind.DEADLINE, Kind.INTERNAL, Kind.CANCELLED, Kind.PROTOCOL})
MAX_PAUSE = 60.0  #: seconds between attempts of the background thread, after doubling
LOOK_AGAIN = 1.0  #: seconds after which who waits for the background thread looks whether it lives
HURRY = 0.75  #: of what a group may hold: from here on it is committed unasked, so that writers seldom wait
NANOSECONDS = 10**9


class Committer(Core):
    """Adds group commit to the shared state."""

    def start_committer(self) -> None:
        self.done = 0
        self.pending: Group | None = None
        self.failed: tuple[int, FsError] | None = None
        self.failures = 0
        self._commits = threading.Lock()  # taken before the core's lock, never after
        self._changed = threading.Condition(self.mutex)  # for the background thread: there is work
        self._progress = threading.Condition(self.mutex)  # of a group: it was taken, brought into the store, or refused
        self._thread: threading.Thread | None = None
        self._idle = False  #: the thread waits for the first change
        self._hurry = False
        self._spill = False  #: somebody waits for memory
        self._commit_entropy = Entropy(self.random)
        if not self.options.read_only:
            self.room.committed()

    def wake(self) -> None:
        interval = self.options.commit_interval
        if interval is None or self.closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(interval,), name="localfs-commit", daemon=True)
            self._thread.start()
        elif self._idle:  # later changes go with the first one: woken at each, the thread would only be in the way
            self._idle = False
            self._changed.notify()

    def make_room(self) -> None:
        """Called without the lock before something is written: memory is bounded. Raises FsError."""
        room = self.options.dirty_limit >> 1
        self.room.look_again()
        if self.dirty_bytes < room * HURRY and not self._is_full(room):
            return
        thread = self._thread
        if thread is None:
            if self._is_full(room):
                self.commit_through(self.live_group, spill=True)
            return
        with self.mutex:
            if not self._hurry:
                self._hurry = True
                self._changed.notify()
        if self._is_full(room):
            self._hand_over(thread, room)

    def _is_full(self, room: int) -> bool:
        """Whether the group that collects is, or both groups together are."""
        return self.dirty_bytes >= room or self.dirty_bytes + self.frozen_bytes > 2 * room

    def _hand_over(self, thread: threading.Thread, room: int) -> None:
        """Wait until the background thread took what waits, having brought what it took before into the store: so one
        seals while the other writes. Raises FsError."""
        with self.mutex:
            failures = self.failures
            while self._is_full(room) and thread.is_alive() and not self.closed:
                self._hurry = self._spill = True
                self._changed.notify()
                self._progress.wait(LOOK_AGAIN)
                if self.failed is not None and self.failures != failures:
                    error = self.failed[1]
                    raise FsError(error.kind, error.message, error.hint)
            if self.closed or not self._is_full(room):  # what was shut down says so itself
                return
        self.commit_through(self.live_group, spill=True)  # the thread died of a defect

    def commit_through(self, group: int, spill: bool = False) -> None:
        """Return when every change up to this group is durable. Raises FsError: nothing is lost, try again.

        Never called with the lock held.
        """
        failures = self.failures
        while self.done < group:
            with self._commits:
                if self.done >= group:
                    return
                if self.failed is not None and self.failed[0] >= group and self.failures != failures:
                    error = self.failed[1]  # of an attempt that ended while we waited, and that was ours too
                    raise FsError(error.kind, error.message, error.hint)
                self._commit_next(spill)

    def _commit_next(self, spill: bool) -> None:
        """Commit the pending group, or else freeze what is dirty and commit that."""
        group = self.pending
        if group is None:
            group = self._sealed(spill)
        if group is not None:
            self._send(group)

    def _sealed(self, spill: bool) -> Group | None:
        """The next group, ready to be sent; None where nothing is dirty."""
        now = self.clock() // NANOSECONDS
        with self.mutex:
            group = freeze(self, spill or self._spill)
            self._hurry = self._spill = False
            self._progress.notify_all()
            if not group.members:
                self._settled(group)
                return None
        try:
            self.writers.record(group.members[0].inode.store.scope, now, self._commit_entropy.take(16))
            seal(self, group, self._commit_entropy, now, self.fences(group))
        except BlocktreeError as error:
            raise self._refused(group, error) from error
        except BaseException:  # an interrupt or a defect: the changes must not hang between two layers
            with self.mutex:
                revert(self, group)
            raise
        self.pending = group
        return group

    def fences(self, group: Group) -> list[tuple[bytes, int]]:
        """The leases that a commit relies on. (`Lease` overrides it.)"""
        return []

    def _send(self, group: Group) -> None:
        commit = group.commit
        assert commit is not None
        answer: CommitAnswer | None
        repeated, group.in_doubt = group.in_doubt, True
        self.lock_renamed(group)
        try:
            answer = self.store.commit(commit)
        except BlocktreeError as error:
            if error.kind in UNKNOWN_FATE or isinstance(error, StoreWentBackError):
                raise self._report(group, error) from error
            if not (repeated and self._has_landed(commit)):
                raise self._refused(group, error) from error
            answer = None  # an earlier attempt took effect; what is refused now is only its repetition
        if isinstance(answer, Committed):
            self.store_pin.note(answer.cursor)
        if answer is None or isinstance(answer, Committed) or self._has_landed(commit):
            with self.mutex:
                self._settled(group)
                self.unlock_renamed(group)
            self.room.committed()
            self.pins.note({change.block: change.version for change in commit.changes})
        else:
            self.lost(group, answer)

    def lock_renamed(self, group: Group) -> None:
        """Before a commit: what is locked in files that get new keys with it. (`Locking` implements it.)"""

    def unlock_renamed(self, group: Group) -> None:
        """After it. Under the lock. (`Locking` implements it.)"""

    def _has_landed(self, commit: Commit) -> bool:
        """Whether the store shows this very commit, whatever it answers. One block tells: commits are atomic."""
        change = commit.changes[0]
        found = self.read_heads([(change.block, 0)])[0]
        return isinstance(found, Found) and bytes(found.head.signed) == change.signed

    def lost(self, group: Group, answer: Conflict | Fenced) -> None:
        """Somebody else changed what this group changes. Raises FsError."""
        count = f"{len(group.members)} changed objects could not be saved; what was written is kept apart"
        if isinstance(answer, Fenced):
            what = "another client took the write lease over while this one was away"
            error = FsError(Kind.FENCED, f"{what}: {count}", "see: bt status, and the directory .recovered")
            self.lease_lost(answer.key)
        else:
            what = "somebody else changed this tree at the same time"
            hint = "see: bt status, and .recovered; where several clients write, all have to share the tree"
            error = FsError(Kind.CONFLICT, f"{what}: {count}", hint)
        with self.mutex:
            self.pending = None
            revert(self, group)
            self._failed_with(group, error)
            self.discard(error)
        raise error

    def lease_lost(self, scope: bytes) -> None:
        """Another client has the lease of a scope now. (`Lease` implements it.)"""

    def discard(self, error: FsError) -> None:
        """Drop every uncommitted change. Under the lock. (`Coherence` implements it.)"""
        raise NotImplementedError

    def _settled(self, group: Group) -> None:
        settle(self, group)
        self.done, self.pending, self.failed = group.number, None, None
        self._progress.notify_all()

    def _refused(self, group: Group, error: BlocktreeError) -> FsError:
        """The group was not applied, that is certain."""
        if error.kind is Kind.NO_SPACE:
            self.room.measure()
        with self.mutex:
            self.pending = None
            revert(self, group)
            return self._report(group, error)

    def _report(self, group: Group, error: BlocktreeError) -> FsError:
        reported = FsError(error.kind, f"changes could not be saved yet: {error.message}", error.hint)
        with self.mutex:
            self._failed_with(group, reported)
            for member in group.members:
                member.inode.error = reported
        return reported

    def _failed_with(self, group: Group, error: FsError) -> None:
        self.failed = (group.number, error)
        self.failures += 1
        self._hurry = self._spill = False  # who waits is told, and the thread tries again in its own time
        self._progress.notify_all()

    def _run(self, interval: float) -> None:
        """The background thread."""
        pause = interval
        while self._wait_for_work(pause):
            try:
                self.commit_through(self.live_group)
                pause = interval
            except FsError:  # it stands in `failed` and in the inodes, and whoever asks is told
                pause = min(pause * 2, max(MAX_PAUSE, interval))

    def _wait_for_work(self, pause: float) -> bool:
        """Wait until something is dirty, then until it is old enough or somebody waits for room; False at shutdown."""
        with self.mutex:
            while not (self.closed or self.dirty or self.pending is not None or self._spill):
                self._idle = True
                self._changed.wait()
            self._idle = False
            end = time.monotonic() + pause
            while not self.closed and not self._hurry and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self.closed

    def stop_committer(self) -> None:
        """End the thread. Never called with the lock held; `closed` is set."""
        with self.mutex:
            self._changed.notify_all()
            self._progress.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
