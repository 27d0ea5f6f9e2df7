"""Exclusive leases: who may change what, until when, and under which fence.

    acquire by the holder            → held, same fence, longer
    acquire, free or expired         → held, fence + 1, unless the same holder had it last
    acquire, held by another         → busy, and the holder is told that somebody waits
    release by the holder            → free at once; the fence stays

Pure: time is an argument. Leases live in memory; `last` (holder and fence of every key) is what a store keeps durably,
through `assign`, before it hands a new fence out. So after a restart anyone may acquire, but an old fence stays old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ._interface import Acquire, LeaseAnswer, LeaseBusy, LeaseFree, LeaseHeld, LeaseRequest, Release

MAX_LEASE_MILLISECONDS = 60_000  #: a dead client may hold others up for a minute, whatever it asked for


class _Lease(msgspec.Struct):
    holder: bytes
    expires: float
    wanted: bool = False  # somebody waits, and the holder was not told since


class Leases:
    """The lease table of one store. Not thread-safe."""

    def __init__(self, last: Mapping[bytes, tuple[bytes, int]], assign: Callable[[bytes, bytes, int], None]) -> None:
        """`assign(key, holder, fence)` makes a new fence durable, or raises."""
        self._last = dict(last)
        self._assign = assign
        self._held: dict[bytes, _Lease] = {}

    def request(self, request: LeaseRequest, now: float) -> LeaseAnswer:
        if isinstance(request, Release):
            return self._release(request, now)
        return self._acquire(request, now)

    def needs_fence(self, request: LeaseRequest, now: float) -> bool:
        """Whether the answer to this request is a new fence, which `assign` must make durable first."""
        if isinstance(request, Release) or self._last.get(request.key, (b"", 0))[0] == request.holder:
            return False
        held = self._held.get(request.key)
        return held is None or held.expires <= now

    def fence(self, key: bytes) -> int:
        """The newest fence of a key; 0 if it was never held."""
        return self._last.get(key, (b"", 0))[1]

    def take_wanted(self, holder: bytes, now: float) -> list[bytes]:
        """The keys this holder holds and others asked for since it was last told."""
        wanted = [
            k for k, lease in self._held.items() if lease.wanted and lease.holder == holder and lease.expires > now
        ]
        for key in wanted:
            self._held[key].wanted = False
        return wanted

    def _acquire(self, request: Acquire, now: float) -> LeaseAnswer:
        held = self._held.get(request.key)
        if held is not None and held.holder != request.holder and held.expires > now:
            held.wanted = True
            return LeaseBusy(_milliseconds(held.expires - now))
        holder, fence = self._last.get(request.key, (b"", 0))
        if holder != request.holder:
            fence += 1
            self._assign(request.key, request.holder, fence)
            self._last[request.key] = request.holder, fence
        granted = min(request.milliseconds, MAX_LEASE_MILLISECONDS)
        wanted = held is not None and held.holder == request.holder and held.wanted
        self._held[request.key] = _Lease(request.holder, now + granted / 1000, wanted)
        return LeaseHeld(fence, granted)

    def _release(self, request: Release, now: float) -> LeaseAnswer:
        held = self._held.get(request.key)
        if held is not None and (held.holder == request.holder or held.expires <= now):
            del self._held[request.key]
        return LeaseFree()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
