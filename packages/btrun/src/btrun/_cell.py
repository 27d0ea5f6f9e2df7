"""The runtime's side of an actor: its mailbox, the messages' way to its handlers, and the calls to it.

Ordinary messages wait in `mailbox`, notices in `system`, which goes first. `scheduled` is true while the cell is queued
or run by a worker, and while it must not be run; whoever makes it false has found both empty. Its life (starting,
ending, being watched) is in `_life`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from btlib.errors import BlocktreeError

from ._calls import Call, Look, check_chain, check_cycle
from ._handlers import CALLED, Route, find_route
from ._life import Life
from ._loops import InvalidStateError
from ._notices import INTERRUPT, ExitNotice, StopRequest
from ._pool import TURN, Worker, current_worker
from ._states import State
from ._timers import Timer
from ._traces import TracedRoutes
from .errors import DiedError, MailboxFullError, RunError, UnhandledMessageError
from .mailboxes import WhenFull
from .messages import Envelope
from .reasons import Down
from .refs import UNSET, Unset

if TYPE_CHECKING:
    from .actor import Actor


class Cell(Life):
    """One actor. Everything is called in its loop's thread."""

    __slots__ = ()

    # --- what senders do

    def send(self, message: object) -> bool:
        """See Ref.send."""
        if message.__class__ not in self.routes:
            self._learn(message)
        mailbox = self.mailbox
        if len(mailbox) < self.limit:
            mailbox.append(message)
            if not self.scheduled:
                self.schedule()
            return True
        return self._no_room(message)

    async def call(
        self,
        message: object,
        *,
        timeout: float | Unset | None = UNSET,
        shielded: bool = False,
        origin: tuple[str, ...] = (),
    ) -> object:
        """See Ref.call. `origin`: the actors of other runtimes that wait for this."""
        cls = message.__class__
        if cls not in self.routes:
            self._learn(message)
        runtime = self.runtime
        if not self.scheduled:
            route = self.routes[cls]
            if not route.is_async and runtime.tracers.listener is None:
                if not runtime.pool.may_answer_now():
                    await runtime.loop.pause()
                if not self.scheduled:
                    return self.answer_now(route, message)
        loop = runtime.loop
        began = loop.now()
        if timeout is UNSET:
            timeout = runtime.call_timeout
        deadline = math.inf if timeout is None else began + timeout  # type: ignore[operator]
        call = Call(message, self, loop.make_wait(), began, deadline, shielded)
        caller, again = None, False
        worker = current_worker.get()
        if worker is not None:
            caller = worker.cell
            if worker.call is not None:
                call.continue_from(worker.call)
                if call.origin:
                    check_chain(self.path, call.origin, message)
            if caller is not None:
                call.caller = caller
                again = bool(self.outgoing or caller is self) and self._comes_back(caller, message)
                caller.outgoing = [*(caller.outgoing or ()), call]
        elif origin:
            call.origin = origin
            check_chain(self.path, origin, message)
        try:
            if again:
                loop.at(call.deadline, call)
                runtime.pool.add(Reentry(self, call))
            elif len(self.mailbox) < self.limit:
                self.mailbox.append(call)
                if call.deadline < self.due:
                    Look(self, call.deadline)
                if not self.scheduled:
                    self.scheduled = True
                    self.busy_since = began
                    runtime.pool.add(self)
            else:
                self._no_room_for_call(call)
            return await call.wait
        except BaseException:
            call.abandon()
            raise
        finally:
            if caller is not None and caller.outgoing is not None:
                caller.outgoing.remove(call)

    def answer_now(self, route: Route, message: object) -> object:
        """Run a handler that cannot wait in the caller's task: the actor is idle, so the order of messages holds."""
        worker = self.runtime.pool.now
        worker.cell = self
        before = current_worker.set(worker)
        self.scheduled = True
        failure: Exception | None = None
        try:
            answer = route.function(self.actor, message)
        except RunError as error:
            error.untouched = False  # it may be so of whom the handler called; this call has reached its actor
            raise
        except BlocktreeError:
            raise
        except Exception as error:
            failure = error
            reason = self.reason_of(error)
            raise DiedError(f"{self.path} ended while it handled {type(message).__name__}: {reason}") from error
        else:
            self.handled += 1
            return answer
        finally:
            current_worker.reset(before)
            self.scheduled = False
            if failure is not None:
                self.fail_soon(failure)
            elif self.mailbox or self.system:
                self.schedule()

    def _no_room_for_call(self, call: Call) -> None:
        if self.state is State.ENDED:
            self.runtime.dead_letters.add(self.path, call.message, f"the actor ended: {self.ended}")
            call.died(self.ended)
        else:
            call.fail(self._full())

    def _comes_back(self, caller: Cell, message: object) -> bool:
        """Whether this call belongs to one that waits already, and may be handled beside it. Raises CallCycleError."""
        if not self.actor_class.reentrant:
            check_cycle(caller, self, message)
            return False
        try:
            check_cycle(caller, self, message)
        except BlocktreeError:
            return True
        return False

    def _no_room(self, message: object) -> bool:
        dead_letters = self.runtime.dead_letters
        if self.state is State.ENDED:
            dead_letters.add(self.path, message, f"the actor ended: {self.ended}")
            return False
        policy = self.when_full
        if policy is WhenFull.RAISE:
            raise self._full()
        why = f"the mailbox was full ({self.limit})"
        if policy is WhenFull.DROP_OLD:
            oldest = next((item for item in self.mailbox if item.__class__ not in (Call, DrainRequest)), None)
            if oldest is not None:
                self.mailbox.remove(oldest)
                self.mailbox.append(message)
                dead_letters.add(self.path, oldest, why)
                return True
        dead_letters.add(self.path, message, why)
        return False

    def _full(self) -> MailboxFullError:
        return MailboxFullError(
            f"the mailbox of {self.path} is full: {self.limit} messages wait (its limit)",
            hint="send slower, call instead of sending, or raise Mailbox(limit=…) of the actor",
        )

    def _learn(self, message: object) -> None:
        """Find the route of a class of messages that was not met before. Raises UnhandledMessageError."""
        cls = type(message)
        route = find_route(self.actor_class._handlers, cls)
        if route is None and isinstance(message, Envelope):
            route = ENVELOPE
        if route is None:
            known = ", ".join(sorted(known.__name__ for known in self.actor_class._handlers))
            raise UnhandledMessageError(
                f"{self.path} ({self.actor_class.__name__}) has no handler for {cls.__name__}",
                hint=f"it takes {known or 'nothing'}",
            )
        self.routes[cls] = route

    def stop(self, *, drain: bool = False) -> None:
        """See Ref.stop. Whoever says so from outside means it: no supervisor starts it again."""
        self.halting = False
        if drain and self.state in (State.STARTING, State.RUNNING):
            self.mailbox.append(DrainRequest())
            self.schedule()
        else:
            self.request_stop()

    def kill(self) -> None:
        """See Ref.kill. Likewise."""
        self.halting = False
        self.kill_now()

    def send_later(self, delay: float, message: object, interval: float | None) -> Timer:
        """A timer that sends to this actor; it ends with this life."""

        def tick() -> None:
            try:
                self.send(message)
            except MailboxFullError as error:
                self.runtime.dead_letters.add(self.path, message, error.message)

        if message.__class__ not in self.routes:
            self._learn(message)
        return self.own(Timer(self.runtime.loop, delay, tick, interval))

    # --- what workers do

    async def work(self, worker: Worker) -> None:
        """Handle what waits. Leaves the cell idle, ended, or (if the worker is doomed) to be scheduled again."""
        worker.cell = self
        self.worker = worker
        done = 0
        try:
            if self.state is State.STARTING and not (self.system and isinstance(self.system[0], StopRequest)):
                await self.begin()
            mailbox, actor, runtime = self.mailbox, self.actor, self.runtime
            take = mailbox.popleft
            while True:
                tracer = runtime.tracers.listener
                routes = self.routes if tracer is None else TracedRoutes(self, tracer)
                for done in _TURN:  # noqa: B007 - told in the end
                    while self.system:
                        if worker.doomed or not await self._attend():
                            return
                    if not mailbox:
                        self.scheduled = False
                        return
                    message = take()
                    route = routes[message.__class__]
                    if route.is_async:
                        await route.function(actor, message)
                    elif route is not CALLED:
                        route.function(actor, message)
                    elif not message.wait.done():
                        worker.call = message
                        asked = message.message
                        route = routes[asked.__class__]
                        if route.is_async:
                            result = await route.function(actor, asked)
                        else:
                            result = route.function(actor, asked)
                        worker.call = None
                        try:  # noqa: SIM105 - as `answer` does; to enter a context costs more than all of this
                            message.wait.set_result(result)
                        except InvalidStateError:  # nobody waits for it any more
                            pass
                done = 0
                self.handled += TURN
                if self.room is not None:
                    self.tell_room()
                await runtime.loop.pause()
        except Exception as error:
            await self._raised(worker.call, error)
        finally:
            self.worker = worker.call = None
            self.handled += done
            worker.handled += done
            if self.room is not None:
                self.tell_room()

    async def _raised(self, call: Call | None, error: Exception) -> None:
        """A handler (of this call) or hook raised: an answer, a dead letter, or the supervisor's business."""
        if call is not None and call.raised(error.error if isinstance(error, Refused) else error):
            self.handled += 1
        elif isinstance(error, Refused):
            self.runtime.dead_letters.add(self.path, error.envelope, str(error.error))
        else:
            await self.fail(error)
            return
        self.runtime.pool.add(self)

    def interrupted(self) -> None:
        """What it did was cancelled. The next message, or its end, goes on in a new scope."""
        if self.state is not State.ENDED:
            self.runtime.pool.add(self)

    def interrupt(self) -> None:
        """The worker is to look up: its scope is cancelled."""
        if self.system is None:
            self.system = deque()
        self.system.append(INTERRUPT)

    async def _attend(self) -> bool:
        """Take one notice. False: it has ended."""
        assert self.system is not None
        assert self.actor is not None
        notice = self.system.popleft()
        if notice is INTERRUPT:
            return True
        if isinstance(notice, StopRequest):
            await self.end(notice.reason)
            return False
        if isinstance(notice, Down):
            route = find_route(self.actor_class._handlers, Down)
            if route is None:
                self.runtime.dead_letters.add(self.path, notice, "the actor has no handler for Down")
            elif route.is_async:
                await route.function(self.actor, notice)
            else:
                route.function(self.actor, notice)
        elif isinstance(notice, ExitNotice):
            await self.actor.on_exit(notice.down)
        return True


class Reentry:
    """A call that is handled beside the handler that waits for it."""

    def __init__(self, cell: Cell, call: Call) -> None:
        self._cell = cell
        self._call = call

    async def work(self, worker: Worker) -> None:
        cell, call = self._cell, self._call
        if call.done or cell.actor is None:
            call.died(cell.ended)
            return
        worker.cell = cell
        cell.reentries = [*(cell.reentries or ()), worker]
        route = cell.routes[call.message.__class__]
        worker.call = call
        try:
            result = route.function(cell.actor, call.message)
            call.answer(await result if route.is_async else result)
        except Exception as error:
            if not call.raised(error.error if isinstance(error, Refused) else error):
                cell.fail_soon(error)  # the supervisor's business
        finally:
            worker.call = None
            cell.handled += 1
            cell.reentries.remove(worker)

    def interrupted(self) -> None:
        """The call is done already."""


class DrainRequest:
    """In a mailbox: stop when this is reached."""

    __slots__ = ()


class Refused(Exception):
    """An envelope did not open."""

    def __init__(self, envelope: Envelope, error: BlocktreeError) -> None:
        super().__init__(str(error))
        self.envelope = envelope
        self.error = error


async def _open(actor: Actor, envelope: Envelope) -> object:
    try:
        message = envelope.open(actor)
        routes = actor._cell.routes
        if message.__class__ not in routes:
            actor._cell._learn(message)
    except BlocktreeError as error:
        raise Refused(envelope, error) from error
    route = routes[message.__class__]
    result = route.function(actor, message)
    return await result if route.is_async else result


def _stop(actor: Actor, request: DrainRequest) -> None:
    actor._cell.request_stop()


_TURN = range(TURN)  # each number: how many messages of the turn were handled before
ENVELOPE = Route(_open, shielded=False, answer=None)
#: Every actor takes these, beside its own messages.
INNER_ROUTES: dict[type, Route] = {
    Call: CALLED,
    DrainRequest: Route(_stop, shielded=False, answer=None),
}
