"""One group of commits, worked out before anything is written: who is refused, and which rows and runs the rest make.

Commits of a group are considered in order, each against what those before it leave; so the outcome is as if they had
come one after another, while all share one write, one sync and one transaction. Nothing is visible, in memory or on
disk, until the group is finished and published as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from ._index import Changes, HeadRow, State
from ._interface import (
    BlockChange,
    Change,
    Commit,
    CommitAnswer,
    Committed,
    Conflict,
    Fenced,
    RecordHole,
    RecordRun,
)
from ._limits import INLINE_LIMIT
from ._past_rows import KeptRun
from ._placement import Delta, Level, Run
from ._segments import Batch

INLINE_BYTES = 256 * 1024  #: a group with more bytes of records than this pays for a sync of a segment
INLINE_ALWAYS = 2048  #: below this a row of the index is cheaper than a run: its place is a row too

KEPT_AT_ONCE = 1024  #: rows of one look at what only snapshots need in a segment

Levels = dict[int, Level]
Buffer = bytes | memoryview
Position = tuple[int, int]  # a level and a record: where to go on in a block
BEGINNING: Position = (0, 0)


class Block(msgspec.Struct, frozen=True):
    """A published state of a block: its head row, and where its records lie (None: not loaded). Never changed."""

    head: HeadRow
    levels: Levels | None


class Draft:
    """A block as the group leaves it, next to the rows that must change."""

    __slots__ = (
        "_copied",
        "before",
        "born",
        "deltas",
        "inline",
        "is_new",
        "levels",
        "number",
        "removed",
        "signed",
        "small",
        "small_gone",
        "stored",
        "version",
    )

    def __init__(self, number: int, block: Block | None) -> None:
        self.number = number
        self.is_new = block is None
        head = HeadRow(number, 0, False, 0, False, b"", 0) if block is None else block.head
        self.before = head
        self.version, self.removed, self.signed, self.born = head.version, head.removed, head.signed, head.born
        self.stored, self.inline = head.stored, head.inline
        self.levels: Levels | None = {} if block is None or head.inline or not head.stored else block.levels
        self._copied: set[int] = set()
        self.small: Buffer | None = None  # the small record, where this group writes or moves it
        self.small_gone = False
        self.deltas: dict[int, Delta] = {}

    def level(self, number: int) -> Level:
        """A level that may be changed."""
        assert self.levels is not None
        if number not in self._copied:
            if not self._copied:
                self.levels = dict(self.levels)
            old = self.levels.get(number)
            self.levels[number] = Level() if old is None else old.copy()
            self._copied.add(number)
        return self.levels[number]

    def replace(self, level: int, start: int, end: int, new: Run | None) -> list[Run]:
        gone = self.level(level).replace(start, end, new, self.deltas.setdefault(level, {}))
        self.stored += 0 if new is None else new.data_size
        for run in gone:
            self.stored -= run.data_size
        return gone

    def clear(self) -> list[tuple[int, list[Run]]]:
        """Drop every placed record; returns what went, by level."""
        gone = [(number, level.runs) for number, level in (self.levels or {}).items()]
        for number, runs in gone:
            self.deltas.setdefault(number, {}).update(dict.fromkeys([run.first for run in runs]))
            self.stored -= sum(run.data_size for run in runs)
        self.levels, self._copied = {}, set()
        return gone

    def drop_small(self) -> None:
        self.inline, self.small, self.small_gone, self.stored = False, None, True, 0

    def holds_only_first(self) -> bool:
        """Whether record (0, 0) is the only one, if there is any."""
        runs = [(number, run) for number, level in (self.levels or {}).items() for run in level.runs]
        return not runs or (len(runs) == 1 and runs[0][0] == 0 and runs[0][1][:2] == (0, 1))

    def published(self) -> Block:
        head = HeadRow(self.number, self.version, self.removed, self.stored, self.inline, self.signed, self.born)
        return Block(head, self.levels)


class Source(msgspec.Struct, frozen=True):
    """What a group needs to know of the store that it will change."""

    state: State
    load_heads: Callable[[Sequence[bytes]], Mapping[bytes, Block]]  #: published states, perhaps without levels
    load: Callable[[bytes], Block | None]  #: a published state with its levels
    load_small: Callable[[bytes], bytes]
    load_kept: Callable[[int, int], Sequence[KeptRun]]  #: runs in a segment that only snapshots need, up to a count
    snapshot: (
        int  #: the cursor of the newest snapshot: what was born until then is kept when it goes; -1: there is none
    )
    known_request: Callable[[bytes], bool]
    fence: Callable[[bytes], int]
    living: Mapping[int, int]  #: living bytes of each segment
    next_number: Callable[[], int]  #: a fresh row id for a new block


class Group:
    """Commits that will become durable together."""

    def __init__(self, source: Source, batch: Batch) -> None:
        self._source = source
        self._batch = batch
        self._drafts: dict[bytes, Draft] = {}
        self._requests: dict[bytes, int] = {}
        self._living: dict[int, int] = {}
        self._born = (
            source.state.cursor + 1
        )  # no snapshot is taken while a group is worked on: one number for all of it
        self._kept: list[KeptRun] = []
        self._kept_gone: list[KeptRun] = []
        self._expected_bytes = 0
        self._inline_limit = INLINE_LIMIT
        self.events: list[list[Change]] = []

    def add(self, commit: Commit) -> CommitAnswer:
        """Take a commit in, or say why not. The answer of one that was taken counts once the group is durable."""
        source, cursor = self._source, self._source.state.cursor
        if commit.request in self._requests or source.known_request(commit.request):
            return Committed(self._requests.get(commit.request, cursor))
        for key, fence in commit.fences:
            if fence < source.fence(key):
                return Fenced(key, source.fence(key))
        unknown = [change.block for change in commit.changes if change.block not in self._drafts]
        published = source.load_heads(unknown)
        drafts = [self._draft(change, published) for change in commit.changes]
        for change, draft in zip(commit.changes, drafts, strict=True):
            if draft.version != change.expected:
                return Conflict(change.block, draft.version)
        self._expect(commit)
        for change, draft in zip(commit.changes, drafts, strict=True):
            self._drafts[change.block] = draft
            self._apply(change, draft)
        self.events.append([Change(change.block, change.version) for change in commit.changes])
        self._requests[commit.request] = cursor + len(self.events)
        return Committed(cursor + len(self.events))

    def move(
        self, block: bytes, segment: int, budget: int, start: Position, read: Callable[[int, int, int], bytes]
    ) -> tuple[int, Position | None]:
        """Copy runs of a block out of a segment, from `start` on, up to about `budget` bytes.

        Returns how many, and where to go on if there may be more. `read(segment, size, offset)` reads what is copied.
        The block keeps its version; nobody is told.
        """
        draft = self._draft_of(block)
        if draft is None or draft.inline:
            return 0, None
        moved = 0
        for level, run in _runs_since(draft.levels or {}, start):
            if run.segment != segment:
                continue
            if moved >= budget:
                return moved, (level, run.first)
            part = run.cut(run.first, run.first + min(run.length, max(1, (budget - moved) // run.size)))
            records = part.split(read(segment, part.data_size, part.offset))
            self._drafts[block] = draft
            for placed in self._append(block, draft.version, RecordRun(level, part.first, records), part.born):
                self._freed(draft.replace(level, placed.first, placed.end, placed))
            moved += part.data_size
            if part.length < run.length:
                return moved, (level, part.end)
        return moved, None

    def move_kept(self, segment: int, budget: int, read: Callable[[int, int, int], bytes]) -> tuple[int, bool]:
        """The same for runs that only snapshots need, once a group.

        Returns how many bytes, and whether there may be more.
        """
        moved = 0
        rows = self._source.load_kept(segment, KEPT_AT_ONCE)
        for kept in rows:
            if moved >= budget:
                return moved, True
            run = kept.run
            part = run.cut(run.first, run.first + min(run.length, max(1, (budget - moved) // run.size)))
            records = part.split(read(segment, part.data_size, part.offset))
            pieces = self._append(kept.block, 0, RecordRun(kept.level, part.first, records), run.born)
            if part.end < run.end:
                pieces.append(run.cut(part.end, run.end))
            self._kept_gone.append(kept)
            self._kept += [kept._replace(run=piece) for piece in pieces]
            self._freed([part])
            moved += part.data_size
        pending = any(kept.run.segment == segment for kept in self._kept)
        return moved, pending or len(rows) == KEPT_AT_ONCE

    def changes(self, dead: Sequence[int]) -> Changes:
        """All rows to write, those of `dead` segments being deleted."""
        drafts = self._drafts
        new = [(block, d) for block, d in drafts.items() if d.is_new]
        old = [d for d in drafts.values() if not d.is_new]
        deltas = [(d.number, level, delta) for d in drafts.values() for level, delta in d.deltas.items()]
        return Changes(
            state=self._state(),
            inserted=[
                (d.number, block, d.version, d.removed, d.stored, d.inline, d.signed, d.born) for block, d in new
            ],
            updated=[(d.version, d.removed, d.stored, d.inline, d.signed, d.born, d.number) for d in old],
            heads_kept=[(self._born, d.number) for d in old if self._needs_kept_head(d)],
            runs_kept=[kept.row for kept in self._kept],
            kept_gone=[(k.block, k.level, k.run.first, k.died) for k in self._kept_gone],
            smalls=[(d.number, d.small) for d in drafts.values() if d.inline and d.small is not None],
            small_gone=[(d.number,) for d in drafts.values() if d.small_gone and not d.inline],
            runs=[(n, level, *run) for n, level, delta in deltas for run in delta.values() if run is not None],
            run_gone=[(n, level, first) for n, level, delta in deltas for first, run in delta.items() if run is None],
            segments_gone=[(number,) for number in dead],
            segments=[(number, self._batch.end_of(number), living) for number, living in self.living().items()],
            requests=[(cursor, request) for request, cursor in self._requests.items()],
        )

    def published(self) -> dict[bytes, Block]:
        """The states to show once the group is durable."""
        return {block: draft.published() for block, draft in self._drafts.items()}

    @property
    def requests(self) -> list[bytes]:
        return list(self._requests)

    def living(self) -> dict[int, int]:
        """Living bytes of the segments that this group touches."""
        return {number: self._source.living.get(number, 0) + grown for number, grown in self._living.items()}

    def _draft(self, change: BlockChange, published: Mapping[bytes, Block]) -> Draft:
        """The block as it stands in this group, with everything loaded that applying the change needs."""
        draft = self._drafts.get(change.block)
        if draft is None:
            block = published.get(change.block)
            draft = Draft(self._source.next_number() if block is None else block.head.id, block)
        touches_records = bool(change.runs or change.holes or change.removed)
        if touches_records and draft.levels is None:
            loaded = self._source.load(change.block)
            assert loaded is not None
            draft.levels = loaded.levels
        if touches_records and draft.inline and draft.small is None:
            draft.small = self._source.load_small(change.block)
        return draft

    def _draft_of(self, block: bytes) -> Draft | None:
        """A block as it stands in this group, with its levels; None if there is none."""
        draft = self._drafts.get(block)
        if draft is None:
            found = self._source.load(block)
            return None if found is None else Draft(found.head.id, found)
        if draft.levels is None:
            found = self._source.load(block)
            draft.levels = None if found is None else found.levels
        return draft

    def _expect(self, commit: Commit) -> None:
        """Where segments must be synced anyway, or many bodies come at once, only the smallest go into the index."""
        self._expected_bytes += sum(sum(map(len, run.records)) for c in commit.changes for run in c.runs)
        if self._expected_bytes > INLINE_BYTES:
            self._inline_limit = INLINE_ALWAYS

    def _apply(self, change: BlockChange, draft: Draft) -> None:
        draft.version, draft.signed, draft.removed = change.version, change.signed, change.removed
        draft.born = self._born
        if change.removed:
            self._remove_records(draft, change.block)
        for hole in change.holes:
            self._punch(draft, change.block, hole)
        if _is_small(change.runs, self._inline_limit) and draft.holds_only_first():
            self._write_small(draft, change.block, change.runs[0].records[0])
        elif change.runs:
            self._move_small(change, draft)
            for run in change.runs:
                self._place(draft, change.block, run)

    def _remove_records(self, draft: Draft, block: bytes) -> None:
        if draft.inline:
            draft.drop_small()
        for level, runs in draft.clear():
            self._replaced(block, level, runs)

    def _punch(self, draft: Draft, block: bytes, hole: RecordHole) -> None:
        if not hole.count:
            return
        if draft.inline:
            if hole.level == 0 and hole.first == 0:
                draft.drop_small()
        elif draft.levels and hole.level in draft.levels:
            gone = draft.replace(hole.level, hole.first, hole.first + hole.count, None)
            self._replaced(block, hole.level, gone)

    def _write_small(self, draft: Draft, block: bytes, record: Buffer) -> None:
        if not draft.inline:
            self._remove_records(draft, block)
        draft.inline, draft.small, draft.stored = True, record, len(record)

    def _move_small(self, change: BlockChange, draft: Draft) -> None:
        """A block that outgrows the index takes its small record along."""
        if draft.inline:
            small = draft.small
            assert small is not None
            draft.drop_small()
            self._place(draft, change.block, RecordRun(0, 0, [small]))

    def _place(self, draft: Draft, block: bytes, run: RecordRun) -> None:
        for placed in self._append(block, draft.version, run, self._born):
            self._replaced(block, run.level, draft.replace(run.level, placed.first, placed.end, placed))

    def _append(self, block: bytes, version: int, run: RecordRun, born: int) -> list[Run]:
        placed = self._batch.add(block, version, run.level, run.first, run.records, born)
        for part in placed:
            self._living[part.segment] = self._living.get(part.segment, 0) + part.data_size
        return placed

    def _replaced(self, block: bytes, level: int, runs: list[Run]) -> None:
        """These are no longer what the block has; what a snapshot has stays alive."""
        newest = self._source.snapshot
        for run in runs:
            if run.born <= newest:
                self._kept.append(KeptRun(block, level, self._born, run))
            else:
                self._living[run.segment] = self._living.get(run.segment, 0) - run.data_size

    def _freed(self, runs: list[Run]) -> None:
        for run in runs:
            self._living[run.segment] = self._living.get(run.segment, 0) - run.data_size

    def _needs_kept_head(self, draft: Draft) -> bool:
        return draft.before.born <= self._source.snapshot and draft.version != draft.before.version

    def _state(self) -> State:
        state, blocks, stored = self._source.state, 0, 0
        for draft in self._drafts.values():
            blocks += (not draft.removed) - (not draft.is_new and not draft.before.removed)
            stored += draft.stored - draft.before.stored
        return State(state.store_id, state.cursor + len(self.events), state.blocks + blocks, state.stored + stored)


def _runs_since(levels: Levels, start: Position) -> Iterator[tuple[int, Run]]:
    """Runs with their levels, in order; what is replaced meanwhile is not seen again."""
    for level in sorted(level for level in levels if level >= start[0]):
        for run in levels[level].since(start[1] if level == start[0] else 0):
            yield level, run


def _is_small(runs: list[RecordRun], limit: int) -> bool:
    """Whether a change writes record (0, 0) alone, and that is small enough for the index."""
    if len(runs) != 1 or runs[0].level or runs[0].first or len(runs[0].records) != 1:
        return False
    return len(runs[0].records[0]) <= limit
