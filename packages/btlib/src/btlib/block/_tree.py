"""`SectorTree`: one version of a block's Merkle tree, loaded lazily and verified on the way.

Nodes come through a callback and are checked against their parents, so a leaf hash that it returns is as good as the
root that it was given. `update` computes another version without changing this one; `apply` adopts it once the commit
succeeded. It keeps a bounded number of nodes in memory, so sparse trees of any size are cheap.

It does no locking and reads no sectors: the caller hashes those and compares.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ..errors import IntegrityError
from ._ids import DIGEST_SIZE
from ._merkle import FANOUT, FANOUT_BITS, HOLE, NODE_SIZE, check_node_shape, child, level_size, node_hash, tree_height
from ._merkle import trim as trim_node

CACHED_NODES = 512  #: 4 MiB at the most, which covers the nodes of a 512 MiB file with 4 KiB sectors

NodeKey = tuple[int, int]  # (level, index)
Fetch = Callable[[int, int], bytes | memoryview | None]


class Dropped(msgspec.Struct, frozen=True):
    """`count` consecutive records of one level, from `first` on, that lie beyond a tree that shrank."""

    level: int
    first: int
    count: int


class TreeUpdate(msgspec.Struct, frozen=True):
    """Another version of a tree: its root, and what becomes of the stored records.

    `nodes` maps (level, index) to the node to store, or None for one that became a hole. `dropped` are the records
    beyond a new, smaller end, sectors included.
    """

    root: bytes
    sector_count: int
    nodes: dict[NodeKey, bytes | None]
    dropped: tuple[Dropped, ...]


class SectorTree:
    """The Merkle tree under one signed root. Not thread-safe."""

    __slots__ = ("_cache", "_cached_nodes", "_fetch", "height", "root", "sector_count")

    def __init__(self, root: bytes, sector_count: int, fetch: Fetch, *, cached_nodes: int = CACHED_NODES) -> None:
        """`fetch(level, index)` gives a stored node, or None if the store has none (which is then a damaged store)."""
        self.root = root
        self.sector_count = sector_count
        self.height = tree_height(sector_count)
        self._fetch = fetch
        self._cached_nodes = cached_nodes
        self._cache: OrderedDict[NodeKey, bytes] = OrderedDict()

    def leaf(self, index: int) -> bytes:
        """The hash that sector `index` must have; 32 zero bytes for a hole. Raises IntegrityError."""
        if index >= self.sector_count:
            return HOLE
        if self.height == 0:
            return self.root
        at = (index & FANOUT - 1) * DIGEST_SIZE
        return self._node(1, index >> FANOUT_BITS)[at : at + DIGEST_SIZE] or HOLE

    def node(self, index: int) -> bytes:
        """The hashes of the sectors from `index` * FANOUT on, one after another, as far as the last that is no hole.

        For trees with a node at least. Raises IntegrityError.
        """
        return self._node(1, index) if index < level_size(1, self.sector_count) else b""

    def leaves(self, indexes: Iterable[int]) -> list[bytes]:
        """The hashes of many sectors, in order; quick where neighbours stand side by side. Raises IntegrityError."""
        if self.height == 0:
            return [self.leaf(index) for index in indexes]
        found: list[bytes] = []
        parent, node = -1, b""
        end = self.sector_count
        for index in indexes:
            if index >> FANOUT_BITS != parent:
                parent = index >> FANOUT_BITS
                node = self._node(1, parent) if index < end else b""
            at = (index & FANOUT - 1) * DIGEST_SIZE
            found.append((index < end and node[at : at + DIGEST_SIZE]) or HOLE)
        return found

    def next_stored(self, first: int) -> int | None:
        """The first sector from one on that is no hole; None where there is none. Reads a path of nodes, however large
        the holes in between. Raises IntegrityError.
        """
        return self._next_stored(self.height, 0, first) if first < self.sector_count and self.root != HOLE else None

    def _next_stored(self, level: int, index: int, first: int) -> int | None:
        """The same below one record that is no hole."""
        if level == 0:
            return index if index >= first else None
        node = self._node(level, index)
        base = index << FANOUT_BITS
        begin = max((first >> FANOUT_BITS * (level - 1)) - base, 0)
        for slot in range(begin, len(node) // DIGEST_SIZE):
            if child(node, slot) != HOLE:
                found = self._next_stored(level - 1, base + slot, first)
                if found is not None:  # only the first child may end before
                    return found
        return None

    def next_hole(self, first: int) -> int:
        """The first sector from one on that is a hole; the sector count at the latest. Raises IntegrityError."""
        if self.height == 0:
            return 0 if first == 0 and self.root == HOLE else max(first, self.sector_count)
        index = first
        while index < self.sector_count:
            parent = index >> FANOUT_BITS
            node, base = self._node(1, parent), parent << FANOUT_BITS
            for slot in range(index - base, FANOUT):
                if child(node, slot) == HOLE:
                    return max(first, min(base + slot, self.sector_count))
            index = base + FANOUT
        return max(first, self.sector_count)

    def missing(self, indexes: Iterable[int]) -> list[NodeKey]:
        """The nodes above some sectors that are not in memory, so that a caller can read them in one request.

        Some may turn out to be holes of the store: `supply` only those that were found.
        """
        wanted: dict[NodeKey, None] = {}
        parents = {index >> FANOUT_BITS for index in indexes if index < self.sector_count}
        for level in range(1, self.height + 1):
            wanted.update(((level, parent), None) for parent in sorted(parents) if (level, parent) not in self._cache)
            parents = {parent >> FANOUT_BITS for parent in parents}
        return list(wanted)

    def supply(self, nodes: Mapping[NodeKey, bytes | memoryview]) -> None:
        """Take nodes that the caller has read; each is verified against its parent. Raises IntegrityError."""
        for (level, index), node in sorted(nodes.items(), reverse=True):
            if (level, index) not in self._cache and level <= self.height:
                self._keep(level, index, self._verified(level, index, self._expected(level, index), node))

    def update(self, changes: Mapping[int, bytes], sector_count: int) -> TreeUpdate:
        """The tree with some leaf hashes replaced (`HOLE` to punch one), `sector_count` sectors long.

        This tree stays as it is. Changes beyond the new end are ignored. Raises IntegrityError, BlockError.
        """
        height = tree_height(sector_count)
        nodes: dict[NodeKey, bytes | None] = {}
        changed = {index: digest for index, digest in changes.items() if index < sector_count}
        for level in range(1, height + 1):
            changed = self._update_level(level, changed, sector_count, nodes)
        root = changed.get(0)
        if root is None:
            root = self._expected(height, 0) if sector_count > 0 and height <= self.height else HOLE
        return TreeUpdate(root, sector_count, nodes, self._dropped(sector_count))

    def apply(self, update: TreeUpdate) -> None:
        """Become the tree that `update` describes; it must come from this very version."""
        self.root, self.sector_count = update.root, update.sector_count
        self.height = tree_height(update.sector_count)
        if update.dropped:
            sizes = [level_size(level, self.sector_count) for level in range(self.height + 1)]
            for level, index in list(self._cache):
                if level > self.height or index >= sizes[level]:
                    del self._cache[level, index]
        for (level, index), node in update.nodes.items():
            self._keep(level, index, node or b"")

    def _update_level(
        self, level: int, changed: dict[int, bytes], sector_count: int, nodes: dict[NodeKey, bytes | None]
    ) -> dict[int, bytes]:
        """Rebuild the nodes of one level over changed children; returns their hashes, which the next level needs."""
        size = level_size(level - 1, sector_count)
        if level == self.height + 1 and self.root != HOLE:
            changed.setdefault(0, self.root)  # the old tree becomes the first child of the grown one
        children = _by_parent(changed)
        if level_size(level - 1, self.sector_count) > size:
            children.setdefault(size - 1 >> FANOUT_BITS, [])  # the new end cuts through this node
        hashes = {}
        for parent, indexes in children.items():
            old = self._old_node(level, parent)
            if len(indexes) == FANOUT:
                node = bytearray().join([changed[index] for index in indexes])
            else:
                node = bytearray(old.ljust(NODE_SIZE, b"\0"))
                for index in indexes:
                    slot = (index & FANOUT - 1) * DIGEST_SIZE
                    node[slot : slot + DIGEST_SIZE] = changed[index]
            new = trim_node(node[: (size - (parent << FANOUT_BITS)) * DIGEST_SIZE])
            if new != old:
                nodes[level, parent] = new or None
            hashes[parent] = node_hash(level, parent, new) if new else HOLE
        return hashes

    def _old_node(self, level: int, index: int) -> bytes:
        if level > self.height or index >= level_size(level, self.sector_count):
            return b""
        return self._node(level, index)

    def _dropped(self, sector_count: int) -> tuple[Dropped, ...]:
        dropped = []
        for level in range(self.height + 1):
            old, new = level_size(level, self.sector_count), level_size(level, sector_count)
            if old > new:
                dropped.append(Dropped(level, new, old - new))
        return tuple(dropped)

    def _node(self, level: int, index: int) -> bytes:
        """A node that is verified; empty where the whole of it is a hole."""
        key = level, index
        node = self._cache.get(key)
        if node is not None:
            self._cache.move_to_end(key)
            return node
        expected = self._expected(level, index)
        if expected == HOLE:
            node = b""
        else:
            fetched = self._fetch(level, index)
            if fetched is None:
                raise IntegrityError(f"Merkle node {level}/{index} is missing, though its parent names it")
            node = self._verified(level, index, expected, fetched)
        self._keep(level, index, node)
        return node

    def _expected(self, level: int, index: int) -> bytes:
        """The hash that a record of this tree must have, by its parent or the root."""
        if level == self.height:
            return self.root
        return child(self._node(level + 1, index >> FANOUT_BITS), index & FANOUT - 1)

    def _verified(self, level: int, index: int, expected: bytes, node: bytes | memoryview) -> bytes:
        if node_hash(level, index, node) != expected:
            raise IntegrityError(f"Merkle node {level}/{index} does not match the hash in its parent")
        check_node_shape(level, index, node, self.sector_count)
        return bytes(node)

    def _keep(self, level: int, index: int, node: bytes) -> None:
        self._cache[level, index] = node
        self._cache.move_to_end((level, index))
        while len(self._cache) > self._cached_nodes:
            self._cache.popitem(last=False)


def _by_parent(indexes: Iterable[int]) -> dict[int, Sequence[int]]:
    """Some records by the node above them, each in order."""
    children: dict[int, Sequence[int]] = {}
    ordered = sorted(indexes)
    at, end = 0, len(ordered)
    while at < end:
        parent = ordered[at] >> FANOUT_BITS
        stop = bisect_left(ordered, parent + 1 << FANOUT_BITS, at)
        children[parent] = ordered[at:stop]
        at = stop
    return children
