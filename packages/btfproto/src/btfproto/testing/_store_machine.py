"""`StoreMachine`: a store against a model, step by step, chosen by Hypothesis.

The model is a dictionary of versions and records. Subclass it, and say how to open a store (and, if it is durable, let
`durable` be True: then it is closed and opened again between steps, and must remember everything).
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from ..store import (
    Absent,
    BlockChange,
    Commit,
    Committed,
    Conflict,
    Found,
    HeadWant,
    RecordHole,
    RecordRef,
    RecordRun,
    Snapshots,
    Store,
)
from ._store_tools import block_id, change, commit_of

BLOCKS = [block_id(("model", number)) for number in range(4)]
LEVELS = st.integers(0, 1)
NUMBERS = st.integers(0, 12)

NAMES = st.sampled_from(["one", "two", "three"])

Records = dict[tuple[int, int], bytes]
Frozen = dict[bytes, tuple[int, bool, Records]]  # version, removed, records of each block


@st.composite
def record_runs(draw: st.DrawFn) -> RecordRun:
    """A run of records: mostly of one size, sometimes of any, at times beyond what the index keeps."""
    size = draw(st.sampled_from([1, 5, 700, 20_000]))
    count = draw(st.integers(1, 6))
    sizes = [size] * count if draw(st.booleans()) else [draw(st.integers(1, size)) for _ in range(count)]
    mark = draw(st.integers(0, 255))
    return RecordRun(draw(LEVELS), draw(NUMBERS), [bytes([(mark + i) % 256]) * n for i, n in enumerate(sizes)])


HOLES = st.builds(RecordHole, LEVELS, NUMBERS, st.integers(0, 20))


@st.composite
def block_changes(draw: st.DrawFn) -> tuple[bytes, int, bool, list[RecordHole], list[RecordRun]]:
    """Block, error in the expected version (mostly none), removal, holes, runs."""
    block = draw(st.sampled_from(BLOCKS))
    error = draw(st.sampled_from([0, 0, 0, 0, 1]))
    if draw(st.integers(0, 9)) == 0:
        return block, error, True, [], []
    return block, error, False, draw(st.lists(HOLES, max_size=2)), draw(st.lists(record_runs(), max_size=3))


class StoreMachine(RuleBasedStateMachine):
    """The model and the rules."""

    durable = False
    applied = Bundle("applied")

    def open_store(self) -> Store:
        """A new store, or, where `durable`, the same one again."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.store = self.open_store()
        self.versions: dict[bytes, int] = {}
        self.removed: set[bytes] = set()
        self.records: dict[bytes, Records] = {}
        self.snapshots: dict[str, Frozen] = {}

    @rule(target=applied, parts=st.lists(block_changes(), min_size=1, max_size=4, unique_by=lambda part: part[0]))
    def commit(self, parts: list[tuple[bytes, int, bool, list[RecordHole], list[RecordRun]]]) -> Commit:
        changes = [
            change(block, self.versions.get(block, 0) + error, *runs, holes=holes, removed=removed)
            for block, error, removed, holes, runs in parts
        ]
        request = commit_of(*changes)
        answer = self.store.commit(request)
        wrong = [change for change, part in zip(changes, parts, strict=True) if part[1]]
        if wrong:
            assert answer == Conflict(wrong[0].block, self.versions.get(wrong[0].block, 0))
            return commit_of()
        assert isinstance(answer, Committed)
        for change_ in changes:
            self._apply(change_)
        return request

    @rule(request=applied)
    def repeat(self, request: Commit) -> None:
        assert isinstance(self.store.commit(request), Committed)

    @rule()
    @precondition(lambda self: self.durable)
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open_store()

    @rule(block=st.sampled_from(BLOCKS), refs=st.lists(st.builds(RecordRef, LEVELS, st.integers(0, 20)), max_size=9))
    def read_anything(self, block: bytes, refs: list[RecordRef]) -> None:
        found = self.store.read_records(block, refs)
        assert found.version == self.versions.get(block, 0)
        expected = self.records.get(block, {})
        assert [r and bytes(r) for r in found.records] == [expected.get((ref.level, ref.index)) for ref in refs]

    @rule(block=st.sampled_from(BLOCKS), level=LEVELS)
    def read_everything(self, block: bytes, level: int) -> None:
        self.read_anything(block, [RecordRef(level, index) for index in range(40)])

    @rule(name=NAMES)
    def take_or_delete_snapshot(self, name: str) -> None:
        assert isinstance(self.store, Snapshots)
        if name in self.snapshots:
            self.store.delete_snapshot(name)
            del self.snapshots[name]
        else:
            self.store.create_snapshot(name, 1)
            # The tables are never changed, only replaced: see `_apply`.
            self.snapshots[name] = {b: (v, b in self.removed, self.records[b]) for b, v in self.versions.items()}

    @rule(name=NAMES)
    def read_the_past(self, name: str) -> None:
        assert isinstance(self.store, Snapshots)
        assert {snapshot.name for snapshot in self.store.snapshots()} == self.snapshots.keys()
        if name not in self.snapshots:
            return
        past, model = self.store.at(name), self.snapshots[name]
        assert {s.block: (s.version, s.removed, s.stored_bytes) for s in past.scan(None, 100)} == {
            block: (version, removed, sum(map(len, records.values())))
            for block, (version, removed, records) in model.items()
        }
        assert [(d.block, d.version) for d in past.digests(None, 100)] == sorted((b, m[0]) for b, m in model.items())
        for block, (version, _, expected) in model.items():
            refs = [RecordRef(level, index) for level in range(2) for index in range(20)]
            found = past.read_records(block, refs)
            assert found.version == version
            assert [r and bytes(r) for r in found.records] == [expected.get((ref.level, ref.index)) for ref in refs]

    @invariant()
    def heads_and_sums_agree(self) -> None:
        for block, answer in zip(BLOCKS, self.store.read_heads([HeadWant(b) for b in BLOCKS]), strict=True):
            self._check_head(block, answer)
        summaries = {s.block: (s.version, s.removed, s.stored_bytes) for s in self.store.scan(None, 100)}
        assert summaries == {
            block: (version, block in self.removed, sum(map(len, self.records[block].values())))
            for block, version in self.versions.items()
        }
        status = self.store.status()
        assert status.blocks == len(self.versions) - len(self.removed)
        assert status.stored_bytes == sum(summary[2] for summary in summaries.values())

    def teardown(self) -> None:
        self.store.close()

    def _check_head(self, block: bytes, answer: object) -> None:
        if block not in self.versions:
            assert answer == Absent()
            return
        assert isinstance(answer, Found)
        head, records = answer.head, self.records[block]
        assert (head.version, head.removed) == (self.versions[block], block in self.removed)
        assert head.small is None or records == {(0, 0): head.small}

    def _apply(self, change: BlockChange) -> None:
        records = {} if change.removed else dict(self.records.get(change.block, {}))
        for hole in change.holes:
            for index in range(hole.first, hole.first + hole.count):
                records.pop((hole.level, index), None)
        for run in change.runs:
            records |= {(run.level, run.first + i): bytes(record) for i, record in enumerate(run.records)}
        self.versions[change.block] = change.version
        self.records[change.block] = records
        (self.removed.add if change.removed else self.removed.discard)(change.block)
