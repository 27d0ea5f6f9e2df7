"""The directory's B+tree against a plain dict, and its invariants on the way."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from btfproto.errors import FsError
from btfproto.localfs._directory import MAX_FREE, DirectoryTree
from btfproto.localfs._names import MAX_KEY, NameHasher, name_bytes
from btfproto.localfs._nodes import Inner, Leaf, Node, decode_node, entry_block, stored_level
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = bytes(range(32))


class DictTable:
    """Nodes in their encoded form, so that every access is a round trip through the codec."""

    def __init__(self, hasher: NameHasher) -> None:
        self.hasher = hasher
        self.stored: dict[int, Node] = {}
        self.touched: set[int] = set()

    def get(self, sector: int) -> Node | None:
        return None

    def load(self, sector: int, level: int | None, low: int, high: int) -> Node:
        data = self.stored[sector].encode()
        return decode_node(data, stored_level(data) if level is None else level, low, high, self.hasher)

    def edit(self, sector: int, node: Node) -> Node:
        self.put(sector, node)
        return node

    def put(self, sector: int, node: Node) -> None:
        self.stored[sector] = node
        self.touched.add(sector)

    def free(self, sector: int) -> None:
        self.stored.pop(sector, None)


class LiveTable(DictTable):
    """Nodes as they are, for large trees."""

    def get(self, sector: int) -> Node | None:
        return self.stored.get(sector)


class CollidingHasher(NameHasher):
    """Names fall into few hashes."""

    __slots__ = ()

    def __call__(self, raw: bytes) -> int:
        return super().__call__(raw) % 5 + 1


def make_tree(hasher: NameHasher | None = None, capacity: int = 700) -> DirectoryTree:
    hasher = hasher or NameHasher(KEY)
    return DirectoryTree(DictTable(hasher), hasher, capacity)


def block_of(number: int) -> bytes:
    return number.to_bytes(16, "little")


def add(tree: DirectoryTree, name: str, number: int) -> None:
    tree.insert(name_bytes(name), name, 0, block_of(number), KEY)


def listed(tree: DirectoryTree, batch: int = 7) -> Iterator[tuple[str, bytes]]:
    cookie = 0
    while entries := tree.after(cookie, batch):
        yield from ((name, entry_block(record)) for _, name, record in entries)
        cookie = entries[-1][0]


def check_nodes(tree: DirectoryTree) -> None:
    """Every node fits, is reachable exactly once, and the free list holds the rest."""
    assert isinstance(tree.nodes, DictTable)
    reached: list[int] = []

    def visit(sector: int) -> None:
        node = tree.nodes.stored[sector]  # type: ignore[attr-defined]
        reached.append(sector)
        assert node.size == len(node.encode()) <= tree.capacity
        if isinstance(node, Inner):
            for child in node.children:
                visit(child)
        else:
            assert node.keys

    if tree.sectors:
        visit(0)
    assert sorted(reached) == sorted(tree.nodes.stored)
    unused = set(range(tree.sectors)) - set(reached)
    assert unused == set(tree.free) if len(tree.free) < MAX_FREE else unused >= set(tree.free)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("arx"), st.integers(0, 60)), max_size=150), st.booleans())
def test_it_behaves_like_a_dict(steps: list[tuple[str, int]], collide: bool) -> None:
    tree = make_tree(CollidingHasher(KEY) if collide else None, 4000 if collide else 700)
    model: dict[str, bytes] = {}
    for serial, (step, number) in enumerate(steps, 1):
        name = f"name-{number}"
        raw = name.encode()
        found = tree.find(raw, name)
        assert (entry_block(found) if found else None) == model.get(name)
        if step == "x" and found:
            tree.remove(raw, name)
            del model[name]
        elif step != "x":
            put = tree.replace if found else tree.insert
            put(raw, name, 0, block_of(serial), KEY)
            model[name] = block_of(serial)
        assert tree.entries == len(model)
    assert dict(listed(tree)) == model
    check_nodes(tree)


def test_many_entries_grow_and_shrink_the_tree() -> None:
    tree = make_tree()
    names = [f"file {number}" for number in range(2000)]
    for number, name in enumerate(names):
        add(tree, name, number)
    check_nodes(tree)
    assert sorted(name for name, _ in listed(tree)) == sorted(names)
    order = random.Random(1)
    order.shuffle(names)
    for name in names[:1990]:
        tree.remove(name.encode(), name)
    check_nodes(tree)
    assert sorted(name for name, _ in listed(tree)) == sorted(names[1990:])
    for name in names[1990:]:
        tree.remove(name.encode(), name)
    assert (tree.entries, tree.sectors, tree.free) == (0, 0, [])


def test_a_change_touches_a_node_a_level() -> None:
    tree = make_tree(capacity=16384)
    tree.nodes = LiveTable(tree.hasher)
    for number in range(30_000):
        add(tree, f"file {number}", number)
    assert isinstance(tree.nodes, DictTable)
    tree.nodes.touched.clear()
    add(tree, "one more", 1)
    assert len(tree.nodes.touched) <= 3


def test_a_listing_goes_on_while_names_come_and_go() -> None:
    tree = make_tree()
    for number in range(500):
        add(tree, f"file {number}", number)
    seen = []
    cookie = 0
    while entries := tree.after(cookie, 10):
        cookie = entries[-1][0]
        seen += [name for _, name, _ in entries]
        for _, name, _ in entries:
            tree.remove(name.encode(), name)
        add(tree, f"new {len(seen)}", 0)
    assert {name for name in seen if name.startswith("file")} == {f"file {number}" for number in range(500)}
    assert len(seen) == len(set(seen))


def test_names_of_one_hash_are_refused_beyond_the_ordinals() -> None:
    class OneHasher(NameHasher):
        __slots__ = ()

        def __call__(self, raw: bytes) -> int:
            return 9

    tree = make_tree(OneHasher(KEY), 16384)
    for number in range(32):
        add(tree, "x" * 250 + str(number), number)
    with pytest.raises(FsError, match="too many names"):
        add(tree, "another", 1)
    assert len(list(listed(tree, 3))) == 32


def test_cookies_fit_63_bits_and_are_never_zero() -> None:
    hasher = NameHasher(os.urandom(32))
    assert all(0 < hasher(str(number).encode()) << 5 <= MAX_KEY for number in range(1000))


def test_leaf_and_inner_round_trip() -> None:
    hasher = NameHasher(KEY)
    tree = make_tree(hasher, 16384)
    for number in range(100):
        add(tree, f"größe {number}", number)
    leaf = tree.nodes.load(0, 0, 0, MAX_KEY + 1)
    assert isinstance(leaf, Leaf)
    assert len(leaf.keys) == 100
    inner = Inner(1, [4, 2, 9], [64, 96])
    assert decode_node(inner.encode(), 1, 0, MAX_KEY + 1, hasher).encode() == inner.encode()
