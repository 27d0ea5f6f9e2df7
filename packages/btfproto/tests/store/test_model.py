"""The stores against a model, in steps that Hypothesis chooses."""

from __future__ import annotations

import shutil
import tempfile
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
        shutil.rmtree(self.directory)


class CompactingMachine(EmbeddedMachine):
    segment_size = 60_000  # full after a few records, so that compaction always has something to do


def test_the_memory_store_is_its_model() -> None:
    run_state_machine_as_test(MemoryMachine, settings=STEPS)


def test_the_embedded_store_is_its_model_also_after_reopening() -> None:
    run_state_machine_as_test(EmbeddedMachine, settings=STEPS)


def test_the_embedded_store_is_its_model_while_it_compacts() -> None:
    run_state_machine_as_test(CompactingMachine, settings=STEPS)
