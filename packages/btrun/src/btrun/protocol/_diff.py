"""What a change of a protocol breaks, and for whom.

Two versions have two fingerprints, so their sides never meet unless a side speaks both. The question that `diff`
answers is what would happen if they did: for each role, one that is still old among others that are new. From it
follows who has to be changed first. The walk pairs the old and the new states of a role that the same messages lead to.
"""

from __future__ import annotations

from collections.abc import Iterator

from btserde import schema_hash
from msgspec import Struct

from ._declaration import Protocol
from ._table import Row, Step, Table


class Change(Struct, frozen=True, kw_only=True):
    """One consequence for one role; `safe` where an old one goes on working among new others."""

    role: str
    safe: bool
    text: str

    def __str__(self) -> str:
        return f"{'safe' if self.safe else 'breaks'}: {self.text}"


def changes(old: type[Protocol], new: type[Protocol]) -> tuple[Change, ...]:
    """All consequences, role by role; empty where nothing on the wire differs and no time-out does."""
    return tuple(change for role in old.graph.roles for change in _role(old, new, role))


def diff(old: type[Protocol], new: type[Protocol]) -> str:
    """The consequences as text, with a last line that says in which order to change the roles."""
    found = changes(old, new)
    lines = [f"{old.graph.name} {old.fingerprint:016x} → {new.graph.name} {new.fingerprint:016x}"]
    for role in old.graph.roles:
        own = [f"  {change}" for change in found if change.role == role]
        lines += [f"an old {role} among new others", *(own or ["  safe: nothing changes"])]
    lines += [f"a new role, {role}: everyone must change at once" for role in _added_roles(old, new)]
    return "\n".join([*lines, _conclusion(old, new, found)]) + "\n"


def _added_roles(old: type[Protocol], new: type[Protocol]) -> list[str]:
    return [role for role in new.graph.roles if role not in old.graph.roles]


def _conclusion(old: type[Protocol], new: type[Protocol], found: tuple[Change, ...]) -> str:
    broken = list(dict.fromkeys(change.role for change in found if not change.safe))
    if _added_roles(old, new) or (len(broken) > 1 and len(broken) == len(old.graph.roles)):
        return "speak both versions for a while: no order of changing the roles works"
    if broken:
        return f"change {' and '.join(broken)} first; the others may stay old until later"
    if old.fingerprint == new.fingerprint:
        return "the versions are the same on the wire"
    return "any role may stay old"


def _role(old: type[Protocol], new: type[Protocol], role: str) -> Iterator[Change]:
    if role not in new.tables:
        yield Change(role=role, safe=False, text="the role is gone")
        return
    comparison = _Comparison(role)
    yield from comparison.walk(old.tables[role], new.tables[role])


class _Comparison:
    """The walk over pairs of one role's states."""

    def __init__(self, role: str) -> None:
        self._role = role

    def walk(self, old: Table, new: Table) -> Iterator[Change]:
        pairs = {(0, 0): None}
        for before, after in (queue := [(old.start, new.start)]):
            yield from self._rows(before, after)
            for first, second in _common(before, after):
                key = (first.then.index, second.then.index)
                if key not in pairs:
                    pairs[key] = None
                    queue.append((first.then, second.then))

    def _breaks(self, text: str) -> Change:
        return Change(role=self._role, safe=False, text=text)

    def _safe(self, text: str) -> Change:
        return Change(role=self._role, safe=True, text=text)

    def _rows(self, old: Row, new: Row) -> Iterator[Change]:
        if _direction(old) != _direction(new):
            yield self._breaks(f"in {old.name} it {_direction(old)}, but now it {_direction(new)}")
            return
        before, after = _labels(old), _labels(new)
        for label in sorted(after.keys() - before.keys()):
            yield self._added(old, label)
        for label in sorted(before.keys() - after.keys()):
            yield self._removed(old, label)
        for label in sorted(before.keys() & after.keys()):
            yield from self._changed(old, before[label], after[label])
        yield from self._timeouts(old, new)

    def _added(self, row: Row, label: str) -> Change:
        if row.sends:
            return self._safe(f"in {row.name} it may now also send {label}; an old one never does")
        return self._breaks(f"in {row.name} it may now get {label}, which an old one does not know")

    def _removed(self, row: Row, label: str) -> Change:
        if row.sends:
            return self._breaks(f"in {row.name} it may no more send {label}, as an old one may")
        return self._safe(f"in {row.name} it gets no {label} any more")

    def _changed(self, row: Row, old: Step, new: Step) -> Iterator[Change]:
        if old.peer != new.peer:
            way = "to" if row.sends else "from"
            yield self._breaks(f"in {row.name} {old.label} goes {way} the {new.peer} and no more {way} the {old.peer}")
        if schema_hash(old.message) != schema_hash(new.message):
            yield self._breaks(f"in {row.name} the message {old.label} has other fields")

    def _timeouts(self, old: Row, new: Row) -> Iterator[Change]:
        if new.timeout == old.timeout or not old.sends:
            return
        if new.timeout is not None and (old.timeout is None or new.timeout < old.timeout):
            yield self._breaks(f"in {old.name} it must send within {new.timeout:g} s, sooner than an old one knows")
        else:
            yield self._safe(f"in {old.name} it may now take longer to send")


def _direction(row: Row) -> str:
    return "is at the end" if row.is_end else "sends" if row.sends else "receives"


def _labels(row: Row) -> dict[str, Step]:
    return {step.label: step for step in row.steps}


def _common(old: Row, new: Row) -> Iterator[tuple[Step, Step]]:
    """The steps that both rows know, when they look the same way; a message with other fields leads nowhere."""
    if _direction(old) == _direction(new):
        after = _labels(new)
        for label, step in _labels(old).items():
            if label in after and schema_hash(step.message) == schema_hash(after[label].message):
                yield step, after[label]
