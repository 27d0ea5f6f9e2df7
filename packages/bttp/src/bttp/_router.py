"""Which handler a message reaches: by its path, the longest prefix wins. Pure; it runs nothing.

A handler is one of three kinds, known when it is added:

- `async def`: runs as a task of the link's event loop; cancellation reaches it at its next await;
- `def`: runs in a worker thread of a bounded pool; it may block; it sees cancellation in `request.cancelled`;
- `def`, added with `inline=True`: runs at once where the message is read. It costs the least and must never block.

It returns bytes, a sequence of bytes-likes (they are joined on their way out, not before) or None for an empty answer.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec
from btlib.paths import BlockPath

from ._frames import Buffer
from ._peer import Peer
from .errors import LocalProtocolError

Body: TypeAlias = Buffer | Sequence[Buffer]
Answer: TypeAlias = Body | None


class RequestLink(Protocol):
    """The link that a request came by, as its handler sees it."""

    @property
    def id(self) -> int:
        """Names the link among all of this process."""
        ...

    @property
    def peer(self) -> Peer: ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call it once, when the link ends (at once if it has). In the link's own thread: it must not block."""
        ...


class Request(msgspec.Struct, eq=False):
    """One message to a handler."""

    path: BlockPath  #: as sent: the handler's prefix or a path below it
    body: memoryview
    peer: Peer  #: who sent it; this path was allowed to it
    link: RequestLink
    deadline: float | None = None  #: on the monotonic clock; None: the caller waits as long as it takes
    cancelled: bool = False  #: the caller does not wait any more; an answer would be dropped

    def __repr__(self) -> str:
        return f"Request({str(self.path)!r}, {len(self.body)} bytes from {self.peer})"


Handler: TypeAlias = Callable[[Request], Answer] | Callable[[Request], Awaitable[Answer]]


class Mode(enum.Enum):
    """Where a handler runs."""

    TASK = "task"
    THREAD = "thread"
    INLINE = "inline"


class Destination(msgspec.Struct, frozen=True):
    """A handler and where it runs."""

    handler: Handler
    mode: Mode


class Router:
    """Prefixes and their handlers. Filling it while serving is safe."""

    def __init__(self) -> None:
        self._destinations: dict[BlockPath, Destination] = {}

    def add(self, prefix: BlockPath, handler: Handler, *, inline: bool = False) -> None:
        """Messages to `prefix` and below reach `handler`, unless a longer prefix matches. One handler a prefix."""
        if prefix in self._destinations:
            raise LocalProtocolError(f"{prefix} has a handler already")
        if _is_async(handler):
            if inline:
                raise LocalProtocolError(f"the handler of {prefix} is async and cannot run inline")
            mode = Mode.TASK
        else:
            mode = Mode.INLINE if inline else Mode.THREAD
        self._destinations[prefix] = Destination(handler, mode)

    @property
    def modes(self) -> frozenset[Mode]:
        """Where its handlers run."""
        return frozenset(destination.mode for destination in self._destinations.values())

    def find(self, path: BlockPath) -> Destination | None:
        """The destination of the longest prefix of this path."""
        place: BlockPath | None = path
        while place is not None:
            if (destination := self._destinations.get(place)) is not None:
                return destination
            place = place.parent
        return None


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
