"""One direction of a simulated link: requests there, answers back, each after its latency, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import msgspec
from btlib.errors import BlocktreeError
from btlib.paths import BlockPath
from bttp.errors import ConnectionLostError, DeadlineError, RemoteError, UnreachableError

from .._runtime import Runtime
from .._serving import RemoteService

if TYPE_CHECKING:
    from ._simulation import Simulation

PAUSE = 1e-3  #: between two looks whether a link that drains has answered everything
TICK = 1e-6  #: between two arrivals, since timers of one moment fire in any order


class Arrived(msgspec.Struct, frozen=True):
    """A request at the other end."""

    path: BlockPath
    body: memoryview
    deadline: float | None


class SimulatedLink:
    """A carrier to one runtime."""

    def __init__(self, simulation: Simulation, name: str, target: Runtime) -> None:
        self.closed = False
        self.usable = True  #: false once it was lost, though its ends have not noticed yet
        self._simulation = simulation
        self._name = name
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._pending: dict[asyncio.Future[memoryview], None] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._there = 0.0  # when the last request arrives: none overtakes another
        self._reason = ""
        self._draining = False

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    def lose(self, detection: float) -> None:
        """From now on everything vanishes; after `detection` seconds the link closes."""
        if self.usable:
            self.usable = False
            self._loop.call_later(detection, self.close, "no answer to three pings")

    async def drain(self) -> None:
        """Take no new requests, and return when those under way are answered."""
        self._draining = True
        while self._pending:
            await asyncio.sleep(PAUSE)

    def close(self, reason: str) -> None:
        """Idempotent."""
        if self.closed:
            return
        self.closed, self.usable, self._reason = True, False, reason
        self._simulation.log(f"{self._name} closes: {reason}")
        for wait in self._pending:
            if not wait.done():
                wait.set_exception(ConnectionLostError(f"the link ended: {reason}"))
        for callback in self._callbacks:
            callback()

    async def send(self, path: BlockPath | str, body: bytes = b"") -> None:
        self._check_open()
        self._deliver(path, body, None, None)

    async def call(self, path: BlockPath | str, body: bytes = b"", *, timeout: float | None = None) -> memoryview:
        self._check_open()
        wait: asyncio.Future[memoryview] = self._loop.create_future()
        scope = anyio.CancelScope(shield=True)  # of the handler at the other side
        self._pending[wait] = None
        try:
            self._deliver(path, body, timeout, (wait, scope))
            try:
                async with asyncio.timeout(timeout):
                    return await wait
            except TimeoutError:
                raise DeadlineError(f"no answer from {path} after {timeout} s") from None
        finally:
            del self._pending[wait]
            if wait.cancelled():
                self._loop.call_later(self._simulation.latency(), scope.cancel)

    def _check_open(self) -> None:
        if self.closed:
            raise ConnectionLostError(f"the link ended: {self._reason}")
        if self._draining:
            raise UnreachableError("the link is draining and takes no new messages")

    def _deliver(
        self,
        path: BlockPath | str,
        body: bytes,
        timeout: float | None,
        answer: tuple[asyncio.Future[memoryview], anyio.CancelScope] | None,
    ) -> None:
        there = self._loop.time() + self._simulation.latency()
        self._there = there = max(there, self._there + TICK)
        place = BlockPath.parse(path) if isinstance(path, str) else path
        service = RemoteService(self._target)

        def arrived() -> Arrived:
            return Arrived(place, memoryview(body), None if timeout is None else self._loop.time() + timeout)

        async def serve() -> None:
            if answer is None:
                await service(arrived())
                return
            wait, scope = answer
            with scope:
                try:
                    reply = await service(arrived())
                except BlocktreeError as error:
                    failure = RemoteError(str(error), kind=error.kind)
                    self._back(wait, lambda: wait.set_exception(failure))
                else:
                    self._back(wait, lambda: wait.set_result(memoryview(reply)))

        def arrive() -> None:
            if self.usable:
                self._simulation.log(f"{self._name} {len(body)} bytes for {place.name}")
                self._target.start_task(serve)

        self._loop.call_at(there, arrive)

    def _back(self, wait: asyncio.Future[memoryview], finish: Callable[[], None]) -> None:
        def arrive() -> None:
            if self.usable and not wait.done():
                finish()

        self._loop.call_later(self._simulation.latency(), arrive)
