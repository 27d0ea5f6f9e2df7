"""`Receiver`: waits for the next request, so that neither side pays more for waking up than for the work.

    alert    look for a request for a moment before sleeping: whoever was answered often asks at once
    awake    while one asks and waits, again and again, keep the processors from falling asleep

On a virtual machine a processor that sleeps takes longer to wake than most requests to answer. A program that waits for
each answer leaves its processor idle for just that time. So after some requests in a row that had to be waited for, a
thread of the lowest priority (SCHED_IDLE: everything else goes first) spins, until that ends or several requests wait
at once. It runs compiled code, without the interpreter lock, and only where `btspeed` is installed.

For the one thread that answers a mount. With one processor neither is of use.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time

try:
    import btspeed
except ImportError:
    CAN_SPIN = False
else:
    CAN_SPIN = True

#: How long to look before sleeping. Most programs ask again within it; more would only heat the machine.
ALERT_NANOSECONDS = 50_000
AWAKE_AFTER = 32  #: requests that were waited for: what is shorter is over before it could gain
NOT_WAITED_FOR = 4  #: how many of these one counts that was there at once: some are, even of one who waits
AWAKE_NANOSECONDS = 200_000  #: without a request, until the processors may sleep again

Beat = memoryview  # two words: requests counted, and whether spinning shall end


class Receiver:
    """See the module. `receive` is for one thread."""

    def __init__(self, descriptor: int, *, awake: bool = CAN_SPIN) -> None:
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)
        self._score = 0  #: how much the last requests were waited for
        self._beat = memoryview(bytearray(16)).cast("Q")
        self._awake = _Awake(self._beat) if awake else None
        os.set_blocking(descriptor, False)

    def receive(self, descriptor: int, buffers: list[memoryview]) -> int:
        """One request into the buffers; 0 where there will be no more. Raises OSError."""
        try:
            size = os.readv(descriptor, buffers)
        except BlockingIOError:
            return self._wait(descriptor, buffers)
        if self._score:
            self._score = max(self._score - NOT_WAITED_FOR, 0)
            self._beat[1] = not self._score
        return size

    def _wait(self, descriptor: int, buffers: list[memoryview]) -> int:
        end = time.monotonic_ns() + ALERT_NANOSECONDS
        while True:
            try:
                size = os.readv(descriptor, buffers)
                break
            except BlockingIOError:
                if time.monotonic_ns() > end:
                    self._poller.poll()
        self._beat[0] += 1
        if self._score < AWAKE_AFTER:
            self._score += 1
        elif self._awake is not None:
            self._awake.start()
        return size


class _Awake:
    """The thread that spins when told to."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._wanted = threading.Lock()  # released by who wants it to spin
        self._wanted.acquire()
        self._spins = False
        threading.Thread(target=self._run, name="btfuse-awake", daemon=True).start()

    def start(self) -> None:
        """Spin, unless it does already."""
        if not self._spins:
            self._spins = True
            self._wanted.release()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # without the lowest priority it would be in the way
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            while True:
                self._wanted.acquire()
                self._beat[1] = 0
                btspeed.spin_while_counting(self._beat, AWAKE_NANOSECONDS)
                self._spins = False
