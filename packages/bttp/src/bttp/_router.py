"""Which handler a message reaches: by its path, the longest prefix wins. Pure; it runs nothing.

A handler is one of three kinds, known when it is added:

- `async def`: runs in the link's event loop, as in a task of its own; on asyncio it begins where the message is read.
  Cancellation reaches it at its next await;
- `def`: runs in a worker thread of a bounded pool; it may block; it sees cancellation in `request.cancelled`;
- `def`, added with `inline=True`: runs at once where the message is read. It costs the least and must never block.

A handler of streams, added by `add_stream`, is `async def` and gets a `Stream`, or `def` and gets a `BlockingStream`
in a thread of its own. A prefix may have a handler of either sort: calls and messages reach one, streams the other.

A handler of calls returns bytes, a sequence of bytes-likes (they are joined on their way out, not before) or None for
an empty answer.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import msgspec
from btlib.paths import BlockPath

from ._frames import Buffer
from ._peer import Peer
from ._replay import ReplayCache, ReplayLimits
from ._trace import TraceParent
from .errors import LocalProtocolError

if TYPE_CHECKING:
    from ._stream import BlockingStream, Stream

Body: TypeAlias = Buffer | Sequence[Buffer]
Answer: TypeAlias = Body | None
_D = TypeVar("_D")


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
    key: bytes | None = None  #: the idempotency key of a call
    trace: TraceParent | None = None  #: the caller's place in its trace; None: it said none that is one
    cancelled: bool = False  #: the caller does not wait any more; an answer would be dropped

    def __repr__(self) -> str:
        return f"Request({str(self.path)!r}, {len(self.body)} bytes from {self.peer})"


Handler: TypeAlias = Callable[[Request], Answer] | Callable[[Request], Awaitable[Answer]]
StreamHandler: TypeAlias = Callable[["Stream"], Awaitable[None]] | Callable[["BlockingStream"], None]


class Mode(enum.Enum):
    """Where a handler runs."""

    TASK = "task"
    THREAD = "thread"
    INLINE = "inline"


class Destination(msgspec.Struct, frozen=True):
    """A handler and where it runs."""

    handler: Handler
    mode: Mode


class StreamDestination(msgspec.Struct, frozen=True):
    """A handler of streams and where it runs."""

    handler: StreamHandler
    mode: Mode


class Router:
    """Prefixes and their handlers. Filling it while serving is safe."""

    def __init__(
        self,
        *,
        replays: ReplayLimits = ReplayLimits(),  # noqa: B008 - a frozen value
        tracebacks: bool = False,
    ) -> None:
        """`replays`: what is kept of calls with idempotency keys, over all links that this router serves.

        `tracebacks`: callers are told where a handler failed, which shows them something of this program; else the log.
        """
        self.replays = ReplayCache(replays)
        self.tracebacks = tracebacks
        self._destinations: dict[BlockPath, Destination] = {}
        self._streams: dict[BlockPath, StreamDestination] = {}

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

    def add_stream(self, prefix: BlockPath, handler: StreamHandler) -> None:
        """Streams opened at `prefix` and below reach `handler`, unless a longer prefix matches.

        When it returns, its side is finished, and the peer told that nobody reads any more; what it raises, resets.
        """
        if prefix in self._streams:
            raise LocalProtocolError(f"{prefix} has a handler of streams already")
        self._streams[prefix] = StreamDestination(handler, Mode.TASK if _is_async(handler) else Mode.THREAD)

    @property
    def modes(self) -> frozenset[Mode]:
        """Where its handlers run."""
        modes = [each.mode for each in self._destinations.values()]
        return frozenset(modes + [each.mode for each in self._streams.values()])

    def find(self, path: BlockPath) -> Destination | None:
        """The destination of calls and messages: that of the longest prefix of this path."""
        return _longest(self._destinations, path)

    def find_stream(self, path: BlockPath) -> StreamDestination | None:
        """The destination of streams."""
        return _longest(self._streams, path)


def _longest(destinations: dict[BlockPath, _D], path: BlockPath) -> _D | None:
    place: BlockPath | None = path
    while place is not None:
        if (destination := destinations.get(place)) is not None:
            return destination
        place = place.parent
    return None


def _is_async(handler: Handler | StreamHandler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
