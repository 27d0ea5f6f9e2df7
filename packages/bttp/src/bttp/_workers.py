"""A bounded pool of threads for handlers that are not `async`, with a cheap way back to the link's owner.

Threads start when there is work and nobody idle. Answers are collected; the owner is woken once for all that wait. What
a cancelled caller asked for is not started any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from ._shell import CANCELLED, Work


class Finisher(Protocol):
    """Takes a finished work back, under the link's owner."""

    def finish_thread(self, work: Work, answer: object, error: BaseException | None) -> None: ...


class Workers:
    """At most `limit` threads. `run` and the collecting happen under one owner (an event loop, or a lock); `wake` sees
    to it that the owner runs what it is given, soon."""

    def __init__(self, limit: int, wake: Callable[[Callable[[], None]], None]) -> None:
        self._limit = limit
        self._wake = wake
        self._queue: SimpleQueue[tuple[Work, Finisher] | None] = SimpleQueue()
        self._done: deque[tuple[Finisher, Work, object, BaseException | None]] = deque()
        self._threads: list[threading.Thread] = []
        self._waking = False  # the owner has been told and has not collected yet
        self._pending = 0  # handed over and not yet back
        self._closed = False

    def run(self, work: Work, finisher: Finisher) -> None:
        """Run the handler; its outcome comes back through `finisher.finish_thread`."""
        self._pending += 1
        self._queue.put((work, finisher))
        if self._pending > len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=f"bttp-worker-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End the threads when they have finished what they are at; what waits is not started. Blocks until then."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            work, finisher = item
            answer: object = None
            failure: BaseException | None = CANCELLED
            if not (work.request.cancelled or self._closed):
                failure = None
                try:
                    answer = work.destination.handler(work.request)
                except BaseException as error:  # it is the handler's, and becomes the caller's answer
                    failure = error
            self._done.append((finisher, work, answer, failure))
            del work, finisher, item, answer, failure
            if not self._waking:
                self._waking = True
                self._wake(self._collect)

    def _collect(self) -> None:
        done, self._waking = self._done, False
        while done:
            finisher, work, answer, error = done.popleft()
            self._pending -= 1
            finisher.finish_thread(work, answer, error)


def loop_workers(limit: int) -> Workers:
    """Workers owned by the running asyncio loop."""
    loop = asyncio.get_running_loop()

    def wake(collect: Callable[[], None]) -> None:
        # RuntimeError: the loop is closed, and nobody waits for answers any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(collect)

    return Workers(limit, wake)
