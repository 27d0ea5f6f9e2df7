"""One end of a stream, for threads. It waits under the lock of its link."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType

from btlib.kinds import Kind
from btlib.paths import BlockPath

from .._router import Body
from .._stream_end import Nothing, StreamEnd, StreamLink


class BlockingStream(StreamEnd):
    """One end of a stream. Iterate over it for what the peer sends; leaving its context early cancels it."""

    def __init__(
        self, link: StreamLink, lock: threading.Lock, path: BlockPath, body: memoryview, deadline: float | None
    ) -> None:
        super().__init__(link, path, body, deadline)
        self._lock = lock
        self._news = threading.Condition(lock)

    def send(self, body: Body) -> None:
        """As `Stream.send`."""
        with self._lock:
            while not self.offer(body):
                self._news.wait()

    def receive(self) -> memoryview | None:
        """As `Stream.receive`."""
        with self._lock:
            while isinstance(item := self.poll(), Nothing):
                self._news.wait()
            return item

    def finish(self) -> None:
        """As `Stream.finish`."""
        with self._lock:
            self.say_end()

    def complete(self) -> None:
        """As `Stream.complete`."""
        self.finish()
        while self.receive() is not None:
            pass

    def cancel(self, kind: Kind = Kind.CANCELLED, text: str = "the stream was cancelled") -> None:
        """As `Stream.cancel`."""
        with self._lock:
            self._cancel(kind, text, behind=False)

    def close(self) -> None:
        with self._lock:
            super().close()

    def __iter__(self) -> Iterator[memoryview]:
        while (item := self.receive()) is not None:
            yield item

    def __enter__(self) -> BlockingStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave(error)

    def wake(self) -> None:
        self._news.notify_all()
