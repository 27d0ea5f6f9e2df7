"""The 64 bits by which two sides know that they mean the same protocol (docs/spec/protocol.md).

They enter: the protocol's name, its roles, and for each state who sends what to whom and what follows, with the schema
hash of each message. They do not enter: names and meanings of states, time-outs, the order of declaration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from btserde import schema_hash

from ._graph import END_NAME, Graph


def fingerprint(graph: Graph) -> int:
    """The first 8 bytes of SHA-256 over the description, as a big-endian integer."""
    return int.from_bytes(hashlib.sha256(description(graph).encode()).digest()[:8], "big")


def description(graph: Graph) -> str:
    """The canonical text of what matters on the wire; states are numbered breadth first, by label."""
    return "".join(f"{line}\n" for line in _lines(graph))


def _lines(graph: Graph) -> Iterator[str]:
    yield "btrun-protocol 1"
    yield f"protocol {graph.name}"
    yield f"roles {' '.join(sorted(graph.roles))}"
    names = [name for name in graph.reachable() if name != END_NAME]
    numbers = {END_NAME: END_NAME} | {name: str(number) for number, name in enumerate(names)}
    for name in names:
        yield f"state {numbers[name]}"
        for move in sorted(graph.nodes[name].moves, key=lambda move: move.label):
            schema = f"{schema_hash(move.message):016x}"
            yield f"{move.sender} {move.receiver} {move.label} {schema} {numbers[move.target]}"
