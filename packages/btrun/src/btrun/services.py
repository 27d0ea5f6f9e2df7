"""Services: a path behind which actors come and go.

    rt.service("thumbnails", Thumbnailer, workers=4)           up to four workers; each message to the least loaded
    rt.service("ledger", Ledger, single=Single(leases))        one in all runtimes that offer it, under a fence

Workers are started when messages come, and stopped when they were idle for `idle` seconds. A single one is active where
the lease is held: elsewhere a call raises NotHereError, and `Providers` (`rt.nearest`) goes on to the next runtime. The
holder renews its lease; when it cannot, its actor is killed before the lease is over. `drain` hands over in order.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
import msgspec
from btlib.errors import BlocktreeError

from ._cell import Cell
from ._providers import CALL_SECONDS, Providers
from ._states import State
from ._supervision import Restart, Supervision
from ._timers import Timer
from .actor import Actor
from .errors import MailboxFullError, NotHereError, UsageError
from .leases import Lease, Leases, service_key
from .reasons import Down
from .refs import UNSET, Unset

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["CALL_SECONDS", "IDLE_SECONDS", "LEASE_SECONDS", "Providers", "Service", "Single"]

log = logging.getLogger("btrun")

IDLE_SECONDS = 60.0  #: a worker that did nothing for so long costs more memory than starting it anew costs time
LEASE_SECONDS = 10.0  #: how long a dead holder can hold others up; renewed three times as often


class Single(msgspec.Struct, frozen=True):
    """Only one may be active. The actor's constructor gets the lease's `fence` as a keyword."""

    leases: Leases
    seconds: float = LEASE_SECONDS


class Service:
    """One service of one runtime. What its reference leads to."""

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        actor_class: type[Actor],
        arguments: tuple[tuple[object, ...], Mapping[str, object]],
        *,
        workers: int,
        idle: float,
        supervision: Supervision,
        single: Single | None,
    ) -> None:
        self.name = name
        self.actor_class = actor_class
        self.lease: Lease | None = None
        self._runtime = runtime
        self._arguments = arguments
        self.limit = 1 if single is not None else workers
        self._idle = idle
        self._single = single
        self._branch = runtime.supervisor(name, supervision)
        self._numbers = itertools.count(1)
        self._workers: dict[Cell, int] = {}  # and how much each had handled at the last look
        self._look: Timer | None = None
        self._renewal: Timer | None = None
        self._expiry: Timer | None = None
        self._outbox: deque[object] = deque()
        self.draining = False
        self._turn = anyio.Lock()
        self._key = service_key(name)
        self._holder = hashlib.sha256(f"{runtime.prefix} {runtime.next_incarnation()}".encode()).digest()[:16]

    @property
    def path(self) -> str:
        return self._branch.path

    @property
    def active(self) -> int:
        """How many workers live."""
        return len(self._living())

    @property
    def waiting(self) -> int:
        """Messages that no handler is at."""
        return len(self._outbox) + sum(len(cell.mailbox) for cell in self._living())

    # --- as a target

    def send(self, message: object) -> bool:
        """See Ref.send. For a single service the message waits until it is known who may be active."""
        if self._single is None:
            return self._pick().send(message)
        if len(self._outbox) >= (limit := self.actor_class.mailbox.limit):
            raise MailboxFullError(
                f"{limit} messages for {self.path} wait until it has its lease",
                hint="call instead, or raise the limit: Mailbox(limit=…)",
            )
        self._outbox.append(message)
        if len(self._outbox) == 1:
            self._runtime.start_task(self._flush)
        return True

    async def call(
        self,
        message: object,
        *,
        timeout: float | Unset | None = UNSET,
        shielded: bool = False,
        origin: tuple[str, ...] = (),
    ) -> object:
        """See Ref.call."""
        await self._activate()
        return await self._pick().call(message, timeout=timeout, shielded=shielded, origin=origin)

    def stop(self, *, drain: bool = False) -> None:
        """Stop the workers there are; the next message starts one."""
        for cell in self._living():
            cell.stop(drain=drain)

    def kill(self) -> None:
        for cell in self._living():
            cell.kill()

    def monitor(self) -> None:
        raise UsageError(f"{self.path} is a service: its workers come and go", hint="monitor an actor")

    link = monitor

    async def wait_down(self) -> Down:
        raise UsageError(f"{self.path} is a service: its workers come and go", hint="use drain()")

    async def drain(self) -> None:
        """Take no new messages, finish those that wait, and give the lease back: another runtime takes over at once."""
        self.draining = True
        for cell in self._living():
            cell.stop(drain=True)
            await cell.wait_halted()
        await self._release()

    # --- workers

    def _living(self) -> list[Cell]:
        for cell in [cell for cell in self._workers if cell.state is State.ENDED]:
            del self._workers[cell]
        return list(self._workers)

    def _pick(self) -> Cell:
        """The least loaded worker; a new one if all are busy and there may be more."""
        if self.draining:
            raise NotHereError(f"{self.path} is being handed over", hint="ask another provider")
        living = self._living()
        best = min(living, key=_load, default=None)
        if best is None or (_load(best) and len(living) < self.limit):
            best = self._start()
        return best

    def _start(self) -> Cell:
        positional, named = self._arguments
        if self.lease is not None:
            named = {**named, "fence": self.lease.fence}
        ref = self._branch.spawn(
            self.actor_class,
            *positional,
            name=f"worker-{next(self._numbers)}",
            restart=Restart.TRANSIENT if self._single is None else Restart.TEMPORARY,  # a killed one stays away
            **named,  # type: ignore[arg-type]
        )
        cell = ref.target
        assert isinstance(cell, Cell)
        self._workers[cell] = -1
        if self._look is None:
            self._look = Timer(self._runtime.loop, self._idle, self._look_around)
        return cell

    def _look_around(self) -> None:
        """Stop who did nothing since the last look."""
        self._look = None
        for cell in self._living():
            if not cell.scheduled and self._workers[cell] == cell.handled:
                cell.stop()
            else:
                self._workers[cell] = cell.handled
        if self._living():
            self._look = Timer(self._runtime.loop, self._idle, self._look_around)
        elif self._single is not None:
            self._runtime.start_task(self._release)

    # --- the lease

    async def _activate(self) -> None:
        """Hold the lease, if there is to be one. Raises NotHereError."""
        if self._single is None or self.lease is not None:
            return
        async with self._turn:
            try:
                held = self.lease is not None or await self._acquire()
            except BlocktreeError as error:
                raise NotHereError(f"{self.path} cannot get its lease here: {error}") from error
            if not held:
                raise NotHereError(f"{self.path} is active in another runtime", hint="ask another provider")

    async def _acquire(self) -> bool:
        """Take or renew the lease, and see to it that it is renewed, or that its end ends the actor."""
        single, loop = self._single, self._runtime.loop
        assert single is not None
        asked = loop.now()
        lease = await single.leases.acquire(self._key, self._holder, single.seconds)
        left = 0.0 if lease is None else asked + lease.seconds - loop.now()
        if lease is None or left <= 0 or (self.lease is not None and lease.fence != self.lease.fence):
            self._lose()
            return False
        self.lease = lease
        self._cancel_timers()
        self._renewal = Timer(loop, left / 3, lambda: self._runtime.start_task(self._renew))
        self._expiry = Timer(loop, left, self._lose)
        return True

    async def _renew(self) -> None:
        async with self._turn:
            if self.lease is None:
                return
            try:
                await self._acquire()
            except BlocktreeError as error:
                log.warning("%s cannot renew its lease: %s", self.path, error)
                self._renewal = Timer(
                    self._runtime.loop, self.lease.seconds / 10, lambda: self._runtime.start_task(self._renew)
                )

    def _lose(self) -> None:
        """The lease is over: whoever holds it next must find nobody at work."""
        if self.lease is not None:
            log.warning("%s lost its lease (fence %d)", self.path, self.lease.fence)
        self.lease = None
        self._cancel_timers()
        self.kill()

    async def _release(self) -> None:
        if self._single is None:
            return
        async with self._turn:
            if self.lease is not None and not self._living():
                self.lease = None
                self._cancel_timers()
                try:
                    await self._single.leases.release(self._key, self._holder)
                except BlocktreeError as error:
                    log.warning("%s cannot give its lease back, which will run out: %s", self.path, error)

    def _cancel_timers(self) -> None:
        for timer in (self._renewal, self._expiry):
            if timer is not None:
                timer.cancel()

    async def _flush(self) -> None:
        while self._outbox:
            try:
                await self._activate()
                self._pick().send(self._outbox[0])
            except BlocktreeError as error:
                self._runtime.dead_letters.add(self.path, self._outbox[0], error.message)
            self._outbox.popleft()


def _load(cell: Cell) -> int:
    return len(cell.mailbox) + cell.scheduled
