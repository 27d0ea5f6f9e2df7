"""`Exchange`: answers a request and waits for the next, so that neither side pays more for waking up than for the work.

    alert    look for a request for a moment before sleeping: whoever was answered often asks at once
    awake    while one asks and waits, again and again, keep the processors from falling asleep

On a virtual machine a processor that sleeps takes longer to wake than most requests to answer. A program that waits for
each answer leaves its processor idle for just that time. So after some requests in a row that had to be waited for, a
thread of the lowest priority (SCHED_IDLE: everything else goes first) spins, until that ends or several requests wait
at once. It runs compiled code, without the interpreter lock, and only where `btspeed` is installed; so does the turn
from one request to the next, of which the Python here is the reference. Where the provider has a table of what can be
read without it (`btfproto.provider.ReadsDirectly`), that turn also answers these reads.

Both are for the one thread that answers a mount. With one processor, or several threads, none is of use.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._context import Answer, Head
from ._protocol import IN_HEADER, OUT_HEADER

try:
    import btspeed
except ImportError:
    COMPILED = False
else:
    COMPILED = True

if TYPE_CHECKING:
    from btspeed import ReadTable

#: How long to look before sleeping. Most programs ask again within it; more would only heat the machine.
ALERT_NANOSECONDS = 50_000
GIVE_UP = 4  #: looks in vain after which looking stops: who works for so long needs the processor himself
TRY_AGAIN = 16  #: of so many requests one is looked for all the same
AWAKE_AFTER = 32  #: requests that were waited for: what is shorter is over before it could gain
NOT_WAITED_FOR = 4  #: how many of these one counts that was there at once: some are, even of one who waits
AWAKE_NANOSECONDS = 200_000  #: without a request, until the processors may sleep again

_SMALL = 4096  #: up to here, one joined write is cheaper than a gathered one
#: The words of the score: requests that were waited for; whether the spinning shall end; how much the last were
#: waited for; whether the thread spins, or none will; how often in a row it was looked for a request in vain.
_WAITED, _IS_OVER, _SCORE, _SPINS, _IN_VAIN, _WORDS = range(6)

Turn = Callable[[int, Answer], Head | None]


class Exchange:
    """For one thread. `buffer` holds the request of the newest head."""

    def __init__(
        self,
        descriptor: int,
        size: int,
        *,
        alert: bool,
        compiled: bool = COMPILED,
        reads: ReadTable | None = None,
    ) -> None:
        """`alert`: this thread answers alone, so it also decides how to wait; the descriptor no longer blocks.

        `reads`: by node number, what compiled code may answer.
        """
        self.buffer = memoryview(bytearray(size))
        #: Answer a request, unless the answer is None, and wait for the next; None where there will be no more.
        #: Raises OSError of the waiting. What cannot be written is answered with the reason.
        self.turn: Turn = self._compiled if compiled else self._plain
        self._descriptor = descriptor
        self._buffers = [self.buffer]
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)
        self._score = memoryview(bytearray(8 * _WORDS)).cast("Q")
        self._reads = reads
        self._score[_SPINS] = 1
        self._awake = _Awake(self._score) if alert and COMPILED else None
        if alert:
            os.set_blocking(descriptor, False)

    def _compiled(self, unique: int, answer: Answer) -> Head | None:
        score, awake = self._score, self._awake
        head = btspeed.exchange(
            self._descriptor,
            self.buffer,
            unique,
            answer,
            ALERT_NANOSECONDS,
            score,
            AWAKE_AFTER,
            NOT_WAITED_FOR,
            self._reads,
        )
        if awake is not None and score[_SCORE] == AWAKE_AFTER:
            awake.start()
        return head

    def _plain(self, unique: int, answer: Answer) -> Head | None:
        if answer is not None:
            self._answer(unique, answer)
        try:
            size = os.readv(self._descriptor, self._buffers)
        except BlockingIOError:
            size = self._wait()
            self._note(waited=True)
        else:
            self._note(waited=False)
        return IN_HEADER.unpack_from(self.buffer) if size else None

    def _answer(self, unique: int, body: bytes) -> None:
        size = OUT_HEADER.size + len(body)
        head = OUT_HEADER.pack(size, 0, unique)
        try:
            if size <= _SMALL:
                os.write(self._descriptor, head + body)
            else:
                os.writev(self._descriptor, (head, body))
        except OSError as error:
            with contextlib.suppress(OSError):  # nobody waits for it any more, or nobody is there
                os.write(self._descriptor, OUT_HEADER.pack(OUT_HEADER.size, -(error.errno or 0), unique))

    def _wait(self) -> int:
        score = self._score
        if score[_IN_VAIN] < GIVE_UP or not score[_IN_VAIN] % TRY_AGAIN:
            end = time.monotonic_ns() + ALERT_NANOSECONDS
            while time.monotonic_ns() <= end:
                with contextlib.suppress(BlockingIOError):
                    size = os.readv(self._descriptor, self._buffers)
                    score[_IN_VAIN] = 0
                    return size
        while True:
            score[_IN_VAIN] += 1
            self._poller.poll()
            with contextlib.suppress(BlockingIOError):
                return os.readv(self._descriptor, self._buffers)

    def _note(self, waited: bool) -> None:
        score = self._score
        if waited:
            score[_WAITED] += 1
            score[_SCORE] = min(score[_SCORE] + 1, AWAKE_AFTER)
            if self._awake is not None and score[_SCORE] == AWAKE_AFTER:
                self._awake.start()
        elif score[_SCORE]:
            score[_SCORE] = max(score[_SCORE] - NOT_WAITED_FOR, 0)
            score[_IS_OVER] = not score[_SCORE]


class _Awake:
    """The thread that spins when told to."""

    def __init__(self, score: memoryview) -> None:
        self._score = score
        self._beat = score[:_SCORE]
        score[_SPINS] = 0
        self._wanted = threading.Lock()  # released by who wants it to spin
        self._wanted.acquire()
        threading.Thread(target=self._run, name="btfuse-awake", daemon=True).start()

    def start(self) -> None:
        """Spin, unless it does already."""
        if not self._score[_SPINS]:
            self._score[_SPINS] = 1
            self._wanted.release()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # without the lowest priority it would be in the way
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            while True:
                self._wanted.acquire()
                self._beat[_IS_OVER] = 0
                btspeed.spin_while_counting(self._beat, AWAKE_NANOSECONDS)
                self._score[_SPINS] = 0
