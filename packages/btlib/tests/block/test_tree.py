"""The Merkle tree against a slow, obvious second implementation, and its promises about laziness and damage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
from btlib.block import FANOUT, HOLE, SectorTree, TreeUpdate, leaf_hash, level_size, node_hash, tree_height
from btlib.errors import BlockError, IntegrityError
from btlib.labels import Label
from hypothesis import given, settings
from hypothesis import strategies as st

from .slow_tree import Nodes, slow_tree

#: Sector counts around every change of shape, up to trees that only laziness can handle.
COUNTS = st.one_of(
    st.sampled_from([0, 1, 2, 255, 256, 257, 511, 512, 65535, 65536, 65537, 2**24 + 1, 2**40, 2**48]),
    st.integers(0, 2**48),
)


def digest(seed: int) -> bytes:
    return hashlib.sha256(seed.to_bytes(8, "little")).digest()


class Model:
    """A tree with its stored nodes and all its leaves, changed by the fast code and compared with the slow one."""

    def __init__(self, cached_nodes: int = 512) -> None:
        self.leaves: dict[int, bytes] = {}
        self.stored: Nodes = {}
        self.tree = SectorTree(HOLE, 0, lambda level, index: self.stored.get((level, index)), cached_nodes=cached_nodes)

    def change(self, changes: Mapping[int, bytes], count: int) -> TreeUpdate:
        update = self.tree.update(changes, count)
        for (level, index), node in update.nodes.items():
            if node is None:
                self.stored.pop((level, index), None)
            else:
                self.stored[level, index] = node
        for dropped in update.dropped:
            for level, index in list(self.stored):
                if level == dropped.level and dropped.first <= index < dropped.first + dropped.count:
                    del self.stored[level, index]
        self.leaves = {i: h for i, h in {**self.leaves, **changes}.items() if i < count and h != HOLE}
        return update


def test_hashes_are_as_the_specification_defines_them() -> None:
    index = (5).to_bytes(8, "little")
    assert leaf_hash(5, b"stored") == hashlib.sha256(Label.LEAF.value + index + b"stored").digest()
    assert node_hash(1, 5, b"node") == hashlib.sha256(Label.NODE.value + b"\1" + index + b"node").digest()


@pytest.mark.parametrize(
    ("count", "height"), [(0, 0), (1, 0), (2, 1), (256, 1), (257, 2), (65536, 2), (65537, 3), (2**40, 5), (2**48, 6)]
)
def test_height_is_the_least_power_that_covers_all_sectors(count: int, height: int) -> None:
    assert tree_height(count) == height
    assert level_size(height, count) == min(count, 1)
    assert level_size(height + 1, count) == 0


def test_more_sectors_than_a_block_may_have_are_refused() -> None:
    with pytest.raises(BlockError, match="at most"):
        tree_height(2**48 + 1)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[dict[int, bytes], int]]:
    """A few versions of a tree: sector count, and leaves that change, near the start, the end and old leaves."""
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        count = draw(COUNTS)
        near = st.integers(0, 600) | st.integers(max(count - 600, 0), max(count - 1, 0))
        chosen = draw(st.dictionaries(near, st.integers(0, 9), max_size=12))
        steps.append(({i: digest(seed) if seed else HOLE for i, seed in chosen.items()}, count))
    return steps


@given(histories(), st.sampled_from([1, 3, 512]))
@settings(max_examples=150, deadline=None)
def test_updates_agree_with_the_slow_tree(steps: list[tuple[dict[int, bytes], int]], cached_nodes: int) -> None:
    model = Model(cached_nodes)
    for changes, count in steps:
        before = model.tree.root
        update = model.change(changes, count)
        assert model.tree.root == before
        model.tree.apply(update)
        root, nodes = slow_tree(model.leaves, count)
        assert (update.root, model.stored) == (root, nodes)
        for index in [*model.leaves, *changes, 0, count]:
            assert model.tree.leaf(index) == model.leaves.get(index, HOLE)
        fresh = SectorTree(root, count, lambda level, index: model.stored.get((level, index)))
        assert all(fresh.leaf(index) == h for index, h in model.leaves.items())


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(-2, 2), st.integers(0, 9), st.integers(0, 1600)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_updates_of_whole_nodes_agree_with_the_slow_tree(steps: list[tuple[int, int, int, int, int]]) -> None:
    """Whole nodes, one leaf more or less, in any order; hashes or holes."""
    model = Model()
    for parent, parents, ragged, seed, count in steps:
        indexes = range(parent * FANOUT, (parent + parents) * FANOUT + ragged)
        changes = {index: digest(seed * 10_000 + index) if seed else HOLE for index in reversed(indexes)}
        update = model.change(changes, count)
        model.tree.apply(update)
        assert (update.root, model.stored) == slow_tree(model.leaves, count)


@given(st.dictionaries(st.integers(0, 1200), st.integers(1, 9), max_size=40), st.integers(0, 1200), st.integers(1, 700))
@settings(max_examples=60, deadline=None)
def test_consecutive_leaves_are_the_single_ones(seeds: dict[int, int], first: int, count: int) -> None:
    model = Model()
    model.tree.apply(model.change({i: digest(seed) for i, seed in seeds.items()}, 1000))
    assert model.tree.leaves(range(first, first + count)) == [model.tree.leaf(i) for i in range(first, first + count)]


def test_a_sparse_tree_of_2_to_the_40_sectors_stores_one_node_a_level() -> None:
    model = Model()
    update = model.change({2**40 - 1: digest(1), 0: digest(2)}, 2**40)
    assert len(update.nodes) == 9
    assert sum(len(node or b"") for node in update.nodes.values()) < 9 * 256 * 32


def test_an_update_names_only_nodes_that_change() -> None:
    model = Model()
    model.tree.apply(model.change({i: digest(1) for i in range(1000)}, 1000))
    assert set(model.change({300: digest(2)}, 1000).nodes) == {(1, 1), (2, 0)}
    model.tree = SectorTree(*(slow_tree(model.leaves, 1000)[0], 1000), lambda level, index: model.stored[level, index])
    assert model.change({300: digest(2)}, 1000).nodes == {}


def test_nodes_that_are_not_cached_are_named_and_can_be_supplied_at_once() -> None:
    model = Model()
    model.tree.apply(model.change({i: digest(1) for i in range(0, 70000, 100)}, 70000))
    fetched: list[tuple[int, int]] = []

    def fetch(level: int, index: int) -> bytes | None:
        fetched.append((level, index))
        return model.stored.get((level, index))

    tree = SectorTree(model.tree.root, 70000, fetch)
    wanted = tree.missing([100, 69900])
    assert wanted == [(1, 0), (1, 273), (2, 0), (2, 1), (3, 0)]
    tree.supply({key: model.stored[key] for key in wanted})
    assert (tree.leaf(100), tree.leaf(69900), fetched) == (digest(1), digest(1), [])
    assert tree.missing([100, 69900]) == []


def built(count: int = 600) -> Model:
    model = Model()
    model.tree.apply(model.change({i: digest(i + 1) for i in range(count)}, count))
    return model


@pytest.mark.parametrize("key", [(1, 0), (1, 2), (2, 0)])
def test_a_flipped_missing_or_misplaced_node_is_refused(key: tuple[int, int]) -> None:
    model = built()
    good = model.stored[key]
    index = key[1] * FANOUT if key[0] == 1 else 0
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:-32], good + bytes(32), b"", None, model.stored[1, 1]):
        stored = {**model.stored, key: bad}
        tree = SectorTree(model.tree.root, 600, lambda level, index, stored=stored: stored[level, index])  # type: ignore[misc]
        with pytest.raises(IntegrityError, match="Merkle node"):
            tree.leaf(index)


@pytest.mark.parametrize("node", [bytes(32), digest(1) + bytes(32), digest(1)[:31], digest(1) * 3, b""])
def test_a_signed_node_of_a_shape_that_no_writer_stores_is_refused(node: bytes) -> None:
    tree = SectorTree(node_hash(1, 0, node), 2, lambda level, index: node)
    with pytest.raises(IntegrityError, match="Merkle node 1/0"):
        tree.leaf(0)


def test_supplied_nodes_are_verified() -> None:
    model = built()
    tree = SectorTree(model.tree.root, 600, lambda level, index: None)
    with pytest.raises(IntegrityError):
        tree.supply({(2, 0): model.stored[2, 0], (1, 1): model.stored[1, 0]})


def test_the_cache_is_bounded() -> None:
    model = built(2000)
    tree = SectorTree(model.tree.root, 2000, lambda level, index: model.stored[level, index], cached_nodes=3)
    for index in range(0, 2000, 50):
        tree.leaf(index)
    assert len(tree._cache) <= 3


@given(st.lists(st.integers(0, 2**20), max_size=12), COUNTS, st.integers(0, 2**20))
def test_what_is_stored_next_and_the_next_hole_are_those_of_the_leaves(
    stored: list[int], count: int, first: int
) -> None:
    model = Model()
    model.tree.apply(model.change({index: digest(index) for index in stored if index < count}, count))
    later = [index for index in model.leaves if index >= first]
    assert model.tree.next_stored(first) == min(later, default=None)
    hole = first
    while hole in model.leaves:
        hole += 1
    assert model.tree.next_hole(first) == max(hole, min(hole, count))


def test_a_search_over_a_huge_hole_reads_a_path_of_nodes() -> None:
    model = Model()
    model.tree.apply(model.change({7: digest(7), 2**40 - 1: digest(8)}, 2**40))
    asked: list[tuple[int, int]] = []

    def fetch(level: int, index: int) -> bytes | None:
        asked.append((level, index))
        return model.stored.get((level, index))

    tree = SectorTree(model.tree.root, 2**40, fetch)
    assert tree.next_stored(8) == 2**40 - 1
    assert tree.next_hole(7) == 8
    assert len(asked) <= 2 * tree.height
