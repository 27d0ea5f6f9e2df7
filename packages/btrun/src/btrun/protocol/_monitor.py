"""The monitor of one end of a session: where the session is, and what may come next.

Pure, and one dictionary hop a message. The sender's monitor refuses before anything leaves; the receiver's says what
was wrong, and is broken from then on. It knows messages, not channels; who is behind a role is told to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from btlib import Principal
from msgspec import Struct

from ._table import Row, Step, Table
from .errors import LocalViolationError, SessionEndedError, Violation, ViolationError


class Monitor:
    """Follows one role through its table. `number` counts the messages so far, in both directions."""

    __slots__ = ("_ended", "number", "peers", "row", "session", "table")

    def __init__(self, table: Table, peers: Mapping[str, Principal], session: bytes = b"") -> None:
        """`session`: its number, for errors; empty between two."""
        self.session = session
        self.table = table
        self.peers = peers
        self.row: Row = table.start
        self.number = 0
        self._ended: str | None = None

    def sending(self, message: Struct) -> Step:
        """The step that this message is. Raises LocalViolationError, and stays where it was."""
        step = self.row.sends.get(message.__class__)
        if step is None:
            raise self._local_error(message)
        self.row = step.then
        self.number += 1
        return step

    def received(self, message: Struct) -> Step:
        """The step that this message is. Raises ViolationError, and is broken from then on."""
        step = self.row.receives.get(message.__class__)
        if step is None:
            raise self.violated(message.__class__.__name__)
        self.row = step.then
        self.number += 1
        return step

    def violated(self, label: str, detail: str = "") -> ViolationError:
        """The error for a message that cannot be a step: of no class that we know, or that does not decode."""
        row = self.row
        if not detail and label in row.accepts:
            detail = "a message of another class with the same name"
        violation = self._violation(row.source or self.table.peers[0], row.accepts, label, detail)
        self.break_off(violation.sentence())
        return ViolationError(violation)

    def break_off(self, reason: str) -> None:
        """Nothing is allowed from now on. The first reason stands."""
        self._ended = self._ended or reason
        self.row = Row(name=self.row.name, meaning=self.row.meaning, index=self.row.index, timeout=None)

    def _local_error(self, message: Struct) -> LocalViolationError | SessionEndedError:
        if self._ended is not None:
            return SessionEndedError(f"the session of {self.table.protocol} is over: {self._ended}")
        allowed = (step.label for step in self.row.sends.values())
        return LocalViolationError(self._violation(self.table.role, allowed, message.__class__.__name__, ""))

    def _violation(self, role: str, expected: Iterable[str], got: str, detail: str) -> Violation:
        return Violation(
            protocol=self.table.protocol,
            role=role,
            state=self.row.name,
            expected=tuple(expected),
            got=got,
            number=self.number + 1,
            principal=self.peers.get(role),
            detail=detail,
            session=self.session.hex(),
        )
