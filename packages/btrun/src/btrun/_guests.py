"""A call from elsewhere that needs no worker: the task that the link has for it handles it itself.

That task waits for nothing but this answer, so to end it is to end the handler, and the other way round. Only an idle
actor takes a guest, so the order of messages holds; while the handler waits, the actor is busy like any other: what
comes queues, it can be stopped and killed, and inspection shows the call. Shielded handlers, which outlive their
callers, and traced ones go the ordinary way; so does everything on trio, whose tasks cannot be cancelled one by one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from btlib.errors import BlocktreeError

from ._calls import Call, check_chain
from ._cell import ENVELOPE
from ._pool import MAX_PARKED, Worker, current_worker
from .errors import DiedError, RunError

if TYPE_CHECKING:
    from ._cell import Cell
    from ._handlers import Route
    from ._loops import RunningTask


class Guest(Worker):
    """The task of a caller as the worker of its call, and what the call waits for: its own end."""

    __slots__ = ("_task", "error")

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell.runtime.pool)
        self._task: RunningTask
        self.error: BaseException | None = None  # with which the call ended before its handler

    def enter(self, cell: Cell, task: RunningTask) -> None:
        """Begin with a call; `call` follows."""
        self.cell, self._task, self.doomed, self.error = cell, task, False, None

    def cancel(self) -> None:
        """End the handler. Never waits."""
        if not self.doomed:
            self.doomed = True
            self._task.cancel()

    def forgive(self) -> None:
        """The task was not meant, only the handler in it."""
        if self.doomed:
            self._task.uncancel()

    def done(self) -> bool:
        return self.error is not None or self.call is None

    def set_result(self, result: object, /) -> None:
        raise AssertionError("a guest's handler returns to its own caller")

    def set_exception(self, error: BaseException, /) -> None:
        self.error = error

    def __await__(self) -> None:
        raise AssertionError("nobody waits for a guest")


def may_answer_now(cell: Cell, message: object) -> Route | None:
    """The route of a message whose handler cannot wait and may run now: say `cell.answer_now(…)`."""
    route = cell.routes.get(message.__class__)
    if route is None or route.is_async or cell.scheduled or cell.runtime.tracers.listener is not None:
        return None
    return route if cell.runtime.pool.may_answer_now() else None


async def call_from_afar(cell: Cell, message: object, deadline: float, origin: tuple[str, ...]) -> object:
    """See Cell.call; to be the last thing that its task does but send the answer. `deadline`: on the loop's clock."""
    runtime = cell.runtime
    route, loop = cell.routes.get(message.__class__), runtime.loop
    if (
        cell.scheduled
        or route is None
        or not route.is_async
        or route.shielded
        or route is ENVELOPE
        or runtime.tracers.listener is not None
        or (task := loop.running_task()) is None
    ):
        timeout = None if deadline == math.inf else max(0.0, deadline - loop.now())
        return await cell.call(message, timeout=timeout, origin=origin)
    if origin:
        check_chain(cell.path, origin, message)
    guests, now = runtime.pool.guests, loop.now()
    guest = guests.pop() if guests else Guest(cell)
    guest.enter(cell, task)
    # The link ends the task when its deadline has passed.
    guest.call = Call(message, cell, guest, now, deadline, False, None, None, origin)  # type: ignore[arg-type]
    cell.worker, cell.scheduled, cell.busy_since = guest, True, now
    current_worker.set(guest)
    failure: Exception | None = None
    try:
        answer = await route.function(cell.actor, message)
        if guest.error is not None:  # it was killed, and its handler took no notice
            raise guest.error
    except RunError as error:
        guest.forgive()
        error.untouched = False  # it may be so of whom the handler called; this call has reached its actor
        raise
    except BlocktreeError:
        guest.forgive()
        raise
    except Exception as error:
        guest.forgive()
        failure = error
        reason = cell.reason_of(error)
        raise DiedError(f"{cell.path} ended while it handled {type(message).__name__}: {reason}") from error
    except BaseException:
        if guest.error is None:
            raise
        guest.forgive()
        raise guest.error from None
    else:
        cell.handled += 1
        return answer
    finally:
        cell.worker = guest.call = guest.cell = None
        if len(guests) < MAX_PARKED:
            guests.append(guest)
        cell.scheduled = False
        if failure is not None:
            cell.fail_soon(failure)
        elif cell.mailbox or cell.system:
            cell.schedule()
