"""A protocol as text for people: its states and messages, and its diagram (Mermaid), both made from the tables."""

from __future__ import annotations

from collections.abc import Iterator

from ._declaration import Protocol
from ._graph import END_NAME
from ._table import Row


def show(protocol: type[Protocol], role: str | None = None) -> str:
    """The whole protocol, or what one role sees of it. Raises KeyError when there is no such role."""
    lines = _whole(protocol) if role is None else _side(protocol, role)
    return "\n".join(lines) + "\n"


def _whole(protocol: type[Protocol]) -> Iterator[str]:
    graph = protocol.graph
    yield f"{graph.name} (version {protocol.fingerprint:016x})"
    yield from ([f"  {graph.meaning}"] if graph.meaning else [])
    yield ""
    yield "roles"
    width = max(map(len, graph.roles))
    yield from (f"  {party.name:{width}}  {party.meaning}" for party in graph.parties)
    for node in graph.nodes.values():
        yield ""
        yield f"{node.name}: {node.meaning}{_timeout(node.timeout)}"
        yield from _columns(
            [(f"{move.sender} → {move.receiver}", move.label, f"then {move.target}") for move in node.moves]
        )


def _side(protocol: type[Protocol], role: str) -> Iterator[str]:
    table = protocol.tables[role]
    yield f"{protocol.graph.name} as the {role} sees it (version {protocol.fingerprint:016x})"
    for row in table.rows:
        if not row.is_end:
            yield ""
            yield f"{row.name}: {row.meaning}{_timeout(row.timeout)}"
            yield from _columns(_steps(row))


def _steps(row: Row) -> list[tuple[str, str, str]]:
    verb = "send to" if row.sends else "receive from"
    return [(f"{verb} {step.peer}", step.label, f"then {step.then.name}") for step in row.steps]


def _columns(cells: list[tuple[str, str, str]]) -> Iterator[str]:
    first, second = (max(len(cell[column]) for cell in cells) for column in (0, 1))
    yield from (f"  {a:{first}}  {b:{second}}  {c}" for a, b, c in cells)


def _timeout(timeout: float | None) -> str:
    return "" if timeout is None else f" (within {timeout:g} s)"


def diagram(protocol: type[Protocol], role: str | None = None) -> str:
    """A Mermaid state diagram of the whole, or of one role. Raises KeyError when there is no such role."""
    edges = _global_edges(protocol) if role is None else _local_edges(protocol, role)
    return "\n".join(["stateDiagram-v2", *(f"    {edge}" for edge in edges)]) + "\n"


def _global_edges(protocol: type[Protocol]) -> Iterator[str]:
    graph = protocol.graph
    yield f"[*] --> {graph.start}"
    for node, move in graph.moves():
        yield f"{node.name} --> {_mermaid(move.target)}: {move.sender} → {move.receiver} {move.label}"


def _local_edges(protocol: type[Protocol], role: str) -> Iterator[str]:
    table = protocol.tables[role]
    yield f"[*] --> {table.start.name}"
    for row, step in table.steps():
        mark = "!" if row.sends else "?"
        yield f"{row.name} --> {_mermaid(step.then.name)}: {step.peer}{mark}{step.label}"


def _mermaid(name: str) -> str:
    return "[*]" if name == END_NAME else name
