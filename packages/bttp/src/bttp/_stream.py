"""Streams as async code sees them, and the bridge for handlers in threads.

A stream is opened at a path with some first words. Then both sides send items, each as fast as the other takes them,
and finish on their own; or one cancels, and the other is told why. Leaving `async with` before both have finished
cancels.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Protocol, cast

import anyio
import anyio.from_thread
import anyio.to_thread
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ._peer import Peer
from ._router import Body, Mode, StreamDestination
from ._stream_end import Nothing, StreamEnd, StreamLink
from ._trace import TraceParent
from .errors import BttpError


class Stream(StreamEnd):
    """One end of a stream, for tasks. Iterate over it for what the peer sends."""

    _bell: anyio.Event | None = None

    async def send(self, body: Body) -> None:
        """Queue an item; waits while the peer has no room. The buffer may be used again afterwards.

        Raises RemoteError with the peer's reason if it cancelled, DeadlineError, ConnectionLostError; LimitError for an
        item that is too long; LocalProtocolError after `finish` or `cancel`.
        """
        while not self.offer(body):
            await self._wait()

    async def receive(self) -> memoryview | None:
        """The next item; None when the peer has finished. Raises as `send`."""
        while isinstance(item := self.poll(), Nothing):
            await self._wait()
        return item

    async def finish(self) -> None:
        """No more items from this side: what was sent arrives, and then the peer's iteration ends."""
        self.say_end()

    async def complete(self) -> None:
        """Finish, and wait until the peer has finished too; what it still sends is dropped. Raises as `send`."""
        self.say_end()
        while await self.receive() is not None:
            pass

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> memoryview:
        item = await self.receive()
        if item is None:
            raise StopAsyncIteration
        return item

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave(error)

    async def _wait(self) -> None:
        if self._bell is None:
            self._bell = anyio.Event()
        await self._bell.wait()

    def wake(self) -> None:
        if self._bell is not None:
            self._bell.set()
            self._bell = None


class BlockingStream(Protocol):
    """One end of a stream, for threads; the methods do as those of `Stream`."""

    @property
    def path(self) -> BlockPath: ...

    @property
    def body(self) -> memoryview: ...

    @property
    def peer(self) -> Peer: ...

    @property
    def trace(self) -> TraceParent | None: ...

    @property
    def reason(self) -> BttpError | None: ...

    def send(self, body: Body) -> None: ...

    def receive(self) -> memoryview | None: ...

    def finish(self) -> None: ...

    def complete(self) -> None: ...

    def cancel(self, kind: Kind = Kind.CANCELLED, text: str = "the stream was cancelled") -> None: ...

    def __iter__(self) -> Iterator[memoryview]: ...


class _Bridge:
    """A stream of an event loop, used by a handler in one of anyio's threads. Each step crosses to the loop."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.path, self.body, self.peer = stream.path, stream.body, stream.peer

    @property
    def trace(self) -> TraceParent | None:
        return self._stream.trace

    @property
    def reason(self) -> BttpError | None:
        return self._stream.reason

    def send(self, body: Body) -> None:
        anyio.from_thread.run(self._stream.send, body)

    def receive(self) -> memoryview | None:
        return anyio.from_thread.run(self._stream.receive)

    def finish(self) -> None:
        anyio.from_thread.run(self._stream.finish)

    def complete(self) -> None:
        anyio.from_thread.run(self._stream.complete)

    def cancel(self, kind: Kind = Kind.CANCELLED, text: str = "the stream was cancelled") -> None:
        anyio.from_thread.run_sync(self._stream.cancel, kind, text)

    def __iter__(self) -> Iterator[memoryview]:
        while (item := self.receive()) is not None:
            yield item


class ServingLink(StreamLink, Protocol):
    """A link that runs handlers of streams."""

    def _fail_stream(self, stream: StreamEnd, error: BaseException) -> None: ...

    def _stream_served(self) -> None: ...


async def serve_stream(link: ServingLink, stream: Stream, destination: StreamDestination) -> None:
    """Run the handler of a stream to its end."""
    try:
        if destination.mode is Mode.THREAD:
            await _serve_in_thread(stream, cast("Callable[[BlockingStream], None]", destination.handler))
        else:
            await cast("Callable[[Stream], Awaitable[None]]", destination.handler)(stream)
    except anyio.get_cancelled_exc_class():
        stream.cancel(text="the handler was cancelled")
        raise
    except Exception as error:  # a handler's fault must not end the link of its caller
        link._fail_stream(stream, error)
    else:
        stream.close()
    finally:
        link._stream_served()


async def _serve_in_thread(stream: Stream, handler: Callable[[BlockingStream], None]) -> None:
    """In a thread of its own: a stream may last. When this task is cancelled, the thread is waited for all the same."""
    done = anyio.Event()

    def run() -> None:
        try:
            handler(_Bridge(stream))
        finally:
            anyio.from_thread.run_sync(done.set)

    try:
        await anyio.to_thread.run_sync(run, limiter=anyio.CapacityLimiter(1))
    except anyio.get_cancelled_exc_class():
        stream.cancel(text="the handler was cancelled")
        with anyio.CancelScope(shield=True):
            await done.wait()
        raise
