"""The projection: what each role must know and do, so that all of them together carry out the global graph.

A role sees only its own messages. While others exchange theirs it does not know in which of several global states the
session is; its local state is the set of those in which it acts next (the subset construction of automata theory; Li,
Stutz, Wies, Zufferey: Complete Multiparty Session Type Projection with Automata, 2023). The projection exists when the
role needs to know no more than that:

- in all states of a set it sends, or in all it receives from one and the same role;
- where it sends, every state of the set allows the same messages;
- the session is not over in any state of the set. (So each of them comes to a point where the role acts, since by the
  lint the end can be reached from everywhere.)

Receiving from one role at a time is stricter than the theory needs. It keeps a receiver simple: it always knows from
whom the next message comes.
"""

from __future__ import annotations

from ._graph import END_NAME, Graph, Move, Node
from ._table import Row, Step, Table

Acting = tuple[str, ...]


class ProjectionError(Exception):
    """A role cannot do its part; the text says where and why. The declaration turns it into its own error."""


def project(graph: Graph, role: str) -> Table:
    """The table of a role. Raises ProjectionError; expects a graph without lint."""
    return _Projection(graph, role).table()


class _Projection:
    """One role's pass over the graph: sets of global states in which it acts → rows."""

    def __init__(self, graph: Graph, role: str) -> None:
        self._graph = graph
        self._role = role
        self._rows: dict[Acting, Row] = {}
        self._waiting: list[Acting] = []

    def table(self) -> Table:
        self._row(self._acting({self._graph.start}))
        for acting in self._waiting:  # grows while it is walked
            self._fill(acting)
        return Table(protocol=self._graph.name, role=self._role, rows=tuple(self._rows.values()))

    def _acts(self, node: Node) -> bool:
        return any(self._role in (move.sender, move.receiver) for move in node.moves)

    def _acting(self, states: set[str]) -> Acting:
        """The states in which the role acts next, when the session is in one of `states`; checks what it must know."""
        around = self._around(states)
        nodes = [node for name, node in self._graph.nodes.items() if name in around and self._acts(node)]
        if nodes:
            self._check(nodes, around)
        return tuple(node.name for node in nodes)

    def _around(self, states: set[str]) -> set[str]:
        """All states that the session can come to from these by messages that the role does not see."""
        found = set(states)
        queue = list(states - {END_NAME})
        for name in queue:
            for move in self._graph.nodes[name].moves:
                if self._role not in (move.sender, move.receiver) and move.target not in found:
                    found.add(move.target)
                    queue += [move.target] if move.target != END_NAME else []
        return found

    def _check(self, nodes: list[Node], around: set[str]) -> None:
        names = " or ".join(node.name for node in nodes)
        own = [move for node in nodes for move in self._own(node)]
        senders = sorted({move.sender for move in own})
        if len(senders) > 1:
            raise ProjectionError(
                f"the {self._role} cannot tell whether {' or '.join(senders)} sends next (it may be in {names})"
            )
        if END_NAME in around:
            raise ProjectionError(
                f"the {self._role} may be in {names} when the session is already over, and nobody tells it"
            )
        offers = {frozenset((move.label, move.receiver) for move in self._own(node)) for node in nodes}
        if senders == [self._role] and len(offers) > 1:
            raise ProjectionError(f"the {self._role} does not know what it may send: it may be in {names}")

    def _own(self, node: Node) -> list[Move]:
        return [move for move in node.moves if self._role in (move.sender, move.receiver)]

    def _row(self, acting: Acting) -> Row:
        """The row of a set of states, made empty when it is new."""
        if acting not in self._rows:
            nodes = [self._graph.nodes[name] for name in acting]
            timeouts = [node.timeout for node in nodes if node.timeout is not None]
            self._rows[acting] = Row(
                name="_or_".join(acting) or END_NAME,
                meaning="; or ".join(node.meaning for node in nodes) or "The session is over.",
                index=len(self._rows),
                timeout=max(timeouts) if nodes and len(timeouts) == len(nodes) else None,
            )
            self._waiting.append(acting)
        return self._rows[acting]

    def _fill(self, acting: Acting) -> None:
        row = self._rows[acting]
        own = [move for name in acting for move in self._own(self._graph.nodes[name])]
        targets: dict[str, set[str]] = {}
        for move in own:
            targets.setdefault(move.label, set()).add(move.target)
        for move in own:
            sends = move.sender == self._role
            steps, peer = (row.sends, move.receiver) if sends else (row.receives, move.sender)
            then = self._row(self._acting(targets[move.label]))
            steps[move.message] = Step(message=move.message, peer=peer, then=then)
            if not sends:
                row.source = peer
                row.accepts[move.label] = move.message
