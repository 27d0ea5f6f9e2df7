"""`DirectoryTree`: the entries of one directory as a B+tree of nodes. Pure; it does no locking.

The root is always node 0; a directory without entries has no node at all. A change touches one node a level (and its
new siblings), so it costs the same in a directory of ten and of a million names. Nodes that become empty are freed
and used again; nodes are not merged while they hold anything, so a directory that shrank keeps some slack until it is
empty. Where the nodes lie, and what happened to them since the last commit, is the `NodeTable`'s affair.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Protocol

from btlib.errors import IntegrityError
from btlib.kinds import Kind

from ..errors import FsError
from ._names import MAX_KEY, ORDINAL_BITS, ORDINALS, NameHasher
from ._nodes import MAX_LEVEL, Inner, Leaf, Node, pack_entry

MAX_FREE = 256  #: freed node numbers that are remembered; more stay unused (as holes) until the directory is empty
MAX_NODES = 1 << 32  #: a child is named by 32 bits

Step = tuple[int, Inner, int]  # an inner node on the way down: its sector, itself, and which child was taken


class NodeTable(Protocol):
    """Where a directory's nodes are."""

    def get(self, sector: int) -> Node | None:
        """A node that is in memory."""
        ...

    def load(self, sector: int, level: int | None, low: int, high: int) -> Node:
        """A node that is not, checked (level None: the root, at any level). Raises FsError INTEGRITY."""
        ...

    def edit(self, sector: int, node: Node) -> Node:
        """The form of a node that may be changed in place: itself, or a copy that takes its place."""
        ...

    def put(self, sector: int, node: Node) -> None:
        """A new node."""
        ...

    def free(self, sector: int) -> None: ...


class DirectoryTree:
    """Finds, adds, replaces, removes and lists entries. An entry is its record as it stands on disk."""

    __slots__ = ("capacity", "entries", "free", "hasher", "nodes", "sectors")

    def __init__(self, nodes: NodeTable, hasher: NameHasher, capacity: int) -> None:
        self.nodes = nodes
        self.hasher = hasher
        self.capacity = capacity  #: a node's largest encoded size: the sector size
        self.entries = 0
        self.sectors = 0
        self.free: list[int] = []

    def restore(self, entries: int, sectors: int, free: list[int]) -> None:
        """Take over what the sealed attributes say. Raises IntegrityError for what cannot be."""
        if (entries == 0) != (sectors == 0) or len(free) > MAX_FREE:
            raise IntegrityError("a directory's count of entries, nodes or free nodes cannot be")
        if len(set(free)) != len(free) or any(not 0 < sector < sectors for sector in free):
            raise IntegrityError("a directory's list of free nodes names the root, a node twice, or none")
        self.entries, self.sectors, self.free = entries, sectors, free

    def find(self, raw: bytes, name: str) -> bytes | None:
        """The entry of a name."""
        first = self.hasher(raw) << ORDINAL_BITS
        leaf = self._leaf(first)[0]
        keys = leaf.keys
        position, count, last = bisect_left(keys, first), len(keys), first + ORDINALS
        while position < count and keys[position] < last:
            if leaf.names[position] == name:
                return leaf.records[position]
            position += 1
        return None

    def insert(self, raw: bytes, name: str, kind: int, block: bytes, key: bytes) -> None:
        """Add an entry for a name that has none."""
        first = self.hasher(raw) << ORDINAL_BITS
        path, sector, found = self._descend(first)
        position = bisect_left(found.keys, first)
        ordinal = 0
        while position < len(found.keys) and found.keys[position] == first + ordinal:
            position += 1
            ordinal += 1
        if ordinal == ORDINALS:
            raise FsError(Kind.NO_SPACE, f"too many names of this directory have the hash of {name!a}")
        leaf = self.nodes.edit(sector, found)
        assert isinstance(leaf, Leaf)
        record = pack_entry(ordinal, kind, block, key, raw)
        leaf.keys.insert(position, first + ordinal)
        leaf.names.insert(position, name)
        leaf.records.insert(position, record)
        leaf.size += len(record)
        self.entries += 1
        if not self.sectors:
            self.sectors = 1
        if leaf.size > self.capacity:
            self._split(path, sector, leaf)

    def replace(self, raw: bytes, name: str, kind: int, block: bytes, key: bytes) -> None:
        """Let the entry of a name that has one speak of another object."""
        _, sector, leaf, position = self._place(raw, name)
        leaf = self._edit_leaf(sector, leaf)
        leaf.records[position] = pack_entry(leaf.records[position][0], kind, block, key, raw)

    def remove(self, raw: bytes, name: str) -> None:
        """Take out the entry of a name that has one."""
        path, sector, leaf, position = self._place(raw, name)
        leaf = self._edit_leaf(sector, leaf)
        leaf.size -= len(leaf.records[position])
        del leaf.keys[position], leaf.names[position], leaf.records[position]
        self.entries -= 1
        if not leaf.keys:
            self._remove_empty(path, sector)

    def after(self, cookie: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Up to `limit` entries whose keys are greater than `cookie`: (key, name, record), in order."""
        found: list[tuple[int, str, bytes]] = []
        key = cookie + 1
        while len(found) < limit and key <= MAX_KEY:
            leaf, high = self._leaf(key)
            start = bisect_left(leaf.keys, key)
            stop = start + limit - len(found)
            found += zip(leaf.keys[start:stop], leaf.names[start:stop], leaf.records[start:stop], strict=True)
            key = high
        return found

    def _root(self) -> Node:
        if not self.sectors:
            return Leaf.empty()
        return self.nodes.get(0) or self.nodes.load(0, None, 0, MAX_KEY + 1)

    def _leaf(self, key: int) -> tuple[Leaf, int]:
        """The leaf where a key belongs, and the bound below which its keys lie."""
        node, low, high = self._root(), 0, MAX_KEY + 1
        while isinstance(node, Inner):
            seps = node.seps
            position = bisect_right(seps, key)
            if position:
                low = seps[position - 1]
            if position < len(seps):
                high = seps[position]
            sector = node.children[position]
            node = self.nodes.get(sector) or self.nodes.load(sector, node.level - 1, low, high)
        return node, high

    def _descend(self, key: int) -> tuple[list[Step], int, Leaf]:
        """The leaf where a key belongs, with its sector and the way there."""
        node, low, high, sector = self._root(), 0, MAX_KEY + 1, 0
        path: list[Step] = []
        while isinstance(node, Inner):
            seps = node.seps
            position = bisect_right(seps, key)
            if position:
                low = seps[position - 1]
            if position < len(seps):
                high = seps[position]
            path.append((sector, node, position))
            sector = node.children[position]
            node = self.nodes.get(sector) or self.nodes.load(sector, node.level - 1, low, high)
        return path, sector, node

    def _place(self, raw: bytes, name: str) -> tuple[list[Step], int, Leaf, int]:
        first = self.hasher(raw) << ORDINAL_BITS
        path, sector, leaf = self._descend(first)
        position = leaf.names.index(name, bisect_left(leaf.keys, first))
        return path, sector, leaf, position

    def _edit_leaf(self, sector: int, leaf: Leaf) -> Leaf:
        node = self.nodes.edit(sector, leaf)
        assert isinstance(node, Leaf)
        return node

    def _edit_inner(self, sector: int, inner: Inner) -> Inner:
        node = self.nodes.edit(sector, inner)
        assert isinstance(node, Inner)
        return node

    def _split(self, path: list[Step], sector: int, node: Node) -> None:
        """Halve a node (one that may be changed in place) that has grown too large, and the nodes above if need be."""
        right, sep = _halve_leaf(node) if isinstance(node, Leaf) else _halve_inner(node)
        right_sector = self._allocate()
        self.nodes.put(right_sector, right)
        if not path:
            if node.level == MAX_LEVEL:
                raise FsError(Kind.NO_SPACE, "the directory has too many entries")
            left_sector = self._allocate()
            self.nodes.put(left_sector, node)
            self.nodes.put(0, Inner(node.level + 1, [left_sector, right_sector], [sep]))
            return
        above, inner, position = path.pop()
        parent = self._edit_inner(above, inner)
        parent.children.insert(position + 1, right_sector)
        parent.seps.insert(position, sep)
        if parent.size > self.capacity:
            self._split(path, above, parent)

    def _remove_empty(self, path: list[Step], sector: int) -> None:
        """Free an empty node and those above that have no child left; then let a lone child become the root."""
        self._release(sector)
        while path:
            above, inner, position = path.pop()
            if len(inner.children) > 1:
                parent = self._edit_inner(above, inner)
                del parent.children[position], parent.seps[max(position - 1, 0)]
                if not above and len(parent.children) == 1:
                    self._lower_root(parent)
                return
            self._release(above)
        self.sectors, self.free = 0, []

    def _lower_root(self, root: Inner) -> None:
        """The tree becomes as low as it can be."""
        node: Node = root
        while isinstance(node, Inner) and len(node.children) == 1:
            sector = node.children[0]
            node = self.nodes.get(sector) or self.nodes.load(sector, node.level - 1, 0, MAX_KEY + 1)
            self.nodes.put(0, node.copy())
            self._release(sector)

    def _allocate(self) -> int:
        if self.free:
            return self.free.pop()
        if self.sectors == MAX_NODES:
            raise FsError(Kind.NO_SPACE, "the directory has too many entries")
        self.sectors += 1
        return self.sectors - 1

    def _release(self, sector: int) -> None:
        self.nodes.free(sector)
        if sector == self.sectors - 1:
            self.sectors -= 1
            while self.free and self.sectors - 1 in self.free:
                self.free.remove(self.sectors - 1)
                self.sectors -= 1
        elif len(self.free) < MAX_FREE:
            self.free.append(sector)


def _halve_leaf(leaf: Leaf) -> tuple[Leaf, int]:
    """Cuts the right half off, between two hashes: the bound, if any, that is nearest to the middle."""
    best, best_distance, size = 0, leaf.size, 0
    for position in range(1, len(leaf.keys)):
        size += len(leaf.records[position - 1])
        distance = abs(leaf.size - 2 * size)
        parted = leaf.keys[position] >> ORDINAL_BITS != leaf.keys[position - 1] >> ORDINAL_BITS
        if parted and distance < best_distance:
            best, best_distance = position, distance
    right = Leaf(leaf.keys[best:], leaf.names[best:], leaf.records[best:], 0)
    moved = sum(map(len, right.records))
    right.size = Leaf.empty().size + moved
    leaf.size -= moved
    del leaf.keys[best:], leaf.names[best:], leaf.records[best:]
    return right, right.keys[0] >> ORDINAL_BITS << ORDINAL_BITS


def _halve_inner(inner: Inner) -> tuple[Inner, int]:
    half = len(inner.children) // 2
    right = Inner(inner.level, inner.children[half:], inner.seps[half:])
    sep = inner.seps[half - 1]
    del inner.children[half:], inner.seps[half - 1 :]
    return right, sep
