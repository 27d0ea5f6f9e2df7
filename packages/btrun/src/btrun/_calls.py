"""A call under way: its message, who waits for it, until when, and who would wait for whom.

    waiting in the mailbox -> handled by a worker -> done      (from anywhere, at any time: done by time-out or death)

A call is done once; what comes later (the answer of a handler that was too slow) is dropped.

Deadlines are looked for where calls are. An actor has one timer, for the earliest deadline that it was told of; when
that fires it looks through its calls, and sets the next one. So a call that is answered in time sets none, as long as
those before it have not run out either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
from btlib.errors import BlocktreeError

from ._loops import Wait
from .errors import CallCycleError, CallTimeoutError, DiedError, RunError

if TYPE_CHECKING:
    from ._cell import Cell
    from ._pool import Worker
    from .reasons import Reason


LOOK_SECONDS = 1e-6  #: for each message that waits: an actor looks for deadlines no more often, which costs a tenth


class Call(msgspec.Struct, eq=False):
    """One call of a local actor.

    A Struct, since one is made for every call and C fills it; but its fields are slow to set, so nothing in it changes
    while a call takes its ordinary way: whether it is done its `wait` says, and whether it is handled its worker.
    """

    message: object
    target: Cell
    wait: Wait
    began: float
    deadline: float  #: infinite without one
    shielded: bool
    caller: Cell | None = None
    parent: Call | None = None  #: the call that its caller handles
    origin: tuple[str, ...] = ()  #: actors of other runtimes that wait for it

    @property
    def done(self) -> bool:
        """Whether it is answered, or nobody waits for it any more."""
        return self.wait.done()

    @property
    def worker(self) -> Worker | None:
        """Whoever handles it now."""
        target = self.target
        if (worker := target.worker) is not None and worker.call is self:
            return worker
        return next((worker for worker in target.reentries or () if worker.call is self), None)

    def continue_from(self, parent: Call) -> None:
        """It is made while `parent` is handled: the deadline travels, and so does who waits elsewhere."""
        self.parent = parent
        self.origin = parent.origin
        self.deadline = min(self.deadline, parent.deadline)

    def answer(self, value: object) -> None:
        """Its handler returned."""
        if not self.done:
            self.wait.set_result(value)

    def raised(self, error: Exception) -> bool:
        """Its handler raised. Whether that is an answer; else it is the end of this life of the actor."""
        if isinstance(error, BlocktreeError):
            if isinstance(error, RunError):
                error.untouched = False  # it may be so of whom the handler called; this call has reached its actor
            self.fail(error)
        else:
            self.died(self.target.reason_of(error), error)
        if (worker := self.worker) is not None:
            worker.call = None
        return isinstance(error, BlocktreeError)

    def fail(self, error: BaseException) -> None:
        if not self.done:
            self.wait.set_exception(error)

    def died(self, reason: Reason, cause: BaseException | None = None) -> None:
        """The target ended first."""
        state = "while it handled" if self.worker is not None else "before it handled"
        error = DiedError(f"{self.target.path} ended {state} {type(self.message).__name__}: {reason}")
        error.__cause__ = cause
        self.fail(error)

    def expire(self) -> None:
        """Its time is over."""
        target, name = self.target, type(self.message).__name__
        waited = self.deadline - self.began
        if self.worker is None:
            what = f"{name} still waits behind {len(target.mailbox)} messages in the mailbox of {target.path}"
        else:
            what = f"{target.path} still handles {name}"
        hint = "raise the time-out, or look at what the actor waits for: runtime.inspect().blocked"
        self.fail(CallTimeoutError(f"no answer after {waited:g} s: {what}", hint=hint))
        self.abandon()

    def abandon(self) -> None:
        """Nobody waits for it any more: cancel its handler, if there is one. Never waits."""
        if (worker := self.worker) is None or self.shielded:
            return
        if not self.target.routes[self.message.__class__].shielded:
            worker.cancel()


class Look:
    """The timer of an actor with calls that have deadlines. One that another has replaced is done."""

    __slots__ = ("_cell", "_when")

    def __init__(self, cell: Cell, when: float) -> None:
        self._cell = cell
        self._when = when
        cell.due = when
        cell.runtime.loop.at(when, self)

    @property
    def done(self) -> bool:
        return self._cell.due != self._when

    def expire(self) -> None:
        cell, now = self._cell, max(self._when, self._cell.runtime.loop.now())  # timers may fire a little early
        cell.due = math.inf
        calls = list(calls_of(cell))
        for call in calls:
            if call.deadline <= now:
                call.expire()
        following = min((call.deadline for call in calls if call.deadline > now), default=math.inf)
        if following < cell.due:
            Look(cell, max(following, now + len(calls) * LOOK_SECONDS))


def calls_of(cell: Cell) -> Iterator[Call]:
    """The calls to an actor that are not done: those that it handles, then those that wait."""
    for worker in (cell.worker, *(cell.reentries or ())):
        if worker is not None and worker.call is not None and not worker.call.done:
            yield worker.call
    for item in cell.mailbox:
        if item.__class__ is Call and not item.done:
            yield item


def check_cycle(caller: Cell, target: Cell, message: object) -> None:
    """Raises CallCycleError if `target` waits, directly or through others, for an answer of `caller`."""
    waits_for: dict[Cell, Cell] = {}
    stack = [target]
    while stack:
        cell = stack.pop()
        if cell is caller:
            chain = [caller, *_way(waits_for, caller, target)]
            names = " → ".join(str(link.path) for link in reversed(chain))
            raise CallCycleError(
                f"{caller.path} calls {target.path} with {type(message).__name__}, which waits for it: {names}",
                hint="send instead of calling, or declare the actor that is called back as reentrant",
            )
        for call in cell.outgoing or ():
            if call.target not in waits_for and call.target is not target:
                waits_for[call.target] = cell
                stack.append(call.target)


def _way(waits_for: dict[Cell, Cell], last: Cell, first: Cell) -> list[Cell]:
    """From the last one back to the first."""
    way = []
    while last is not first:
        last = waits_for[last]
        way.append(last)
    return way


def chain_of(cell: Cell | None, call: Call | None) -> tuple[str, ...]:
    """The paths of all that wait for what this actor calls now, itself first."""
    paths = [] if cell is None else [cell.path]
    origin: tuple[str, ...] = ()
    while call is not None:
        origin = call.origin
        if call.caller is not None:
            paths.append(call.caller.path)
        call = call.parent
    return (*paths, *origin)


def check_chain(target: str, chain: tuple[str, ...], message: object) -> None:
    """Raises CallCycleError if an actor of this path waits already, here or in another runtime."""
    if target in chain:
        way = " → ".join((*reversed(chain[: chain.index(target) + 1]), target))
        raise CallCycleError(
            f"{type(message).__name__} to {target} would wait for itself: {way}", hint="send instead of calling"
        )
