"""Leases: who may be active, for how long, under which fence. A small interface; `btfsd.leases` makes it of a store's.

A fence grows whenever a lease changes hands. Whoever writes on behalf of the holder shows it, and a place that has seen
a newer one refuses: so a holder that sleeps past its time can do no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

import msgspec


class Lease(msgspec.Struct, frozen=True):
    """Held until `seconds` after it was asked for."""

    fence: int
    seconds: float


class Leases(Protocol):
    """Grants leases. Every method may fail with a BlocktreeError when the granter cannot be reached."""

    async def acquire(self, key: bytes, holder: bytes, seconds: float) -> Lease | None:
        """Take the lease, or renew it (same holder; the fence stays). None: another holds it. Never waits for him."""
        ...

    async def release(self, key: bytes, holder: bytes) -> None:
        """Give it back before its time; nothing happens if this holder does not have it."""
        ...


def service_key(name: str) -> bytes:
    """The key of the lease of the service of this name: 16 bytes, the same in every runtime that offers it."""
    return hashlib.sha256(name.encode()).digest()[:16]


class MemoryLeases:
    """Leases of one process; for tests, and where one process is all there is."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[bytes, tuple[bytes, float]] = {}
        self._fences: dict[bytes, tuple[int, bytes]] = {}  # the newest fence, and to whom it was given

    async def acquire(self, key: bytes, holder: bytes, seconds: float) -> Lease | None:
        owner, until = self._held.get(key, (holder, 0.0))
        if owner != holder and until > self._now():
            return None
        fence, last = self._fences.get(key, (0, b""))
        if last != holder or until <= self._now():
            fence += 1
        self._fences[key] = fence, holder
        self._held[key] = holder, self._now() + seconds
        return Lease(fence, seconds)

    async def release(self, key: bytes, holder: bytes) -> None:
        if self._held.get(key, (b"", 0.0))[0] == holder:
            del self._held[key]
