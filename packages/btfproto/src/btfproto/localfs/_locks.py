"""`FileLocks`: the byte-range locks of one file. Pure.

As POSIX has them: an owner never conflicts with itself; a new lock replaces what the owner held in its range, which may
split older locks; read locks of different owners may overlap.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..provider import Lock, LockKind

TO_THE_END = 1 << 63


class _Held:
    __slots__ = ("end", "handle", "kind", "owner", "process", "start")

    def __init__(self, kind: LockKind, start: int, end: int, owner: int, process: int, handle: int) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.owner = owner
        self.process = process
        self.handle = handle


class FileLocks:
    """Held locks; none overlaps another of the same owner."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[_Held] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    def conflict(self, lock: Lock) -> Lock | None:
        """The first lock of another owner that forbids this one."""
        for held in self._held:
            overlaps = held.start < lock.end and lock.start < held.end
            exclusive = LockKind.WRITE in (held.kind, lock.kind)
            if overlaps and exclusive and held.owner != lock.owner and lock.kind is not LockKind.UNLOCK:
                return _shown(held)
        return None

    def set(self, lock: Lock, handle: int) -> Lock | None:
        """Take or release a range; the conflict, and no change, where another holds it."""
        conflict = self.conflict(lock)
        if conflict is not None or lock.start >= lock.end:
            return conflict
        kept: list[_Held] = []
        for held in self._held:
            kept += [held] if held.owner != lock.owner else _outside(held, lock.start, lock.end)
        if lock.kind is not LockKind.UNLOCK:
            kept.append(_Held(lock.kind, lock.start, lock.end, lock.owner, lock.process, handle))
        self._held = sorted(kept, key=lambda held: held.start)
        return None

    def count(self, handle: int) -> int:
        """How many ranges are held through a handle."""
        return sum(held.handle == handle for held in self._held)

    def owned(self, owner: int) -> bool:
        """Whether an owner holds anything."""
        return any(held.owner == owner for held in self._held)

    def all(self) -> list[Lock]:
        """Everything that is held."""
        return [_shown(held) for held in self._held]

    def of_handle(self, handle: int) -> list[Lock]:
        """What is held through a handle."""
        return [_shown(held) for held in self._held if held.handle == handle]

    def drop_handle(self, handle: int) -> None:
        """Release what was taken through a handle."""
        self._held = [held for held in self._held if held.handle != handle]


def beyond(locks: Iterable[Lock], held: Iterable[Lock]) -> list[Lock]:
    """The parts of some locks that their owners do not hold."""
    left = FileLocks()
    for lock in locks:
        left.set(msgspec.structs.replace(lock, kind=LockKind.READ), 0)  # owners may follow one another in a range
    for lock in held:
        left.set(msgspec.structs.replace(lock, kind=LockKind.UNLOCK), 0)
    return left.all()


def _shown(held: _Held) -> Lock:
    return Lock(kind=held.kind, start=held.start, end=held.end, owner=held.owner, process=held.process)


def _outside(held: _Held, start: int, end: int) -> list[_Held]:
    """What is left of a lock outside a range."""
    left = [] if held.start >= start else [(held.start, min(held.end, start))]
    right = [] if held.end <= end else [(max(held.start, end), held.end)]
    return [_Held(held.kind, a, b, held.owner, held.process, held.handle) for a, b in left + right]
