"""The table of one role: state → {message: (direction, peer, next state)}, laid out for one dictionary hop a message.

A row is a state as its role sees it. A role either sends or receives in a row, so one of the row's two dictionaries is
empty, and a message in the wrong direction is found by the same look-up as a wrong message. The end is a
row without steps. Tables are made by the projection, once a protocol, and never change afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct


class Step:
    """One message that a row allows."""

    __slots__ = ("label", "message", "peer", "then")

    def __init__(self, *, message: type[Struct], peer: str, then: Row) -> None:
        self.label = message.__name__
        self.message = message
        self.peer = peer
        self.then = then


class Row:
    """A state of one role."""

    __slots__ = ("accepts", "index", "meaning", "name", "receives", "sends", "source", "timeout")

    def __init__(self, *, name: str, meaning: str, index: int, timeout: float | None) -> None:
        self.name = name
        self.meaning = meaning
        self.index = index
        self.timeout = timeout
        self.sends: dict[type[Struct], Step] = {}
        self.receives: dict[type[Struct], Step] = {}
        self.accepts: dict[str, type[Struct]] = {}  #: label → class of what is received, for a decoder
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
