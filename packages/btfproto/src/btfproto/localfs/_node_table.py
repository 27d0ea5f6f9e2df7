"""`Nodes`: where the nodes of one directory are. The `NodeTable` of its B+tree, in the layers of `Content`.

Nodes in the live layer may be changed in place. A node of the frozen layer or the cache is copied into the live layer
first, so what is being committed, and what others read, stays as it was. None in a layer: the node was freed.
"""

from __future__ import annotations

from collections.abc import Callable

from btlib.errors import IntegrityError

from ..errors import FsError
from ._cache import WeightedCache, new_base
from ._names import NameHasher
from ._nodes import Node, decode_node, stored_level

Layer = dict[int, Node | None]


class Nodes:
    """Implements `NodeTable` over a cache that directories share and a reader of stored sectors."""

    __slots__ = ("_base", "_cache", "_counted", "_hasher", "_read", "_refused", "frozen", "live")

    def __init__(
        self,
        cache: WeightedCache[Node],
        hasher: NameHasher,
        read: Callable[[int], bytes],
        refused: Callable[[IntegrityError], FsError],
    ) -> None:
        self.live: Layer = {}
        self.frozen: Layer | None = None
        self._counted = 0
        self._cache = cache
        self._base = new_base()
        self._hasher = hasher
        self._read = read  #: the content of a stored sector; b"" for a hole. Raises FsError.
        self._refused = refused  #: the error to raise, which names the path

    def get(self, sector: int) -> Node | None:
        node = self.live.get(sector)
        if node is None and self.frozen is not None:
            node = self.frozen.get(sector)
        return node or self._cache.get(self._base + sector)

    def load(self, sector: int, level: int | None, low: int, high: int) -> Node:
        data = self._read(sector)
        try:
            if not data:
                raise IntegrityError(f"the directory's node {sector} is missing")
            node = decode_node(data, stored_level(data) if level is None else level, low, high, self._hasher)
        except IntegrityError as error:
            raise self._refused(error) from error
        self._cache.put(self._base + sector, node, node.weight)
        return node

    def edit(self, sector: int, node: Node) -> Node:
        if self.live.get(sector) is node:
            return node
        mine = self.live[sector] = node.copy()
        return mine

    def put(self, sector: int, node: Node) -> None:
        self.live[sector] = node

    def free(self, sector: int) -> None:
        self.live[sector] = None

    def take_growth(self) -> int:
        """How many nodes came into the live layer since the last look."""
        count = len(self.live)
        grown, self._counted = count - self._counted, count
        return grown

    def freeze(self) -> Layer:
        self._counted = 0
        self.frozen, self.live = self.live, {}
        return self.frozen

    def settle(self) -> None:
        """The frozen layer was committed: it becomes cache."""
        for sector, node in (self.frozen or {}).items():
            if node is None:
                self._cache.drop(self._base + sector)
            else:
                self._cache.put(self._base + sector, node, node.weight)
        self.frozen = None

    def revert(self) -> None:
        """The frozen layer was not committed: its changes are live again."""
        if self.frozen is not None:
            self.live = self.frozen | self.live
            self._counted = len(self.live)
            self.frozen = None
