"""The life of an actor: how it starts, stops, fails, and who is told.

    STARTING -> RUNNING -> STOPPING -> ENDED          from any state, at last
                               \\-> WAITING -> STARTING     its supervisor starts it anew, after a pause

While it is WAITING the mailbox collects; the actor's object is gone. `reference`, name, mailbox and monitors outlive
restarts; state does not. When ENDED, what waited has become dead letters and failed calls.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from ._calls import Call
from ._notices import ExitNotice, Interrupt, StopRequest
from ._states import State
from ._supervision import Restart
from ._timers import Owned, Timer
from ._watching import Watched
from .actor import Actor, LinkedExitError
from .mailboxes import Mailbox
from .reasons import Crashed, Down, Killed, LinkedExit, Reason, Stopped
from .refs import Ref, make_ref

if TYPE_CHECKING:
    from ._loops import Wait
    from ._pool import Worker
    from ._runtime import Runtime

log = logging.getLogger("btrun")

T = TypeVar("T", bound=Owned)


class Owner(Protocol):
    """Who decides what follows the end of a child: a supervisor."""

    def child_ended(self, child: Any, reason: Reason) -> bool:
        """Whether it will be started again."""
        ...

    def forget(self, child: Any) -> None:
        """It was ended for good while it waited for its next life."""
        ...


class Life(Watched):
    """An actor without its messages. See `_cell`."""

    __slots__ = (
        "__weakref__", "_ref", "actor", "actor_class", "arguments", "busy_since", "due", "ended", "halting", "handled",
        "incarnation", "last_failure", "limit", "mailbox", "name", "outgoing", "owner", "reentries", "restart",
        "restarts", "room", "routes", "runtime", "scheduled", "state", "system", "tasks", "timers", "waiters",
        "when_full", "worker",
    )  # fmt: skip

    def __init__(
        self,
        runtime: Runtime,
        owner: Owner,
        name: str,
        actor_class: type[Actor],
        arguments: tuple[tuple[object, ...], Mapping[str, object]],
        restart: Restart,
        mailbox: Mailbox | None,
    ) -> None:
        """Raises what the constructor of the actor raises."""
        mailbox = actor_class.mailbox if mailbox is None else mailbox
        self.runtime = runtime
        self.owner = owner
        self.name = name
        self.actor_class = actor_class
        self.arguments = arguments
        self.restart = restart
        self.routes = runtime.routes_of(actor_class)
        self.mailbox: deque[Any] = deque()
        self.limit = mailbox.limit
        self.when_full = mailbox.when_full
        self.incarnation = runtime.next_incarnation()
        self.scheduled = True
        self.busy_since = 0.0
        self.due = math.inf  # when it looks for calls whose time is over
        self.handled = 0
        self.restarts = 0
        self.worker: Worker | None = None
        self.halting: bool | None = None  # asked to end from outside; True: to be started again
        self.ended: Reason = Stopped()  # why it ended, once it has
        self.system: deque[StopRequest | ExitNotice | Down | Interrupt] | None = None
        self.outgoing: list[Call] | None = None
        self.reentries: list[Worker] | None = None
        self.timers: list[Owned] | None = None  # and what else ends with this life
        self.room: list[Wait] | None = None  # publishers that wait for room in the mailbox
        self.tasks: list[anyio.CancelScope] | None = None  # what watches other runtimes for it
        self.last_failure: Reason | None = None  # why its life before this one ended
        self.watchers = self.watching = None
        self.waiters: list[Wait] | None = None
        self._ref: Ref | None = None
        self.actor: Actor | None = None
        self._create()

    @property
    def path(self) -> str:
        """Where it is, as text."""
        return f"{self.runtime.prefix}/{self.name}"

    @property
    def ref(self) -> Ref:
        if self._ref is None:
            self._ref = make_ref(self.path, self.incarnation, self)  # type: ignore[arg-type]
        return self._ref

    def schedule(self) -> None:
        """Have a worker look at it, unless one does or must not."""
        if not self.scheduled:
            self.scheduled = True
            self.busy_since = self.runtime.loop.now()
            self.runtime.pool.add(self)  # type: ignore[arg-type]

    # --- starting

    def _create(self) -> None:
        cls = self.actor_class
        positional, named = self.arguments
        actor = self.actor = cls.__new__(cls)
        actor._cell = self  # type: ignore[assignment]
        self.state = State.RUNNING if cls.on_start is Actor.on_start else State.STARTING
        try:
            actor.__init__(*positional, **named)  # type: ignore[misc]
        except BaseException:
            self._drop_timers()
            self.state, self.actor = State.ENDED, None
            raise
        self.scheduled = False
        if self.state is State.STARTING or self.mailbox or self.system:
            self.schedule()

    async def begin(self) -> None:
        """Before the first message of a life."""
        assert self.actor is not None
        self.state = State.RUNNING  # from here on the end calls on_stop, for what on_start may have taken
        await self.actor.on_start()

    def revive(self) -> None:
        """Start anew, if it waits for that. A constructor that fails is a failure like others."""
        if self.state is not State.WAITING:
            return
        self.restarts += 1
        self.halting = None
        try:
            self._create()
        except Exception as error:  # the supervisor's business
            self._log_failure(error)
            self._gone(self.reason_of(error), error)

    # --- ending

    def request_stop(self, reason: Reason | None = None) -> None:
        """End after the message under way; by force when the grace is over."""
        if self.state is State.ENDED:
            return
        if self.state is State.WAITING:
            self.owner.forget(self)
            self.finalize(reason or Stopped())
            return
        if not self.scheduled and self.actor_class.on_stop is Actor.on_stop:
            self._gone(reason or Stopped(), None)  # it is idle, and has no last word
            return
        self._notice(StopRequest(reason or Stopped()))
        if self.worker is not None or self.state is State.STARTING:
            self.own(Timer(self.runtime.loop, self.actor_class.grace, self.kill_now))

    def kill_now(self) -> None:
        """End this life without waiting for what it does."""
        if self.state is State.WAITING:
            self.request_stop(Killed())
        elif self.state is not State.ENDED and self.state is not State.STOPPING:
            if self.system is None:
                self.system = deque()
            self.system.appendleft(StopRequest(Killed()))
            if self.worker is None:
                self.schedule()
            else:
                if self.worker.call is not None:
                    self.worker.call.died(Killed())
                self.worker.cancel()

    async def end(self, reason: Reason) -> None:
        """The last thing of a life."""
        await self._finish(reason)
        self._gone(reason, None)

    async def fail(self, error: Exception) -> None:
        """A handler or hook raised."""
        reason = self.reason_of(error)
        self._log_failure(error)
        await self._finish(reason)
        self._gone(reason, error)

    def fail_soon(self, error: Exception) -> None:
        """Something beside the ordinary flow raised: end what runs, with that reason."""
        self._log_failure(error)
        if self.state is State.RUNNING:
            self.kill_now()
            assert self.system is not None
            self.system[0] = StopRequest(self.reason_of(error))

    async def _finish(self, reason: Reason) -> None:
        cls, started = self.actor_class, self.state is State.RUNNING
        self.state = State.STOPPING
        if cls.on_stop is Actor.on_stop or self.actor is None or not started or self.runtime.abandoned:
            return
        with anyio.move_on_after(cls.grace, shield=True) as scope:
            try:
                await self.actor.on_stop(reason)
            except Exception:  # it ends anyhow; why it ends stays what it was
                log.exception("on_stop of %s failed", self.path)
        if scope.cancelled_caught:
            log.warning("on_stop of %s was cancelled after its grace of %g s", self.path, cls.grace)

    def _gone(self, reason: Reason, cause: BaseException | None) -> None:
        """This life is over."""
        self.scheduled = True
        self.state = State.STOPPING
        self.actor = None
        self._drop_timers()
        for worker in self.reentries or ():
            if worker.call is not None:
                worker.call.died(reason, cause)
            worker.cancel()
        restarting = self.owner.child_ended(self, reason) if self.halting is None else self.halting
        if restarting:
            self.state = State.WAITING
            self.last_failure = reason
            self.system = deque(item for item in self.system or () if isinstance(item, Down)) or None
            self._tell(Down(ref=self.ref, reason=reason, restarting=True))
        else:
            self.owner.forget(self)
            self.finalize(reason, cause)
        for wait in self.waiters or ():
            if not wait.done():
                wait.set_result(None)
        self.waiters = None

    def finalize(self, reason: Reason, cause: BaseException | None = None) -> None:
        """It does not come back."""
        self.state = State.ENDED
        self.ended = reason
        self.limit = 0
        self.due = math.inf
        self.actor = None
        runtime = self.runtime
        while self.mailbox:
            message = self.mailbox.popleft()
            if isinstance(message, Call):
                message.died(reason, cause)
            else:
                runtime.dead_letters.add(self.path, message, f"the actor ended: {reason}")
        self.system = None
        self.tell_room()
        runtime.forget_name(self)
        for scope in self.tasks or ():
            scope.cancel()
        self.tasks = None
        self.unwatch_all()
        self._tell(Down(ref=self.ref, reason=reason))
        self.watchers = None

    async def wait_halted(self) -> None:
        """Wait until this life is over."""
        if self.state in (State.ENDED, State.WAITING):
            return
        wait = self.runtime.loop.make_wait()
        self.waiters = [*(self.waiters or ()), wait]
        await wait

    def halt(self, restarting: bool) -> None:
        """Asked by the supervisor: end this life, without asking back."""
        if self.halting is None:
            self.halting = restarting
        if self.state is State.WAITING:
            if not restarting:
                self.finalize(Stopped())
        elif self.runtime.abandoned:
            self.kill_now()
        else:
            self.request_stop()

    # --- what ends with it

    def own(self, owned: T) -> T:
        """End it with this life."""
        self.timers = [*(kept for kept in self.timers or () if not kept.done), owned]
        return owned

    async def wait_room(self) -> None:
        """Wait until a good part of what is in the mailbox was handled, or the actor ended."""
        wait = self.runtime.loop.make_wait()
        self.room = [*(self.room or ()), wait]
        await wait

    def tell_room(self) -> None:
        """There is room."""
        waits, self.room = self.room, None
        for wait in waits or ():
            if not wait.done():
                wait.set_result(None)

    def own_task(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run something beside this actor; it ends with the actor (not with each life), at the latest."""
        scope = anyio.CancelScope(shield=True)

        async def run() -> None:
            with scope:
                await work()
            if self.tasks is not None and scope in self.tasks:
                self.tasks.remove(scope)

        self.tasks = [*(self.tasks or ()), scope]
        self.runtime.start_task(run)

    def reason_of(self, error: BaseException) -> Reason:
        if isinstance(error, LinkedExitError):
            return LinkedExit(error.down.ref.path)
        return Crashed(type(error).__name__, str(error))

    def _notice(self, notice: StopRequest | ExitNotice | Down) -> None:
        if self.state is State.ENDED:
            return
        if self.system is None:
            self.system = deque()
        self.system.append(notice)
        self.schedule()

    def _drop_timers(self) -> None:
        for timer in self.timers or ():
            timer.cancel()
        self.timers = None

    def _log_failure(self, error: Exception) -> None:
        log.error("%s (%s) failed", self.path, self.actor_class.__name__, exc_info=error)
