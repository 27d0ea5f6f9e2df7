"""The table of one role: state → {message: (direction, peer, next state)}, laid out for one dictionary hop a message.

A row is a state as its role sees it. A role either sends or receives in a row, so one of the row's two dictionaries is
empty, and a message in the wrong direction is found by the same look-up as a wrong message. The end is a row without
steps. Tables are made by the projection, and fixed from then on. A protocol has one for each role, to read; each side
has another, to which it adds its handles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from ._handles import Handle


class Step:
    """One message that a row allows."""

    __slots__ = ("case", "label", "message", "peer", "then")

    def __init__(self, *, message: type[Struct], peer: str, then: Row) -> None:
        self.label = message.__name__
        self.message = message
        self.peer = peer
        self.then = then
        self.case: type[tuple[Any, ...]]  #: what the message and the handle after it become; set by a side


class Row:
    """A state of one role."""

    __slots__ = ("accepts", "handle", "index", "meaning", "name", "receives", "sends", "source", "timeout")

    def __init__(self, *, name: str, meaning: str, index: int, timeout: float | None) -> None:
        self.name = name
        self.meaning = meaning
        self.index = index
        self.timeout = timeout
        self.sends: dict[type[Struct], Step] = {}
        self.receives: dict[type[Struct], Step] = {}
        self.accepts: dict[str, type[Struct]] = {}  #: label → class of what is received, for a decoder
        self.handle: type[Handle]  #: what a program holds in this state; set by a side
        self.source = ""  #: the role that is listened to; empty where nothing is received

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.sends.values(), *self.receives.values())

    @property
    def is_end(self) -> bool:
        return not self.sends and not self.receives


class Table:
    """All rows of a role; the first is where it starts."""

    __slots__ = ("peers", "protocol", "role", "rows")

    def __init__(self, *, protocol: str, role: str, rows: tuple[Row, ...]) -> None:
        self.protocol = protocol
        self.role = role
        self.rows = rows
        self.peers = tuple(dict.fromkeys(step.peer for row in rows for step in row.steps))

    @property
    def start(self) -> Row:
        return self.rows[0]

    def steps(self) -> Iterator[tuple[Row, Step]]:
        for row in self.rows:
            for step in row.steps:
                yield row, step
