"""A block opened outside of a `LocalFs`: its verified header, its attributes, what its sectors hold, its entries.

For work on keys and records that needs no cache, no lease and no second thread. Pure; the store is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator

from btlib.block import SECTOR_BITS, Header
from btlib.errors import IntegrityError
from btlib.readcaps import ReadKey

from ..domain import DomainReader
from ..provider import FileKind
from ..store import Head
from ._attributes import SealedAttributes, decode_attributes
from ._blocks import SECTOR_SIZE, StoredBlock
from ._directory import DirectoryTree
from ._names import NameHasher
from ._nodes import Node, decode_node, stored_level

LISTING = 4096  #: entries at once


class MemoryNodes:
    """A `NodeTable` whose nodes are decoded from sectors that are all in memory. `changed`: what has to be stored."""

    def __init__(self, hasher: NameHasher, sectors: dict[int, bytes] | None = None) -> None:
        self.nodes: dict[int, Node] = {}
        self.changed: set[int] = set()
        self._hasher = hasher
        self._sectors = sectors or {}

    def get(self, sector: int) -> Node | None:
        return self.nodes.get(sector)

    def load(self, sector: int, level: int | None, low: int, high: int) -> Node:
        data = self._sectors.get(sector, b"")
        node = decode_node(data, stored_level(data) if level is None else level, low, high, self._hasher)
        self.nodes[sector] = node
        return node

    def edit(self, sector: int, node: Node) -> Node:
        self.put(sector, node)
        return node

    def put(self, sector: int, node: Node) -> None:
        self.nodes[sector] = node
        self.changed.add(sector)

    def free(self, sector: int) -> None:
        self.nodes.pop(sector, None)
        self.changed.discard(sector)


class OpenedBlock:
    """See the module."""

    def __init__(self, reader: DomainReader, key: ReadKey, head: Head | None) -> None:
        """`head`: what the store says of it. Raises IntegrityError (missing, damaged, another key), FsError."""
        self._reader = reader
        self.key = key
        if head is None or head.removed:
            raise IntegrityError(f"{key.path}: its block {key.block.hex()} is missing from the store")
        self.header: Header = reader.verify(head)
        if self.header.public or self.header.sector_bits != SECTOR_BITS:
            raise IntegrityError(f"{key.path}: its header is of a form that this version cannot read")
        self.store = StoredBlock(key.block, key.key, self.header.scope)
        self.store.adopt(self.header, None if head.small is None else bytes(head.small))
        plain = self.store.cipher.open_attributes(self.header.version, self.header.attributes)
        self.attributes: SealedAttributes = decode_attributes(plain, self.header.sector_count, SECTOR_SIZE)

    def sectors(self) -> dict[int, bytes]:
        """What the sectors hold that are no holes."""
        indexes = list(range(self.header.sector_count))
        contents = self.store.read(indexes, self._reader.store.read_records)
        return {index: content for index, content in enumerate(contents) if content}

    def directory(self) -> tuple[DirectoryTree, MemoryNodes]:
        """Its entries. Raises IntegrityError."""
        if self.attributes.kind is not FileKind.DIRECTORY:
            raise IntegrityError(f"{self.key.path} is no directory")
        hasher = NameHasher(self.key.key)
        nodes = MemoryNodes(hasher, self.sectors())
        tree = DirectoryTree(nodes, hasher, SECTOR_SIZE)
        tree.restore(self.attributes.entries, self.header.sector_count, self.attributes.free)
        return tree, nodes


def entries_of(tree: DirectoryTree) -> Iterator[tuple[str, bytes]]:
    """All names with their records, in the order of their keys."""
    cookie = 0
    while found := tree.after(cookie, LISTING):
        for key, name, record in found:
            cookie = key
            yield name, record
