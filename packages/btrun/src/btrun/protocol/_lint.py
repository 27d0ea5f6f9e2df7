"""What a declaration must keep, checked when its class is made: one sentence for each fault.

- One chooser: in a state only one role may send, and to one role, so the two sides never speak at once.
- No dead and no unreachable state: each is reached from the first, and the end is reached from each.
- Bounded queues: in every cycle whoever gets a message from a role also (perhaps through others) sends to it, so that
  a fast sender cannot run ahead for ever. For two roles: each cycle has a message in each direction.
- Messages are frozen structs that btserde can encode, with one class for each label.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from btserde import SchemaError, schema_hash
from msgspec import Struct

from ._graph import END_NAME, Graph, Move

#: Cuts of the roles are tried one by one, 2**roles of them; a protocol among more roles is better several protocols.
MAX_ROLES = 8
#: More than anyone can read; a bound for the checks that grow with it.
MAX_STATES = 256
#: A handle has a class for each label that it may receive, beside these.
RESERVED_LABELS = {"give_back", "receive", "send", "state"}


def lint(graph: Graph) -> Iterator[str]:
    """All faults of the graph by itself; whether it can be carried out by its roles is for the projection."""
    yield from _sizes(graph)
    yield from _choices(graph)
    yield from _messages(graph)
    yield from _dead(graph)
    yield from _unbounded(graph)


def _sizes(graph: Graph) -> Iterator[str]:
    if not 2 <= len(graph.roles) <= MAX_ROLES:
        yield f"it has {len(graph.roles)} roles; a protocol has 2 to {MAX_ROLES}"
    if len(graph.nodes) > MAX_STATES:
        yield f"it has {len(graph.nodes)} states; the limit is {MAX_STATES}"
    used = {role for _, move in graph.moves() for role in (move.sender, move.receiver)}
    yield from (f"the role {role} neither sends nor receives" for role in graph.roles if role not in used)


def _choices(graph: Graph) -> Iterator[str]:
    for node in graph.nodes.values():
        senders = sorted({move.sender for move in node.moves})
        receivers = sorted({move.receiver for move in node.moves})
        labels = [move.label for move in node.moves]
        if not senders:
            yield f"nobody may send in the state {node.name}; name its messages, or use END in its place"
        if len(senders) > 1:
            yield f"{' and '.join(senders)} may both send in the state {node.name}; one role chooses in a state"
        if len(receivers) > 1:
            yield f"the state {node.name} has messages to {' and '.join(receivers)}; a choice is told to one role"
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            yield f"the state {node.name} has two messages with the label {' and '.join(twice)}"
        if node.timeout is not None and node.timeout <= 0:
            yield f"the time-out of the state {node.name} is {node.timeout:g} seconds; it must be above zero"
        yield from (
            f"the {move.sender} sends {move.label} to itself in the state {node.name}"
            for move in node.moves
            if move.sender == move.receiver
        )


def _messages(graph: Graph) -> Iterator[str]:
    classes: dict[str, type[Struct]] = {}
    for _, move in graph.moves():
        if classes.setdefault(move.label, move.message) is not move.message:
            yield f"two classes have the label {move.label}; rename one"
    for label, message in classes.items():
        yield from (f"the message {label} {fault}" for fault in _message_faults(message))


def _message_faults(message: object) -> Iterator[str]:
    if not (isinstance(message, type) and issubclass(message, Struct)):
        yield "is not a msgspec Struct"
        return
    if message.__name__ in RESERVED_LABELS:
        yield "has a name that its handles need; rename it"
    if not message.__struct_config__.frozen:
        yield "is not frozen; within a process the object itself is delivered, so nobody may change it"
    try:
        schema_hash(message)
    except SchemaError as error:
        yield f"cannot be encoded: {error}"


def _dead(graph: Graph) -> Iterator[str]:
    reached = graph.reachable()
    yield from (f"the state {name} is never reached" for name in graph.nodes if name not in reached)
    ending = {END_NAME}
    while more := {node.name for node, move in graph.moves() if move.target in ending} - ending:
        ending |= more
    yield from (f"no way leads from the state {name} to the end" for name in graph.nodes if name not in ending)


def _unbounded(graph: Graph) -> Iterator[str]:
    """For each set of roles: a cycle with a message into the set, and none out of it, fills a queue without end."""
    seen: set[str] = set()
    for size in range(1, len(graph.roles)):
        for receivers in map(set, combinations(graph.roles, size)):
            edges = [
                (node.name, move)
                for node, move in graph.moves()
                if not (move.sender in receivers and move.receiver not in receivers)
            ]
            for state, move in edges:
                into = move.sender not in receivers and move.receiver in receivers
                if into and state not in seen and state in _reached(edges, move.target):
                    seen.add(state)
                    yield (
                        f"the {move.sender} can send {move.label} in the state {state} again and again while nothing"
                        f" comes back from the {move.receiver}; let the {move.receiver} answer within the cycle"
                    )


def _reached(edges: list[tuple[str, Move]], start: str) -> set[str]:
    found = {start}
    while more := {move.target for state, move in edges if state in found} - found:
        found |= more
    return found
