"""The model against a real file system: whatever the generator makes up, both look the same after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.generator import Generator
from tests.faults.model import Seen, Tree
from tests.faults.operations import Link, Make, MakeDirectory, Operation, Rename, Write, content
from tests.faults.recovered import read_tree
from tests.faults.workload import Worker

OPERATIONS = 250


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    before = os.umask(0)
    (tmp_path / "w0").mkdir(0o755)
    yield tmp_path
    os.umask(before)


def shown(tree: Tree) -> dict[str, Seen | None]:
    return {path: tree.see(path) for path in tree.nodes}


@pytest.mark.parametrize("seed", range(4))
def test_the_model_does_what_a_file_system_does(place: Path, seed: int) -> None:
    tree = Tree("w0")
    generator, worker = Generator(tree, Random(seed), 0, 0.0), Worker(place, commit_on_close=False)
    for _ in range(OPERATIONS):
        operation = generator.next()
        before = shown(tree)
        worker.perform(operation, tree)
        touched = tree.apply(operation)
        assert read_tree(place) == shown(tree), operation
        after = shown(tree)
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        assert changed <= touched, operation
    worker.close()


def test_the_same_seed_makes_the_same_operations() -> None:
    def some() -> list[Operation]:
        tree = Tree("w0")
        generator, made = Generator(tree, Random("seed"), 0, 0.1), []
        for _ in range(OPERATIONS):
            made.append(generator.next())
            tree.apply(made[-1])
        return made

    assert some() == some()


def test_a_directory_takes_along_what_is_in_it() -> None:
    tree = Tree("w0")
    for operation in (MakeDirectory("w0/a", 0o700), Make("w0/a/f", 0o600), Write("w0/a/f", 0, 3, 1)):
        tree.apply(operation)
    tree.apply(Link("w0/a/f", "w0/g"))
    assert {"w0/a", "w0/b", "w0/a/f", "w0/b/f"} <= tree.apply(Rename("w0/a", "w0/b"))
    assert tree.see("w0/a/f") is None
    seen = tree.see("w0/b/f")
    assert seen is not None
    assert (seen.links, seen.data) == (2, content(1, 3))


def test_two_tags_have_no_sector_in_common() -> None:
    sectors = {content(tag, 5 * 16384)[start : start + 16384] for tag in (1, 2) for start in range(0, 5 * 16384, 16384)}
    assert len(sectors) == 10
