"""A protocol as plain values: the global graph that everything else is derived from.

A state has moves; a move says who sends which message to whom, and the state after it. The graph is made by the
declaration, judged by the lint, and projected to the table of each role. Nothing here knows sessions or channels.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

#: The name of the state in which a session is over. No declared state may have it.
END_NAME = "end"


class Party(Struct, frozen=True, kw_only=True):
    """A role of a protocol: its name and its meaning."""

    name: str
    meaning: str


class Move(Struct, frozen=True, kw_only=True):
    """One message that may be sent in a state. Its label is the name of the message's class."""

    sender: str
    receiver: str
    message: type[Struct]
    target: str

    @property
    def label(self) -> str:
        return self.message.__name__


class Node(Struct, frozen=True, kw_only=True):
    """A global state: its meaning, its moves, and how long (in seconds) the next message may take."""

    name: str
    meaning: str
    moves: tuple[Move, ...]
    timeout: float | None = None


class Graph(Struct, frozen=True, kw_only=True):
    """All states of a protocol by name. The end is not among them."""

    name: str
    meaning: str
    parties: tuple[Party, ...]
    nodes: dict[str, Node]
    start: str

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(party.name for party in self.parties)

    @property
    def first_role(self) -> str:
        """Who speaks first; a graph without lint has one."""
        return self.nodes[self.start].moves[0].sender

    def moves(self) -> Iterator[tuple[Node, Move]]:
        for node in self.nodes.values():
            for move in node.moves:
                yield node, move

    def reachable(self) -> dict[str, None]:
        """Names of the states that a session can come to, breadth first by label; the end may be among them."""
        found = {self.start: None}
        for name in (queue := [self.start]):
            node = self.nodes.get(name)
            for move in sorted(node.moves if node else (), key=lambda move: move.label):
                if move.target not in found:
                    found[move.target] = None
                    queue.append(move.target)
        return found
