"""The stores against a model, in steps that Hypothesis chooses."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from btfproto.store import EmbeddedStore, MemoryStore, Store
from btfproto.store._segments import SEGMENT_SIZE
from btfproto.testing.store import StoreMachine
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

STEPS = settings(max_examples=40, stateful_step_count=25, deadline=None)


class MemoryMachine(StoreMachine):
    def open_store(self) -> Store:
        return MemoryStore()


class EmbeddedMachine(StoreMachine):
    durable = True
    segment_size = SEGMENT_SIZE

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())

    def open_store(self) -> Store:
        return EmbeddedStore(self.directory, segment_size=self.segment_size)

    def teardown(self) -> None:
        super().teardown()
        self._check_living()
        shutil.rmtree(self.directory)

    def _check_living(self) -> None:
        """What the index counts as alive in each segment is what its rows name."""
        with closing(sqlite3.connect(self.directory / "index.sqlite")) as db:
            runs = "SELECT segment, (count - 1) * size + last AS bytes FROM"
            named = f"SELECT segment, sum(bytes) FROM ({runs} runs UNION ALL {runs} old_runs) GROUP BY 1"
            counted = "SELECT number, living FROM segments WHERE living"
            assert dict(db.execute(counted).fetchall()) == dict(db.execute(named).fetchall())


class CompactingMachine(EmbeddedMachine):
    segment_size = 60_000  # full after a few records, so that compaction always has something to do


def test_the_memory_store_is_its_model() -> None:
    run_state_machine_as_test(MemoryMachine, settings=STEPS)


def test_the_embedded_store_is_its_model_also_after_reopening() -> None:
    run_state_machine_as_test(EmbeddedMachine, settings=STEPS)


def test_the_embedded_store_is_its_model_while_it_compacts() -> None:
    run_state_machine_as_test(CompactingMachine, settings=STEPS)
