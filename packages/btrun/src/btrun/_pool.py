"""The tasks that run actors: few, reused, and none for an actor that has nothing to do.

Whoever makes an actor runnable puts it into the queue; a parked worker is woken, or one is started when none is parked.
A worker that takes something while more is waiting wakes another one first: so a handler that waits never holds up
other actors, and a hundred thousand runnable actors do not start a hundred thousand tasks. In the steady state a worker
touches no anyio object: its cancel scope lives until somebody cancels what it runs.

    invariant: while the queue is not empty, a worker is on its way to it
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

import anyio

from ._loops import Loop, Wait
from ._starter import Starter

if TYPE_CHECKING:
    from ._calls import Call
    from ._cell import Cell
    from ._guests import Guest
    from ._runtime import Runtime

MAX_PARKED = 64  #: idle workers kept: about 3 kB each; enough that a usual load starts no tasks
TURN = 400  #: messages after which a worker lets others run: some 0.1 ms of small handlers

current_worker: ContextVar[Worker | None] = ContextVar("btrun_worker", default=None)


class Job(Protocol):
    """Something for a worker: an actor with messages, or one re-entrant call of it."""

    async def work(self, worker: Worker) -> None:
        """Do what there is, with `worker.cell` set. Returns early when `worker.doomed`."""
        ...

    def interrupted(self) -> None:
        """`work` was cut short by `Worker.cancel`."""
        ...


class Worker:
    """One task. `cell` and `call` say what it is at, for whoever calls from within a handler."""

    __slots__ = ("_job", "_scope", "call", "cell", "doomed", "handled", "pool", "wait", "woken")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.cell: Cell | None = None
        self.call: Call | None = None
        self.doomed = False  # its scope is cancelled: it must leave it before it handles anything else
        self.handled = 0  # since it last let others run
        self.woken = True  # on its way to the queue
        self.wait: Wait | None = None
        self._job: Job | None = None
        self._scope: anyio.CancelScope | None = None

    def cancel(self) -> None:
        """Cancel what it runs. Never waits."""
        self.doomed = True
        if self.cell is not None:
            self.cell.interrupt()
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """Serve until there is nothing to do and enough others are parked."""
        current_worker.set(self)
        self.pool.started(self)
        try:
            while not self.pool.closed:
                with anyio.CancelScope() as self._scope:
                    await self._serve()
                if not self.doomed:
                    return
                job, self._job = self._job, None
                self.doomed, self.cell, self.call = False, None, None
                if job is not None:
                    job.interrupted()
        finally:
            self.pool.ended(self)

    async def _serve(self) -> None:
        pool = self.pool
        while True:
            job = pool.take(self)
            if job is None:
                if (wait := pool.park(self)) is None:
                    return
                await wait
                continue
            self._job = job
            await job.work(self)
            if self.doomed:
                return
            self._job = self.cell = None
            if self.handled >= TURN:
                self.handled = 0
                await pool.loop.pause()


class Pool:
    """The queue, and the workers of one runtime."""

    def __init__(self, loop: Loop, starter: Starter, runtime: Runtime) -> None:
        self.loop = loop
        self.runtime = runtime
        self._starter = starter
        self._queue: deque[Job] = deque()
        self._parked: list[Worker] = []
        self._workers: dict[Worker, None] = {}
        self.pick: Callable[[deque[Job]], Job] = deque.popleft  # a simulation picks at random
        self.closed = False
        self._waking = False  # a worker is on its way to the queue
        self.now = Worker(self)  #: stands for the tasks of callers in which handlers run that cannot wait
        self.guests: list[Guest] = []  #: those that have left; another one is made of each
        self._left = TURN  # of these, until others get their turn

    def __len__(self) -> int:
        return len(self._workers)

    def add(self, job: Job) -> None:
        """Have it run soon."""
        self._queue.append(job)
        if not self._waking:
            self._wake()

    def take(self, worker: Worker) -> Job | None:
        """The next job. Wakes another worker if more are waiting."""
        queue = self._queue
        job = self.pick(queue) if queue else None
        if worker.woken:
            worker.woken = self._waking = False
            if queue:
                self._wake()
        return job

    def may_answer_now(self) -> bool:
        """Whether one more handler may run in its caller's task. False: let others run first."""
        self._left -= 1
        if self._left:
            return True
        self._left = TURN
        return False

    def park(self, worker: Worker) -> Wait | None:
        """What an idle worker is to wait for; None: it is not needed any more."""
        if len(self._parked) >= MAX_PARKED:
            return None
        worker.wait = wait = self.loop.make_wait()
        self._parked.append(worker)
        return wait

    def close(self) -> None:
        """End all workers."""
        self.closed = True
        for worker in list(self._workers):
            worker.cancel()

    def started(self, worker: Worker) -> None:
        self._workers[worker] = None

    def ended(self, worker: Worker) -> None:
        del self._workers[worker]

    def _wake(self) -> None:
        self._waking = True
        if self._parked:
            worker = self._parked.pop()
            worker.woken = True
            assert worker.wait is not None
            worker.wait.set_result(None)
        else:
            self._starter.start(Worker(self).run)
