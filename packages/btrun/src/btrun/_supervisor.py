"""Supervisors: they own children (actors and other supervisors), start them anew, and stop them in order.

What follows a failure is decided at once by `_supervision`; carrying it out (stopping others, pausing, starting) is a
task that lives only as long as that takes.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from btlib.errors import PathError
from btlib.paths import check_name

from ._cell import Cell
from ._supervision import Drop, GiveUp, Recover, Restart, Restarts, Supervision
from ._timers import Timer
from .actor import Actor
from .errors import DeclarationError, EscalationError, NameTakenError, UsageError
from .mailboxes import Mailbox
from .reasons import Crashed, Reason, is_failure

if TYPE_CHECKING:
    from ._life import Owner
    from ._runtime import Runtime
    from .refs import Ref

A = TypeVar("A", bound=Actor)

log = logging.getLogger("btrun")


class Supervisor:
    """A branch of the supervision tree."""

    #: how children are restarted unless `spawn` says otherwise
    default_restart = Restart.PERMANENT

    def __init__(self, runtime: Runtime, owner: Owner, name: str, supervision: Supervision, restart: Restart) -> None:
        self.runtime = runtime
        self.name = name  #: below the runtime; empty for the runtime's own
        self.restart = restart
        self.supervision = supervision
        self._owner = owner
        self._restarts = Restarts(supervision, runtime.random)
        self._children: dict[str, Cell | Supervisor] = {}  # in the order in which they were started
        self._numbers = itertools.count(1)
        self._pauses: dict[str, Timer] = {}
        self._state: bool | None = None  # None: at work; else stopped, and whether to be started again

    @property
    def path(self) -> str:
        return f"{self.runtime.prefix}/{self.name}".rstrip("/")

    @property
    def children(self) -> tuple[Cell | Supervisor, ...]:
        """In the order in which they were started."""
        return tuple(self._children.values())

    def spawn(
        self,
        actor_class: Callable[..., A],
        *arguments: object,
        name: str | None = None,
        restart: Restart | None = None,
        mailbox: Mailbox | None = None,
        **named: object,
    ) -> Ref:
        """Start an actor: `actor_class(*arguments, **named)`, now and after each failure. Never waits.

        `mailbox` replaces the class's. Raises NameTakenError, UsageError outside of the runtime's context, and what the
        constructor raises.
        """
        if not (isinstance(actor_class, type) and issubclass(actor_class, Actor)):
            raise DeclarationError(f"{actor_class!r} is no class of actors", hint="derive it from btrun.Actor")
        name = self._full_name(name, actor_class)
        restart = self.default_restart if restart is None else restart
        cell = Cell(self.runtime, self, name, actor_class, (arguments, named), restart, mailbox)
        self._children[name] = cell
        self.runtime.remember(cell)
        return cell.ref

    def supervisor(
        self,
        name: str,
        supervision: Supervision = Supervision(),  # noqa: B008 - a frozen value
        *,
        restart: Restart = Restart.PERMANENT,
    ) -> Supervisor:
        """Start a branch below this one. Raises NameTakenError, UsageError."""
        full = self._full_name(name, Supervisor)
        branch = self._children[full] = Supervisor(self.runtime, self, full, supervision, restart)
        return branch

    # --- what children tell

    def child_ended(self, child: Cell | Supervisor, reason: Reason) -> bool:
        """Whether it will be started again."""
        if self._state is not None:
            return self._state and child.restart is not Restart.TEMPORARY
        failed = is_failure(reason)
        verdict = self._restarts.ended(child.name, self._children, child.restart, failed, self.runtime.loop.now())
        match verdict:
            case Drop():
                self._children.pop(child.name, None)
                return False
            case Recover():
                self.runtime.start_task(self._recover, verdict)
                return True
            case GiveUp(failures):
                how = self.supervision
                text = (
                    f"the supervisor {self.path} gave up after {failures} failures of its children within "
                    f"{how.period:g} s (its intensity is {how.intensity}); the last: {child.path}, {reason}"
                )
                log.error("%s", text)
                self._state = True
                self.runtime.start_task(self._give_up, text)
                return True

    def forget(self, child: Cell | Supervisor) -> None:
        """It ended for good while it waited for its next life."""
        self._children.pop(child.name, None)
        self._restarts.forget(child.name)
        self._cancel_pause(child.name)

    # --- what it does

    async def _recover(self, verdict: Recover) -> None:
        failed = next(name for name in verdict.start if name not in verdict.stop)
        for name in verdict.stop:
            self._cancel_pause(name)
            await self._halt(name, restarting=True)
        if self._state is None:
            self._cancel_pause(failed)
            self._pauses[failed] = Timer(self.runtime.loop, verdict.pause, lambda: self._start(verdict.start))

    def _start(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._pauses.pop(name, None)
            if (child := self._children.get(name)) is not None:
                child.revive()

    async def _give_up(self, text: str) -> None:
        await self.halt_children(restarting=True)
        reason = Crashed(EscalationError.__name__, text)
        if not self._owner.child_ended(self, reason):
            self.finalize(reason)

    async def halt_children(self, restarting: bool) -> None:
        """Stop all, the youngest first, one after the other."""
        self._state = restarting
        for timer in self._pauses.values():
            timer.cancel()
        self._pauses.clear()
        for name in [*reversed(self._children)]:
            await self._halt(name, restarting)
        if not restarting:
            self._children.clear()

    async def _halt(self, name: str, restarting: bool) -> None:
        child = self._children.get(name)
        if child is None:
            return
        again = restarting and child.restart is not Restart.TEMPORARY
        child.halt(again)
        await child.wait_halted()
        if restarting and not again:
            self._children.pop(name, None)

    # --- what its own supervisor does

    def halt(self, restarting: bool) -> None:
        """End; `wait_halted` does it."""
        self._state = restarting

    async def wait_halted(self) -> None:
        assert self._state is not None
        await self.halt_children(self._state)

    def revive(self) -> None:
        """Start anew, all children in order."""
        self._state = None
        self._restarts.clear()
        for child in self.children:
            child.revive()

    def finalize(self, reason: Reason) -> None:
        """It does not come back."""
        self._state = False
        for child in self.children:
            child.finalize(reason)
        self._children.clear()

    def _cancel_pause(self, name: str) -> None:
        if (timer := self._pauses.pop(name, None)) is not None:
            timer.cancel()

    def _full_name(self, name: str | None, kind: type) -> str:
        self.runtime.check_open()
        if self._state is not None:
            raise UsageError(f"{self.path} does not run: it was stopped, or gave up")
        if name is None:
            name = f"{kind.__name__.lower()}-{next(self._numbers)}"
        try:
            check_name(name)
        except PathError as error:
            raise UsageError(f"no actor can have this name: {error.message}", hint=error.hint) from error
        full = f"{self.name}/{name}" if self.name else name
        if full in self._children:
            raise NameTakenError(
                f"{self.runtime.prefix}/{full} lives already", hint="choose another name, or stop it first"
            )
        return full
