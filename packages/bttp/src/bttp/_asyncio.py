"""A link on asyncio: a protocol between transport and core. This is the fast road; trio takes `_anyio`.

Everything runs in the event loop's thread. All that is said within one turn of the loop leaves as one write.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic
from typing import cast

from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.verification import Decision

from ._core import LinkCore
from ._events import CallReceived, LinkOpened, Writable
from ._fields import Repeat, encode_fields
from ._frames import READ_SIZE, Buffer
from ._link import Link
from ._peer import Peer
from ._policy import Policy
from ._router import Answer, Body, Destination, Mode, Request, Router, StreamDestination
from ._runners import Course, Runner, Runners
from ._shell import CANCELLED, Work
from ._stream import Stream, serve_stream
from ._stream_end import StreamEnd
from ._trace import TraceParent
from ._workers import Workers
from .errors import BttpError, ConnectionLostError

HIGH_WATER = 128 * 1024  # of the transport's own buffer; a larger one halves the throughput of bulk
PIECE = 256  # messages that wait when they leave though the turn is not over: the peer works while more are said
ALONE = 4  # calls in a row that were alone, after which the next one does not wait for others of its turn
LINGER = 2.0  # seconds that the last words of a closed link may take to leave


_THREAD = Mode.THREAD  # looking a member up costs as much as beginning with a handler
_of_thread = threading.local()


def _shared_buffer() -> memoryview:
    """Where what comes from the network lies until it is decrypted, at once: one for all links of a thread's loop."""
    if not hasattr(_of_thread, "buffer"):
        _of_thread.buffer = memoryview(bytearray(READ_SIZE))
    buffer: memoryview = _of_thread.buffer
    return buffer


class AsyncioLink(Link, asyncio.BufferedProtocol):
    """One end of a link on asyncio."""

    def __init__(
        self,
        core: LinkCore,
        admit: Callable[[Peer, int], Decision],
        router: Router | None,
        policy: Policy | None,
        workers: Workers | None,
        runners: Runners,
    ) -> None:
        super().__init__(core, admit, router, policy)
        self._loop = loop = asyncio.get_running_loop()
        self._make_waiter: Callable[[], asyncio.Future[memoryview]] = loop.create_future
        if type(loop).create_future is asyncio.BaseEventLoop.create_future:  # Python around what is C
            self._make_waiter = partial(asyncio.Future, loop=loop)
        self._workers = workers
        self._buffer = _shared_buffer()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._flushing = False  # a flush is due this turn
        self._heap = core.deadlines.heap
        self._frames, self._lined_up, self._calling = core.outbox.frames, core.outbox.lined_up, core.calling
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = inf  # when it rings
        self._alone = 0  # so many calls in a row had the link to themselves
        self._lingering: asyncio.TimerHandle | None = None  # an ended link's last words are on their way
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by call
        self._runners = runners  # the owner's: it ends them
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()  # the transport is closed
        self._room: asyncio.Event = asyncio.Event()

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
        if self._forked:
            self._check_process()
        waiter = self._make_waiter()
        if key is None and trace is None:
            number = self._core.call(path, body, waiter, timeout, monotonic())
        else:
            fields = encode_fields(key, trace, repeat)
            number = self._core.call(path, body, waiter, timeout, monotonic(), fields)
        if not self._flushing:
            if self._alone >= ALONE:
                self._alone -= 1
                self._flush()
            else:
                self._flushing = True
                self._loop.call_soon(self._flush)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._core.cancel(number)
            self._flush_soon()
            raise

    async def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None:
        if self._forked:
            self._check_process()
        fields = b"" if trace is None else encode_fields(None, trace)
        while not self._core.send(path, body, fields):
            self._room.clear()
            self._flush_soon()
            await self._room.wait()
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        elif len(self._frames) >= PIECE and not self._paused:
            self._flush()

    def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> Stream:
        self._check_process()
        now = monotonic()
        place = path if isinstance(path, BlockPath) else BlockPath.parse(path)
        stream = self._make_stream(place, memoryview(body), None if timeout is None else now + timeout)
        stream.trace = trace
        stream.number = self._core.open(path, body, stream, timeout, now, encode_fields(None, trace))
        self._poke()
        return stream

    async def prove(self, identity: Identity) -> None:
        self._check_process()
        waiter: asyncio.Future[memoryview] = self._loop.create_future()
        self._core.prove(identity, waiter)
        self._flush_soon()
        await waiter

    async def wait_closed(self) -> None:
        await asyncio.shield(self._gone)

    async def drain(self, timeout: float = 5.0) -> bool:
        self._start_draining()
        self._flush()
        try:
            async with asyncio.timeout(timeout):
                await self.wait_closed()
        except TimeoutError:
            await self.aclose()
            return False
        return True

    async def aclose(self) -> None:
        self._core.close()
        self._flush()
        if self._transport is not None:
            try:
                async with asyncio.timeout(LINGER):
                    await self.wait_closed()
            except TimeoutError:
                self._cut()
                await self.wait_closed()

    async def wait_opened(self) -> None:
        await asyncio.shield(self._opened)

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._flush()
        self._look_at_clock()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        core = self._core
        self._alone = self._alone + 1 if len(self._calling) == 1 else 0
        core.receive_data(self._buffer[:nbytes], monotonic())
        if core.events:
            self.handle_events()
        if self._frames or self._lined_up or core.unsent or self._ended:
            self._flush()
        elif ((heap := self._heap) and heap[0][0] < self._wakes) or core.admitted_until < self._wakes:
            self._look_at_clock()

    def eof_received(self) -> None:
        self._core.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._core.receive_eof()
        else:
            self._core.abort(ConnectionLostError(f"the connection to the peer was lost: {exc}"))
        self._transport = None
        if self._lingering is not None:
            self._lingering.cancel()
        self._flush()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what the network takes, act on what that sets free, and set the timer."""
        core, transport, events = self._core, self._transport, self._core.events
        self._flushing = False
        if events:
            self.handle_events()
        while (self._frames or self._lined_up or core.unsent) and not self._paused:
            data = core.data_to_send()
            if not data:
                break
            if transport is not None:
                transport.write(data)
            if events:
                self.handle_events()
        if self._ended and transport is not None and not self._paused:
            transport.close()
        # The time for a PING only moves away: what may come sooner than the timer are deadlines and the end of rights.
        if ((heap := self._heap) and heap[0][0] < self._wakes) or core.admitted_until < self._wakes or self._ended:
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        when = self._core.next_timeout()
        if when is not None and when >= self._wakes:
            return  # the timer rings early and looks again: cheaper than a new one for every call
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when is None else self._loop.call_at(when, self._on_timer)
        self._wakes = inf if when is None else when

    def _on_timer(self) -> None:
        self._timer, self._wakes = None, inf
        self._core.handle_timeout(monotonic())
        self._flush()
        self._look_at_clock()

    # --- handlers

    def _begin(self, work: Work) -> None:
        if work.destination.mode is Mode.THREAD:
            assert self._workers is not None
            self._workers.run(work, self)
            return
        if (runner := self._runners.take()) is None:
            self._runners.start(partial(self._run, work))
            return
        try:
            answer: Answer | Course[Answer] = runner.begin(work.destination.handler(work.request))  # type: ignore[arg-type]
        except (Exception, asyncio.CancelledError) as error:
            self._finish_failed(work, _as_told(error))
        else:
            if isinstance(answer, Course):
                self._go_on(runner, work, answer)
            else:
                self._finish(work, answer)

    def _begin_call(self, event: CallReceived, request: Request, destination: Destination) -> None:
        """The same, without the books of a handler that runs for a while unless this one does."""
        if destination.mode is _THREAD or (runner := self._runners.take()) is None:
            super()._begin_call(event, request, destination)
            return
        try:
            answer: Answer | Course[Answer] = runner.begin(destination.handler(request))  # type: ignore[arg-type]
            if isinstance(answer, Course):
                work = Work(request, destination, event.number, 0)
                self._book(event, work)
                self._go_on(runner, work, answer)
            else:
                self._core.reply(event.number, b"" if answer is None else answer)
        except (Exception, asyncio.CancelledError) as error:
            self._finish_failed(Work(request, destination, event.number, 0), _as_told(error))

    def _go_on(self, runner: Runner, work: Work, course: Course[Answer]) -> None:
        self._tasks[work.number] = runner.task
        runner.go_on(partial(self._run, work, course))

    async def _run(self, work: Work, course: Course[Answer] | None = None) -> None:
        """Answer with what the handler returns; `course`: it has begun."""
        try:
            if course is not None:
                answer = await course
            else:
                # not before: a task that is cancelled sooner would never come here
                self._tasks[work.number] = cast("asyncio.Task[None]", asyncio.current_task())
                if work.request.cancelled:
                    raise CANCELLED
                answer = await work.destination.handler(work.request)  # type: ignore[misc]
        except asyncio.CancelledError:
            self._finish_failed(work, CANCELLED)
            raise
        except Exception as error:  # a handler's fault must not end the link of its caller
            self._finish_failed(work, error)
        else:
            self._finish(work, answer)
        finally:
            self._tasks.pop(work.number, None)
            self._flush_soon()

    def finish_thread(self, work: Work, answer: object, error: BaseException | None) -> None:
        """A worker is done; called in the loop's thread."""
        if error is not None:
            self._finish_failed(work, error)
        else:
            self._finish(work, answer)  # type: ignore[arg-type]
        self._flush_soon()

    def _make_stream(self, path: BlockPath, body: memoryview, deadline: float | None) -> Stream:
        return Stream(self, path, body, deadline)

    def _begin_stream(self, stream: StreamEnd, destination: StreamDestination) -> None:
        self._runners.add(self._loop.create_task(self._run_stream(cast(Stream, stream), destination)))

    async def _run_stream(self, stream: Stream, destination: StreamDestination) -> None:
        if destination.mode is Mode.TASK:
            stream.stop = cast("Callable[[], None]", cast("asyncio.Task[None]", asyncio.current_task()).cancel)
            if stream.reason is not None:  # it ended before this task began
                stream.stop()
        await serve_stream(self, stream, destination)

    def _poke(self) -> None:
        self._flush_soon()

    def _stop(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    # --- events

    def _on_opened(self, event: LinkOpened) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _on_writable(self, event: Writable) -> None:
        self._room.set()

    def _cut(self) -> None:
        """The peer does not take the last words."""
        if self._transport is not None:
            self._transport.abort()

    def _ended_now(self, error: BttpError | None) -> None:
        if self._transport is not None:
            # a peer that takes nothing as it is, gets no time to take the last words either
            self._lingering = self._loop.call_later(0.0 if self._paused else LINGER, self._cut)
        self._room.set()
        if not self._opened.done():
            self._opened.set_exception(error or ConnectionLostError("the link was closed before it was open"))
            self._opened.exception()  # whoever waits gets it; nobody need


def _as_told(error: BaseException) -> BaseException:
    """What the caller hears of it."""
    return CANCELLED if isinstance(error, asyncio.CancelledError) else error
