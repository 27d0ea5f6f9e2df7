"""`Writer`: brings commits into segments and index, in groups.

Threads that commit at the same time share one group. The first takes all commits that wait, while others come and wait
in turn; when its group is done it wakes them, and the first of those who came meanwhile leads the next. In a group:

    worked out in memory → segments written → segments synced → index transaction (synced) → shown → answered

So the index never names a byte that is not durable, and nobody sees or is told what is not durable either. A failure
before the transaction leaves no trace. After one in it the writer is *broken*: only a reopened store knows what
reached the disk. The log of the index is shortened, and segments are compacted, by whoever leads a group, after or
within it; neither can fail a commit.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from btlib.kinds import Kind

from ..errors import StoreError
from ._cache import BlockCache
from ._compaction import Compaction
from ._events import EventLog
from ._group import Group, Source
from ._index import Index, SegmentRow, State
from ._interface import REPLAY_RECORDS, Commit, CommitAnswer
from ._leases import Leases
from ._segments import Batch, Segments
from ._snapshots import MAX_SNAPSHOTS, Snapshot, existing_snapshot, too_many_snapshots, unknown_snapshot

CHECKPOINT_BYTES = 16 * 2**20  #: of index log before it is copied into the file: combines much, and stalls for little
_PAGE = 4096  # bytes of log that a changed row costs, about: it changes one page that no other row of its group does


class _Ticket:
    """A commit that waits, and what became of it. `wake` is released when it is done, or has to lead the next group."""

    __slots__ = ("answer", "commit", "error", "leads", "wake")

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self.answer: CommitAnswer | None = None
        self.error: StoreError | None = None
        self.leads = False  # it is this one's turn to work on the next group
        self.wake = threading.Lock()
        self.wake.acquire()

    def outcome(self) -> CommitAnswer | None:
        """The answer; None while there is none. Raises StoreError."""
        if self.error is not None:
            raise self.error
        return self.answer


class Writer:
    """The one who changes an embedded store. Thread-safe."""

    def __init__(
        self,
        index: Index,
        segments: Segments,
        cache: BlockCache,
        events: EventLog,
        leases: Leases,
        rows: Sequence[SegmentRow],
        log_bytes: int = CHECKPOINT_BYTES,
    ) -> None:
        """`log_bytes`: of the index's log before it is copied into the file."""
        self.state = index.state()
        self._index = index
        self._segments = segments
        self._cache = cache
        self._events = events
        self._leases = leases
        self._living = {row.number: row.living for row in rows}
        self._empty = {
            row.number for row in rows if not row.living
        }  # segments that no run names, perhaps the active one
        self._dead: list[int] = []  # those whose rows the next group deletes, and then the files
        self._compaction = Compaction(segments)
        self._newest_snapshot = index.newest_snapshot()
        self._requests = OrderedDict.fromkeys(index.requests())
        self._numbers = itertools.count(index.next_id())
        self._log_limit = log_bytes
        self._log_bytes = 0  # of the index's log since it was last shortened, about
        self._lock = threading.Lock()  # held while a group is worked on; taken before any other lock of the store
        self._waiting: list[_Ticket] = []
        self._led = False  # somebody works on a group, and will look who waits
        self._waiting_lock = threading.Lock()
        self._broken: StoreError | None = None

    def commit(self, commit: Commit) -> CommitAnswer:
        """See `Store.commit`."""
        ticket = _Ticket(commit)
        with self._waiting_lock:
            self._waiting.append(ticket)
            ticket.leads, self._led = not self._led, True
        if not ticket.leads:
            self._wait(ticket)
        answer = ticket.outcome()
        if answer is None:
            self._lead()
            answer = ticket.outcome()
        assert answer is not None
        return answer

    def compactable(self, share: float) -> tuple[int, int]:
        """Of segments with less than `share` alive: how many bytes would be moved, and how many given back."""
        with self.exclusive():
            numbers = self._compaction.plan(self._living, share)
            alive = sum(self._living[number] for number in numbers)
            return alive, sum(self._segments.ends[number] for number in numbers) - alive

    def compact(self, share: float) -> Iterator[int]:
        """Empty these segments, a group at a time; gives how many bytes each group moved. Raises StoreError.

        Commits of others go on in between. The newest segment is emptied too, into a new one.
        """
        with self.exclusive():
            among = self._compaction.plan(self._living, share)
        yield from self._sweep(among)

    def _sweep(self, among: set[int]) -> Iterator[int]:
        with self.exclusive():
            if self._segments.active in among:
                self._segments.retire()
        more = True
        while more or self._dead:
            with self.exclusive():
                batch = self._segments.batch()
                group = Group(self._source(), batch)
                more = more and self._compaction.sweep(group, self._living, among)
                self._write(group, batch)
                self._shorten_log()
            yield batch.appended

    def compact_within(self, share: float, room: int) -> bool:
        """Empty the segment of less than `share` alive that gives most back, among those of which what is alive fits
        into `room`, and remove those of which nothing is; whether anything was done. Raises StoreError.
        """
        with self.exclusive():
            chosen = self._best(share, room)
            if not chosen and not self._dead:
                return False
        for _ in self._sweep(chosen):
            pass
        return True

    def compactable_within(self, share: float, room: int) -> bool:
        """Whether `compact_within` would do anything."""
        with self.exclusive():
            return bool(self._dead or self._best(share, room))

    def _best(self, share: float, room: int) -> set[int]:
        ends = self._segments.ends
        fitting = [n for n in self._compaction.plan(self._living, share) if 0 < self._living[n] <= room]
        return set(sorted(fitting, key=lambda n: self._living[n] - ends[n])[:1])

    def create_snapshot(self, name: str, taken: int) -> Snapshot:
        """Of what is committed. Raises StoreError (EXISTS, LIMIT)."""
        with self.exclusive():
            if self._index.snapshot(name) is not None:
                raise existing_snapshot(name)
            if self._index.snapshot_count() >= MAX_SNAPSHOTS:
                raise too_many_snapshots()
            with self._breaking():
                self._index.create_snapshot(name, taken)
                self._newest_snapshot = self.state.cursor
            return Snapshot(name, self.state.cursor, taken)

    def delete_snapshot(self, name: str) -> None:
        """Forget it, and what only it needs. Raises StoreError (NOT_FOUND)."""
        with self.exclusive():
            snapshot = self._index.snapshot(name)
            if snapshot is None:
                raise unknown_snapshot(name)
            with self._breaking():
                living = self._index.delete_snapshot(name, snapshot.cursor)
                self._newest_snapshot = self._index.newest_snapshot()
                self._note_living(living)

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """A transaction of its own: after a failure but for room, only a reopened store knows what became of it."""
        try:
            yield
        except StoreError as error:
            if error.kind is not Kind.NO_SPACE:
                self._break(error)
            raise
        except BaseException:
            self._break(StoreError(Kind.IO, "a change of a snapshot was interrupted"))
            raise

    def forget_tombstones(self, tombstones: Sequence[tuple[bytes, int]]) -> int:
        """Delete the rows of removed blocks that still have these versions; how many. Raises StoreError."""
        with self.exclusive():
            count = self._index.forget_tombstones(tombstones)
            for block, _ in tombstones:
                self._cache.drop(block)
            self._cache.publish({})  # who is just loading one does not keep it
            return count

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No group is worked on within. Raises StoreError if the writer is broken or stopped."""
        with self._lock:
            self._check_writable()
            yield

    def stop(self, reason: StoreError) -> bool:
        """Refuse all further commits, once the current group is done; False if they were refused for good before."""
        with self._lock:
            stopped = self._broken is reason
            self._broken = reason
            return not stopped

    def _wait(self, ticket: _Ticket) -> None:
        """Until it is done or leads. Who is interrupted meanwhile leaves the queue, and passes the lead on."""
        try:
            ticket.wake.acquire()
        except BaseException:
            with self._waiting_lock:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                    if ticket.leads:
                        self._choose_leader()
            raise

    def _choose_leader(self) -> None:
        """Wake the first who waits to lead; with the queue's lock held."""
        self._led = bool(self._waiting)
        if self._led:
            self._waiting[0].leads = True
            self._waiting[0].wake.release()

    def _lead(self) -> None:
        """Commit all that waits, wake who waited, and hand the lead to the first of those who came meanwhile."""
        with self._lock:
            with self._waiting_lock:
                tickets, self._waiting = self._waiting, []
            try:
                self._commit_group(tickets)
            finally:
                self._hand_over(tickets)
            self._shorten_log()

    def _hand_over(self, tickets: list[_Ticket]) -> None:
        for ticket in tickets:
            if ticket.answer is None and ticket.error is None:
                ticket.error = StoreError(Kind.IO, "the commit was interrupted", "repeat the same request")
            ticket.wake.release()
        with self._waiting_lock:
            self._choose_leader()

    def _commit_group(self, tickets: list[_Ticket]) -> None:
        """Bring some commits to their end."""
        try:
            self._check_writable()
            answers = self._write_group([ticket.commit for ticket in tickets])
        except StoreError as error:
            for ticket in tickets:
                ticket.error = error
            return
        for ticket, answer in zip(tickets, answers, strict=True):
            ticket.answer = answer

    def _write_group(self, commits: list[Commit]) -> list[CommitAnswer]:
        batch = self._segments.batch()
        group = Group(self._source(), batch)
        answers = [group.add(commit) for commit in commits]
        if not group.events:
            return answers
        self._compaction.step(group, batch, self._living)
        self._write(group, batch)
        return answers

    def _write(self, group: Group, batch: Batch) -> None:
        """Make a group durable, and show it. Raises StoreError."""
        changes = group.changes(self._dead)
        try:
            batch.sync()
        except StoreError:
            self._compaction.undo()
            raise
        try:
            self._index.write(changes)
            self._show(group, batch, changes.state)
        except StoreError as error:
            self._compaction.undo()
            if error.kind is not Kind.NO_SPACE:
                self._break(error)
            raise
        except BaseException:
            self._break(StoreError(Kind.IO, "a commit was interrupted"))
            raise
        self._log_bytes += _PAGE * changes.rows

    def _show(self, group: Group, batch: Batch, state: State) -> None:
        """What is durable now becomes true for everyone."""
        batch.adopt()
        self.state = state
        self._cache.publish(group.published())
        self._requests.update(dict.fromkeys(group.requests))
        while len(self._requests) > REPLAY_RECORDS:
            self._requests.popitem(last=False)
        self._events.append(group.events)
        self._bury(group.living())

    def _bury(self, living: Mapping[int, int]) -> None:
        """Delete the files whose rows are gone, and note segments that no run names any more for the next group."""
        dead, self._dead = self._dead, []
        for number in dead:
            self._living.pop(number, None)
            self._segments.forget(number)
        self._note_living(living)

    def _note_living(self, living: Mapping[int, int]) -> None:
        self._living.update(living)
        self._empty = {n for n in self._empty | living.keys() if self._living.get(n) == 0}
        self._dead = [number for number in self._empty if number != self._segments.active]

    def _source(self) -> Source:
        return Source(
            state=self.state,
            load_heads=self._cache.load_heads,
            load=self._cache.load,
            load_small=self._load_small,
            load_kept=self._index.kept_runs,
            snapshot=self._newest_snapshot,
            known_request=self._requests.__contains__,
            fence=self._leases.fence,
            living=self._living,
            next_number=self._numbers.__next__,
        )

    def _load_small(self, block: bytes) -> bytes:
        small = self._index.heads_and_smalls([block]).get(block, (None, None))[1]
        if small is None:
            raise StoreError(Kind.INTEGRITY, f"the index {self._index.path} lost the small record of {block.hex()}")
        return small

    def shorten_log_now(self) -> None:
        """So that it is written from its beginning again, and need not grow. Raises StoreError (broken, stopped)."""
        with self.exclusive():
            self._checkpoint()

    def _shorten_log(self) -> None:
        """Copy the index's log into its file, now and then. What was committed is durable whatever becomes of this."""
        if self._log_bytes > self._log_limit and self._broken is None:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._log_bytes = 0
        try:
            self._index.checkpoint()
        except StoreError as error:
            if error.kind is not Kind.NO_SPACE:  # then the log has everything as before, and is longer for now
                self._break(error)

    def _break(self, error: StoreError) -> None:
        self._broken = StoreError(error.kind, f"{error.message} (earlier)", "close the store and open it again")

    def _check_writable(self) -> None:
        if self._broken is not None:
            raise StoreError(self._broken.kind, self._broken.message, self._broken.hint)
