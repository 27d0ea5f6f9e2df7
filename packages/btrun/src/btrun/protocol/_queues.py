"""A second proof for protocols among many roles: walk all tables together, with a queue between each two roles.

The projection already promises that the roles cannot get stuck. This looks instead of reasoning: it walks what the
roles can do together (communicating automata), and names a deadlock, a message that comes where nobody expects it, one
that is never taken, or a state of a role that is never reached. Queues and the walk are bounded, so it finds nothing
that needs more; with the walk cut short it makes no claim about what is never reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ._table import Row, Table

#: A queue this long shows every order of two messages; sends beyond it wait, and are no deadlock.
MAX_QUEUE = 2
#: Configurations are walked when a class is made, so at import: some 100 ms at most.
MAX_CONFIGURATIONS = 10_000

Pair = tuple[str, str]
Queues = tuple[tuple[Pair, tuple[str, ...]], ...]
Configuration = tuple[tuple[int, ...], Queues]


def explore(tables: Mapping[str, Table]) -> Iterator[str]:
    """One sentence for each fault that the walk meets; ends at the first configuration with one."""
    walk = _Walk(tables)
    found: dict[Configuration, None] = {walk.start: None}
    for configuration in (queue := [walk.start]):
        if faults := tuple(walk.faults(configuration)):
            yield from faults
            return
        fresh = [following for following in walk.following(configuration) if following not in found]
        found |= dict.fromkeys(fresh)
        queue += fresh
        if len(found) > MAX_CONFIGURATIONS:
            return
    yield from walk.never_reached({configuration[0] for configuration in found})


class _Walk:
    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._roles = tuple(tables)
        self._tables = tuple(tables.values())
        self.start: Configuration = (tuple(0 for _ in tables), ())

    def _rows(self, configuration: Configuration) -> Iterator[tuple[int, str, Row]]:
        for number, (role, table, index) in enumerate(zip(self._roles, self._tables, configuration[0], strict=True)):
            yield number, role, table.rows[index]

    def following(self, configuration: Configuration) -> Iterator[Configuration]:
        """What one role sending or receiving one message makes of it."""
        indices, queues = configuration
        waiting = dict(queues)
        for number, role, row in self._rows(configuration):
            for step in row.sends.values():
                queue = waiting.get((role, step.peer), ())
                if len(queue) < MAX_QUEUE:
                    yield _moved(indices, number, step.then), _put(waiting, (role, step.peer), (*queue, step.label))
            queue = waiting.get((row.source, role), ())
            for step in row.receives.values():
                if queue and queue[0] == step.label:
                    yield _moved(indices, number, step.then), _put(waiting, (row.source, role), queue[1:])

    def faults(self, configuration: Configuration) -> Iterator[str]:
        waiting = dict(configuration[1])
        rows = list(self._rows(configuration))
        for _, role, row in rows:
            queue = waiting.get((row.source, role), ())
            if queue and queue[0] not in row.accepts:
                yield f"{queue[0]} from the {row.source} can come to the {role} in its state {row.name}, unexpected"
                return
        if all(row.is_end for _, _, row in rows):
            for (sender, receiver), queue in waiting.items():
                yield f"{queue[0]} from the {sender} to the {receiver} can be left over when the session is over"
        elif not any(True for _ in self.following(configuration)):
            where = ", ".join(f"the {role} in {row.name}" for _, role, row in rows if not row.is_end)
            yield f"a deadlock: all wait for each other ({where})"

    def never_reached(self, visited: set[tuple[int, ...]]) -> Iterator[str]:
        for number, (role, table) in enumerate(zip(self._roles, self._tables, strict=True)):
            seen = {indices[number] for indices in visited}
            yield from (f"the {role} never comes to {row.name}" for row in table.rows if row.index not in seen)


def _moved(indices: tuple[int, ...], number: int, then: Row) -> tuple[int, ...]:
    return (*indices[:number], then.index, *indices[number + 1 :])


def _put(waiting: Mapping[Pair, tuple[str, ...]], pair: Pair, queue: tuple[str, ...]) -> Queues:
    changed = {**waiting, pair: queue}
    return tuple(sorted((key, labels) for key, labels in changed.items() if labels))
