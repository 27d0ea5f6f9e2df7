"""Power cuts among random changes and snapshots: at every sync of a segment, and between the statements of the index.

Whatever was going on, the store then has what it had before it, or after it, whole; and so has each snapshot.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from btfproto.store import EmbeddedStore, RecordHole, Store
from btfproto.testing._store_tools import A, B, C, change, must_commit, records_of, run

from .test_crashes import LossyFiles, opened

BLOCKS = [A, B, C]
RECORDS = 6  #: of a block, at the most
STEPS = 30
KEPT = 0.4  #: share of the statements at which power is cut
Records = dict[int, bytes]


@dataclass
class Model:
    """What a store has: of each block its version and records; and of each snapshot the records."""

    blocks: dict[bytes, tuple[int, Records]] = field(default_factory=lambda: dict.fromkeys(BLOCKS, (0, {})))
    snapshots: dict[str, dict[bytes, Records]] = field(default_factory=dict)

    def changed(self, block: bytes, records: Records) -> Model:
        version = self.blocks[block][0] + 1
        return Model({**self.blocks, block: (version, records)}, self.snapshots)

    def with_snapshot(self, name: str) -> Model:
        taken = {block: records for block, (_, records) in self.blocks.items()}
        return Model(self.blocks, {**self.snapshots, name: taken})

    def without_snapshot(self, name: str) -> Model:
        return Model(self.blocks, {known: tree for known, tree in self.snapshots.items() if known != name})


def observed(store: EmbeddedStore) -> Model:
    def records(of: Store, block: bytes) -> Records:
        found = records_of(of, block, 0, 0, RECORDS)
        return {index: record for index, record in enumerate(found) if record is not None}

    blocks = {block: (store.read_records(block, []).version, records(store, block)) for block in BLOCKS}
    names = [snapshot.name for snapshot in store.snapshots()]
    return Model(blocks, {name: {block: records(store.at(name), block) for block in BLOCKS} for name in names})


def random_step(chooser: Random, step: int, model: Model) -> tuple[Model, Callable[[EmbeddedStore], object]]:
    """What a store is to do next, and what it then has."""
    block = chooser.choice(BLOCKS)
    version, records = model.blocks[block]
    kind = chooser.choices(["write", "small", "hole", "remove", "create", "delete", "compact"], [6, 2, 2, 1, 3, 2, 1])[
        0
    ]
    if kind == "create" or not model.snapshots:
        return model.with_snapshot(f"s{step}"), lambda store: store.create_snapshot(f"s{step}", step)
    if kind == "delete":
        name = chooser.choice(sorted(model.snapshots))
        return model.without_snapshot(name), lambda store: store.delete_snapshot(name)
    if kind == "compact":
        return model, lambda store: list(store.compact(0.9))
    if kind == "remove" and version:
        return model.changed(block, {}), lambda store: must_commit(store, change(block, version, removed=True))
    if kind == "hole":
        first, count = chooser.randrange(RECORDS), chooser.randrange(1, RECORDS)
        left = {index: record for index, record in records.items() if not first <= index < first + count}
        holes = [RecordHole(0, first, count)]
        return model.changed(block, left), lambda store: must_commit(store, change(block, version, holes=holes))
    if kind == "small":
        first, written = 0, [b"small %d" % step]
    else:
        first = chooser.randrange(RECORDS - 2)
        written = [b"%03d.%d" % (step, index) * 1_500 for index in range(chooser.randrange(1, 4))]
    new = {**records, **{first + index: record for index, record in enumerate(written)}}
    return model.changed(block, new), lambda store: must_commit(store, change(block, version, run(0, first, *written)))


@pytest.mark.parametrize("seed", range(6))
def test_a_power_cut_at_any_sync_or_statement_leaves_the_state_before_or_after(tmp_path: Path, seed: int) -> None:
    chooser, files = Random(seed), LossyFiles()
    cuts: list[tuple[Path, list[Model]]] = []
    allowed = [Model()]

    def cut(statement: str = "") -> None:
        if statement.lstrip().startswith("--") or (statement and chooser.random() > KEPT):
            return
        cuts.append((files.power_cut(tmp_path / "store", tmp_path / f"cut{len(cuts)}"), allowed))

    with closing(EmbeddedStore(tmp_path / "store", files=files, segment_size=30_000)) as store:
        files.before_sync = files.after_sync = cut
        store._index._writer.set_trace_callback(cut)
        for step in range(STEPS):
            after, act = random_step(chooser, step, allowed[-1])
            allowed = [allowed[-1], after]
            act(store)
            allowed = [after]
            cut()
        store._index._writer.set_trace_callback(None)
        assert observed(store) == allowed[0]
    assert len(cuts) > 100
    for directory, models in cuts:
        with opened(directory) as store:
            assert observed(store) in models
            for _ in store.compact(0.9):
                pass
            assert observed(store) in models
        shutil.rmtree(directory)
