"""`WeightedCache`: what was used last, up to a total weight. Not thread-safe; pure.

Keys are ints: an object takes a base from `bases` and adds its own small numbers to it, which costs no tuple a look-up.
An object that drops all that it cached takes a new base; its old entries age out.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

V = TypeVar("V")

BASE_BITS = 48  #: more numbers than any object has sectors

_bases = itertools.count(1)


def new_base() -> int:
    """A key that no other object's keys come near."""
    return next(_bases) << BASE_BITS


class WeightedCache(Generic[V]):
    """Least recently used first out, by weight."""

    __slots__ = ("_items", "limit", "weight")

    def __init__(self, limit: int) -> None:
        self._items: OrderedDict[int, tuple[V, int]] = OrderedDict()
        self.limit = limit
        self.weight = 0

    def get(self, key: int) -> V | None:
        item = self._items.get(key)
        if item is None:
            return None
        self._items.move_to_end(key)
        return item[0]

    def put(self, key: int, value: V, weight: int) -> None:
        old = self._items.pop(key, None)
        if old is not None:
            self.weight -= old[1]
        self._items[key] = (value, weight)
        self.weight += weight
        while self.weight > self.limit and self._items:
            self.weight -= self._items.popitem(last=False)[1][1]

    def drop(self, key: int) -> None:
        old = self._items.pop(key, None)
        if old is not None:
            self.weight -= old[1]

    def drop_all(self, base: int, keys: Iterable[int]) -> None:
        """Drop keys that are counted from a base; quick where few of them are there."""
        items = self._items
        for key in [base + key for key in keys if base + key in items]:
            self.weight -= items.pop(key)[1]

    def clear(self) -> None:
        self._items.clear()
        self.weight = 0

    def __contains__(self, key: int) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)
