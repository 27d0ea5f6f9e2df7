"""A link over anyio's byte streams: the road for trio. It costs two to three times what `_asyncio` does.

Four tasks: one reads, one writes, one keeps time, and this link's handlers run in a task group of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import cast

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.verification import Decision

from ._core import LinkCore
from ._events import LinkOpened, Writable
from ._fields import Repeat, encode_fields
from ._frames import Buffer
from ._link import Link
from ._peer import Peer
from ._policy import Policy
from ._router import Answer, Body, Mode, Router, StreamDestination
from ._shell import CANCELLED, Work
from ._stream import Stream, serve_stream
from ._stream_end import StreamEnd
from ._trace import TraceParent
from .errors import BttpError, ConnectionLostError

_READ = 64 * 1024
LINGER = 2.0  # seconds that the last words of a closed link may take to leave


class _Waiter:
    """A task that waits for one answer."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._result: memoryview | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, result: memoryview, /) -> None:
        self._result = result
        self._event.set()

    def set_exception(self, error: BaseException, /) -> None:
        self._error = error
        self._event.set()

    async def wait(self) -> memoryview:
        await self._event.wait()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


class AnyioLink(Link):
    """One end of a link on any loop that anyio knows. `run` is its life."""

    def __init__(
        self,
        core: LinkCore,
        admit: Callable[[Peer, int], Decision],
        router: Router | None,
        policy: Policy | None,
        stream: anyio.abc.ByteStream,
        threads: anyio.CapacityLimiter,
        lasting: anyio.abc.TaskGroup,
    ) -> None:
        super().__init__(core, admit, router, policy)
        self._stream = stream
        self._threads = threads
        self._lasting = lasting  # of handlers that may outlive the link
        self._starting: deque[Work] = deque()
        self._sending = anyio.CancelScope()  # around what is being sent
        self._opened = anyio.Event()
        self._gone = anyio.Event()
        self._output = anyio.Event()  # there may be something to write
        self._clock = anyio.Event()  # the next time-out may have moved
        self._planned = 0.0
        self._room = anyio.Event()
        self._group: anyio.abc.TaskGroup | None = None
        self._scopes: dict[int, anyio.CancelScope] = {}

    async def run(self) -> None:
        """Drive the link until it has ended and its last words are out. Cancelling ends it at once."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._keep_time)
                group.start_soon(self._read)
                await self._write()
                group.cancel_scope.cancel()
        finally:
            self._core.abort(ConnectionLostError("the link was cut off"))
            self.handle_events()
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(self._stream)
            self._gone.set()

    # --- what users see

    async def call(
        self,
        path: BlockPath | str,
        body: Body = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: TraceParent | None = None,
        repeat: Repeat | None = None,
    ) -> memoryview:
        self._check_process()
        waiter = _Waiter()
        fields = b"" if key is None and trace is None else encode_fields(key, trace, repeat)
        number = self._core.call(path, body, waiter, timeout, anyio.current_time(), fields)
        self._stir()
        try:
            return await waiter.wait()
        except anyio.get_cancelled_exc_class():
            self._core.cancel(number)
            self._stir()
            raise

    async def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None:
        self._check_process()
        fields = b"" if trace is None else encode_fields(None, trace)
        while not self._core.send(path, body, fields):
            self._room = anyio.Event()
            self._stir()
            await self._room.wait()
        self._stir()
        await anyio.lowlevel.checkpoint()

    def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> Stream:
        self._check_process()
        now = anyio.current_time()
        place = path if isinstance(path, BlockPath) else BlockPath.parse(path)
        stream = self._make_stream(place, memoryview(body), None if timeout is None else now + timeout)
        stream.trace = trace
        stream.number = self._core.open(path, body, stream, timeout, now, encode_fields(None, trace))
        self._poke()
        return stream

    async def prove(self, identity: Identity) -> None:
        self._check_process()
        waiter = _Waiter()
        self._core.prove(identity, waiter)
        self._stir()
        await waiter.wait()

    async def wait_opened(self) -> None:
        await self._opened.wait()
        if self._ended:
            raise self.reason or ConnectionLostError("the link was closed before it was open")

    async def wait_closed(self) -> None:
        await self._gone.wait()

    async def drain(self, timeout: float = 5.0) -> bool:
        self._start_draining()
        self._stir()
        with anyio.move_on_after(timeout):
            await self.wait_closed()
            return True
        await self.aclose()
        return False

    async def aclose(self) -> None:
        self._core.close()
        self._stir()
        await self.wait_closed()

    # --- its tasks

    def _stir(self) -> None:
        """Something changed: act on it, write it, and look at the time."""
        self.handle_events()
        self._poke()

    async def _read(self) -> None:
        while not self._ended:
            try:
                data = await self._stream.receive(_READ)
            except anyio.EndOfStream:
                self._core.receive_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                self._core.abort(ConnectionLostError(f"the connection to the peer was lost: {error.__cause__}"))
            else:
                self._core.receive_data(data, anyio.current_time())
            self._stir()

    async def _write(self) -> None:
        while True:
            self._output = anyio.Event()
            while data := self._core.data_to_send():
                self.handle_events()
                with anyio.move_on_after(LINGER if self._ended else None) as self._sending:
                    try:
                        await self._stream.send(data)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                        self._core.receive_eof()
            self.handle_events()
            if self._ended and not self._output.is_set():
                return
            await self._output.wait()

    async def _keep_time(self) -> None:
        while (when := self._core.next_timeout()) is not None:
            self._clock = anyio.Event()
            self._planned = when
            with anyio.move_on_after(when - anyio.current_time()):
                await self._clock.wait()
            self._core.handle_timeout(anyio.current_time())
            self._stir()

    # --- handlers

    def _begin(self, work: Work) -> None:
        assert self._group is not None
        if work.record is not None:
            self._lasting.start_soon(self._run, work)
        else:
            self._starting.append(work)
            self._group.start_soon(self._run_next)

    async def _run_next(self) -> None:
        """trio starts tasks in any order: whichever comes first takes the oldest work, so that messages keep theirs."""
        await self._run(self._starting.popleft())

    async def _run(self, work: Work) -> None:
        with anyio.CancelScope() as scope:
            if work.number:
                self._scopes[work.number] = scope
            try:
                answer = await self._answer(work)
            except anyio.get_cancelled_exc_class():
                self._finish_failed(work, CANCELLED)
                raise
            except Exception as error:  # a handler's fault must not end the link of its caller
                self._finish_failed(work, error)
            else:
                self._finish(work, answer)
            finally:
                self._scopes.pop(work.number, None)
                self._stir()

    async def _answer(self, work: Work) -> Answer:
        handler = work.destination.handler
        if work.destination.mode is Mode.THREAD:
            return await anyio.to_thread.run_sync(handler, work.request, limiter=self._threads)  # type: ignore[arg-type]
        answer: Answer = await handler(work.request)  # type: ignore[misc]
        return answer

    def _make_stream(self, path: BlockPath, body: memoryview, deadline: float | None) -> Stream:
        return Stream(self, path, body, deadline)

    def _begin_stream(self, stream: StreamEnd, destination: StreamDestination) -> None:
        assert self._group is not None
        self._group.start_soon(self._run_stream, cast(Stream, stream), destination)

    async def _run_stream(self, stream: Stream, destination: StreamDestination) -> None:
        with anyio.CancelScope() as scope:
            if destination.mode is Mode.TASK:
                stream.stop = scope.cancel
                if stream.reason is not None:  # it ended before this task began
                    scope.cancel()
            await serve_stream(self, stream, destination)

    def _now(self) -> float:
        return anyio.current_time()

    def _poke(self) -> None:
        self._output.set()
        when = self._core.next_timeout()
        if when is not None and when < self._planned:
            self._clock.set()

    def _stop(self, number: int) -> None:
        scope = self._scopes.get(number)
        if scope is not None:
            scope.cancel()

    # --- events

    def _on_opened(self, event: LinkOpened) -> None:
        self._opened.set()

    def _on_writable(self, event: Writable) -> None:
        self._room.set()

    def _ended_now(self, error: BttpError | None) -> None:
        self._sending.deadline = anyio.current_time() + LINGER
        self._opened.set()
        self._room.set()
        self._output.set()
        self._clock.set()
