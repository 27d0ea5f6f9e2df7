"""A link for threads. Whoever calls encrypts and writes by himself; one thread of the link reads and keeps time.

So a call costs one hand-over between threads (the answer's), and none to an event loop. A caller never blocks in a
write: what the socket does not take is left to the link's thread, which therefore can always go on reading.

All state is under one lock, held only while something is encrypted, decrypted or looked up, never while waiting.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.verification import Decision

from .._core import LinkCore
from .._events import LinkOpened, Writable
from .._fields import Repeat, encode_fields
from .._frames import READ_SIZE, Buffer
from .._limits import ServerLimits
from .._peer import Peer
from .._policy import Policy
from .._router import Body, Router, StreamDestination
from .._shell import Shell, Work
from .._stream_end import StreamEnd
from .._trace import TraceParent
from .._workers import Workers
from ..errors import BttpError, ConnectionLostError
from ._stream import BlockingStream

_LINGER = 2.0  # seconds that the last words of a closed link may take to leave


class _Waiter:
    """A thread that waits for one answer."""

    __slots__ = ("_error", "_lock", "_result", "_set")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._set = False
        self._result: memoryview | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        return self._set

    def set_result(self, result: memoryview, /) -> None:
        self._result = result
        self._set = True
        self._lock.release()

    def set_exception(self, error: BaseException, /) -> None:
        self._error = error
        self._set = True
        self._lock.release()

    def wait(self) -> memoryview:
        self._lock.acquire()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


class BlockingLink(Shell):
    """One authenticated connection, for any number of threads. Also a context manager that closes it."""

    def __init__(
        self,
        core: LinkCore,
        sock: socket.socket,
        admit: Callable[[Peer, int], Decision],
        router: Router | None = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__(core, admit, router, policy)
        self._socket = sock
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._opened = threading.Event()
        self._unsent = memoryview(b"")  # ciphertext that the socket did not take
        self._wake_at = 0.0  # when the link's thread looks at the time again
        self._give_up = float("inf")  # when a closed link stops trying to send its last words
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._workers = Workers(ServerLimits().max_workers, self._collect) if router is not None else None
        self._streamers: set[threading.Thread] = set()  # those of handlers of streams
        self._thread = threading.Thread(target=self._run, name=f"bttp-link-{self.id}", daemon=True)
        self._thread.start()

    # --- what users see

    def call(
        self,
        path: BlockPath | str,
        body: Body = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: TraceParent | None = None,
        repeat: Repeat | None = None,
    ) -> memoryview:
        """Send a request and wait for its answer. The time-out (seconds) and an interrupt reach the peer's handler.

        `key`: an idempotency key (1 to 64 bytes, new for each request): the peer does a call with the same key and
        request once, and answers a repeated one from its record; RemoteError of kind BUSY while it is under way, STALE
        where the record is gone. `repeat`: where and when the key was sent before. `trace`: for the handler. Without a
        key at most once: nothing is repeated by itself.

        Raises RemoteError for the answer that it failed, DeadlineError,
        ConnectionLostError when the link ends first; LimitError and UnreachableError before anything is sent.
        """
        if self._forked:
            self._check_process()
        fields = b"" if key is None and trace is None else encode_fields(key, trace, repeat)
        waiter = _Waiter()
        with self._lock:
            number = self._core.call(path, body, waiter, timeout, time.monotonic(), fields)
            self._flush()
        try:
            return waiter.wait()
        except KeyboardInterrupt:
            with self._lock:
                self._core.cancel(number)
                self._flush()
            raise

    def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None:
        """Queue a message without an answer. Waits while the peer has no room. At most once: a lost link loses it."""
        if self._forked:
            self._check_process()
        fields = b"" if trace is None else encode_fields(None, trace)
        with self._lock:
            while not self._core.send(path, body, fields):
                self._flush()
                self._room.wait()
            self._flush()

    def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> BlockingStream:
        """Open a stream with some first words (at most 64 KiB). Use it as a context: leaving cancels it unless both
        sides have finished. `timeout` (seconds) is for all of it. Raises as `call` before anything is sent; the peer's
        refusal is raised by the first `receive` or `send` that finds it.
        """
        if self._forked:
            self._check_process()
        now = time.monotonic()
        place = path if isinstance(path, BlockPath) else BlockPath.parse(path)
        stream = self._make_stream(place, memoryview(body), None if timeout is None else now + timeout)
        stream.trace = trace
        with self._lock:
            stream.number = self._core.open(path, body, stream, timeout, now, encode_fields(None, trace))
            self._flush()
        return stream

    def prove(self, identity: Identity) -> None:
        """As `bttp.Link.prove`."""
        self._check_process()
        waiter = _Waiter()
        with self._lock:
            self._core.prove(identity, waiter)
            self._flush()
        waiter.wait()

    def recheck(self) -> None:
        """As `bttp.Link.recheck`."""
        with self._lock:
            self._recheck()
            self._flush()

    def wait_opened(self, timeout: float | None) -> bool:
        """Whether both sides accepted by then; raises why not."""
        if not self._opened.wait(timeout):
            return False
        if self._ended:
            raise self.reason or ConnectionLostError("the link was closed before it was open")
        return True

    def drain(self, timeout: float = 5.0) -> bool:
        """Take no new calls, let those under way finish, close. False: some were cut off after `timeout` seconds."""
        with self._lock:
            self._start_draining()
            self._flush()
        self._thread.join(timeout)
        in_time = not self._thread.is_alive()
        self.close()
        return in_time

    def close(self) -> None:
        """End the link: what was queued still leaves, within a moment; calls under way fail. May be called again."""
        if self._forked:
            self._socket.close()  # the child's copy; the parent's link lives on
            return
        with self._lock:
            self._core.close()
            self._flush()
            self._give_up = min(self._give_up, time.monotonic() + _LINGER)
            self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()
            for thread in list(self._streamers):
                if thread is not threading.current_thread():
                    thread.join()
            if self._workers is not None:
                self._workers.close()

    def __enter__(self) -> BlockingLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- under the lock

    def _flush(self) -> None:
        """Act on events and write what the socket takes now."""
        core = self._core
        self.handle_events()
        while not self._unsent:
            data = core.data_to_send()
            self.handle_events()
            if not data:
                break
            self._write(data)
        when = core.next_timeout()
        if self._unsent or (when is not None and when < self._wake_at):
            self._wake()

    def _write(self, data: bytes | memoryview) -> None:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(data)  # reading will tell the same, after the peer's last words
        self._unsent = memoryview(data)[sent:] if sent < len(data) else memoryview(b"")

    def _wake(self) -> None:
        """Make the link's thread look again. It does so by itself after its own flushes."""
        if threading.current_thread() is not self._thread and self._wakeup >= 0:
            os.eventfd_write(self._wakeup, 1)

    # --- the link's thread

    def _run(self) -> None:
        buffer = memoryview(bytearray(READ_SIZE))
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        with self._lock:
            self._flush()
        while (wait := self._plan(poller)) is not None:
            ready = dict(poller.poll(wait))
            if self._wakeup in ready:
                os.eventfd_read(self._wakeup)
            self._turn(ready.get(self._socket.fileno(), 0), buffer)
        self._finish_thread()

    def _plan(self, poller: select.poll) -> float | None:
        """Register what to wait for; how many milliseconds at most; None: the link is over."""
        with self._lock:
            now = time.monotonic()
            when = self._core.next_timeout()
            if self._ended:
                if not self._unsent or now >= self._give_up:
                    return None
                self._give_up = min(self._give_up, now + _LINGER)
                when = self._give_up
            self._wake_at = float("inf") if when is None else when
            poller.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            return max(0.0, (self._wake_at - now) * 1000 + 1)

    def _turn(self, ready: int, buffer: memoryview) -> None:
        """Read, keep time, write."""
        count = -1
        lost: OSError | None = None
        if ready & ~select.POLLOUT:
            try:
                count = self._socket.recv_into(buffer)
            except BlockingIOError:
                pass
            except OSError as error:
                lost = error
        with self._lock:
            now = time.monotonic()
            if lost is not None:
                self._core.abort(ConnectionLostError(f"the connection to the peer was lost: {lost.strerror or lost}"))
                self._unsent = memoryview(b"")
            elif count > 0:
                self._core.receive_data(buffer[:count], now)
            elif count == 0:
                self._core.receive_eof()
                self._unsent = memoryview(b"")
            self._core.handle_timeout(now)
            if self._unsent:
                self._write(self._unsent)
            self._flush()

    def _finish_thread(self) -> None:
        with self._lock:
            self._socket.close()
            os.close(self._wakeup)
            self._wakeup = -1

    # --- handlers and events, under the lock

    def _begin(self, work: Work) -> None:
        assert self._workers is not None
        self._workers.run(work, self)

    def _make_stream(self, path: BlockPath, body: memoryview, deadline: float | None) -> BlockingStream:
        return BlockingStream(self, self._lock, path, body, deadline)

    def _begin_stream(self, stream: StreamEnd, destination: StreamDestination) -> None:
        name = f"bttp-stream-{self.id}-{stream.number}"
        thread = threading.Thread(target=self._run_stream, args=(stream, destination), name=name, daemon=True)
        self._streamers.add(thread)
        thread.start()

    def _run_stream(self, stream: BlockingStream, destination: StreamDestination) -> None:
        """A thread of its own: a stream may last."""
        try:
            destination.handler(stream)  # type: ignore[arg-type]
        except Exception as error:  # a handler's fault must not end the link of its caller
            self._fail_stream(stream, error)
        else:
            stream.close()
        finally:
            self._streamers.discard(threading.current_thread())
            with self._lock:
                self._stream_served()

    def _poke(self) -> None:
        self._flush()

    def _collect(self, collect: Callable[[], None]) -> None:
        with self._lock:
            collect()
            self._flush()

    def finish_thread(self, work: Work, answer: object, error: BaseException | None) -> None:
        """A worker is done."""
        if error is not None:
            self._finish_failed(work, error)
        else:
            self._finish(work, answer)  # type: ignore[arg-type]

    def _on_opened(self, event: LinkOpened) -> None:
        self._opened.set()

    def _on_writable(self, event: Writable) -> None:
        self._room.notify_all()

    def _ended_now(self, error: BttpError | None) -> None:
        self._opened.set()
        self._room.notify_all()
