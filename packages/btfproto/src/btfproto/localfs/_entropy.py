"""Random bytes in small portions: one system call for hundreds of nonces. Not thread-safe."""

from __future__ import annotations

from collections.abc import Callable

POOL = 12 * 1024


class Entropy:
    """Deals out the bytes of a source such as `os.urandom`, each once. A fork must not share it."""

    __slots__ = ("_at", "_pool", "_source")

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._pool = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        at = self._at
        end = at + size
        if size > POOL:
            return self._source(size)
        if end > len(self._pool):
            self._pool, at, end = self._source(POOL), 0, size
        self._at = end
        return self._pool[at:end]
