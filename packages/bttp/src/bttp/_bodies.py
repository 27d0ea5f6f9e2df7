"""Bodies that are still arriving: where their bytes go, and when one is whole. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ._frames import CHUNK
from ._shelf import Shelf
from .errors import RemoteProtocolError

Whole: TypeAlias = Callable[[memoryview], None]


_shelf = Shelf()  # of all links of the process


class Arriving(msgspec.Struct):
    """A body of more than CHUNK bytes that its stream announced. `whole` takes it when the last byte is there."""

    whole: Whole
    data: memoryview
    filled: int = 0


class Bodies:
    """The arriving bodies of one link, and the bytes they hold."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arriving: dict[int, Arriving] = {}
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of all of them, those included that have not come."""
        return self._held

    def __len__(self) -> int:
        return len(self._arriving)

    def __contains__(self, stream: int) -> bool:
        return stream in self._arriving

    def fits(self, total: int) -> bool:
        """Whether there is room for one more of this size."""
        return self._held + total <= self._limit

    def begin(self, stream: int, total: int, whole: Whole) -> None:
        """Expect a body."""
        if stream in self._arriving:
            raise RemoteProtocolError(f"stream {stream} announces a second body")
        self._held += total
        self._arriving[stream] = Arriving(whole, memoryview(_shelf.take(total))[:total])

    def place(self, stream: int, length: int) -> memoryview | None:
        """Where the next `length` bytes of this stream's body go; None for a stream that has none (any more)."""
        body = self._arriving.get(stream)
        if body is None:
            return None
        start = body.filled
        if not 0 < length <= min(CHUNK, len(body.data) - start):
            raise RemoteProtocolError(f"a chunk of {length} bytes does not fit the body of stream {stream}")
        body.filled = start + length
        return body.data[start : body.filled]

    def finish(self, stream: int) -> None:
        """After bytes were placed: hand the body on if it is whole."""
        body = self._arriving.get(stream)
        if body is not None and body.filled == len(body.data):
            self.drop(stream)
            body.whole(body.data)

    def drop(self, stream: int) -> bool:
        """Forget a body. Whether there was one."""
        body = self._arriving.pop(stream, None)
        if body is None:
            return False
        self._held -= len(body.data)
        return True
