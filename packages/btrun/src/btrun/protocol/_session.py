"""One end of a running session: the monitor, a channel to each other role, and a deadline where a state has one.

A session begins when its sides agree on version and number, and is over at its end, at a violation, a time-out, or when
either side leaves. Whoever is left gets a `SessionEndedError` at its next step. Steps of one session are taken by one
task at a time. Only states with a time-out touch the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
from btlib import Kind
from msgspec import Struct

from ._channel import Channel, UnexpectedMessageError
from ._monitor import Monitor
from ._table import Table
from ._violations import ViolationCounts
from .errors import LocalViolationError, StateTimeoutError, ViolationError

if TYPE_CHECKING:
    from ._handles import Handle


_new = object.__new__


class Session:
    """Internal to the handles; programs hold handles only."""

    __slots__ = ("_channels", "_counts", "_deadline", "monitor")

    def __init__(
        self,
        table: Table,
        channels: Mapping[str, Channel],
        counts: ViolationCounts,
        number: bytes = b"",
    ) -> None:
        """`number`: the same for all sides of a session among more than two; empty between two."""
        self.monitor = Monitor(table, {role: channel.peer for role, channel in channels.items()}, number)
        self._channels = channels
        self._counts = counts
        self._deadline = _deadline(table.start.timeout)

    def handle(self) -> Handle:
        """A fresh handle of the state that the session is in."""
        return self.monitor.row.handle(self)

    async def send(self, handle: Handle, message: Struct) -> Handle:
        """Let the monitor take the message, send it, and give the next handle; a refused one leaves all as it was."""
        if self._deadline is not None:
            self._check_time()
        try:
            step = self.monitor.sending(message)
        except LocalViolationError as error:
            handle.give_back(self)
            self._counts.record(error.violation)
            raise
        await self._channels[step.peer].send(message)
        then = step.then
        self._deadline = None if then.timeout is None else _deadline(then.timeout)
        handle = _new(then.handle)  # as `then.handle(self)`, without the call of a Python function
        handle._session = self
        return handle

    async def receive(self) -> tuple[Struct, Handle]:
        """The next message with the handle after it, as the case of its class."""
        row = self.monitor.row
        channel = self._channels[row.source]
        try:
            if self._deadline is None:
                message = await channel.receive(row.accepts)
            else:
                message = await self._receive_in_time(channel, self._deadline)
            step = self.monitor.received(message)
        except UnexpectedMessageError as error:
            raise self._violated(self.monitor.violated(error.label, error.detail)) from None
        except ViolationError as error:
            raise self._violated(error) from None
        then = step.then
        self._deadline = None if then.timeout is None else _deadline(then.timeout)
        handle = _new(then.handle)
        handle._session = self
        # A case is a named tuple; its own constructor is a Python function around this call.
        return tuple.__new__(step.case, (message, handle))

    def close(self, failed: bool) -> None:
        """Leave: silently at the end, else with a word to all others. Does nothing when the session is over already."""
        row = self.monitor.row
        if row.is_end:
            self._end(None, "")
        else:
            role = self.monitor.table.role
            word = f"the {role} {'failed' if failed else 'left'} in its state {row.name}"
            self._end(Kind.INTERNAL if failed else Kind.CANCELLED, word)

    def _check_time(self) -> None:
        if self._deadline is not None and anyio.current_time() > self._deadline:
            raise self._timed_out(self.monitor.table.role)

    async def _receive_in_time(self, channel: Channel, deadline: float) -> Struct:
        row = self.monitor.row
        with anyio.move_on_after(max(0.0, deadline - anyio.current_time())):
            return await channel.receive(row.accepts)
        raise self._timed_out(row.source)

    def _violated(self, error: ViolationError) -> ViolationError:
        self._counts.record(error.violation)
        self._end(Kind.PROTOCOL, error.message)
        return error

    def _timed_out(self, role: str) -> StateTimeoutError:
        row, table = self.monitor.row, self.monitor.table
        error = StateTimeoutError(
            f"the {role} of {table.protocol} sent nothing in the state {row.name} within {row.timeout:g} seconds"
        )
        self._end(Kind.DEADLINE, error.message)
        return error

    def _end(self, kind: Kind | None, reason: str) -> None:
        self.monitor.break_off(reason or "it has come to its end")
        for channel in self._channels.values():
            channel.close(kind, reason)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else anyio.current_time() + timeout
