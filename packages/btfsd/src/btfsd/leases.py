"""Leases for services of `btrun`, granted by a store: one actor in all runtimes, under a fence that the store enforces.

    store = store_at(endpoint, identity, server_path)          # or any other `Store`
    leases = StoreLeases(store, scope=app_path)
    rt.service("ledger", Ledger, leases, single=Single(leases))

Whoever acts for the service puts `leases.fence("ledger", fence)` into `Commit.fences`: once another holds the lease,
the store answers `Fenced` and changes nothing. That is the promise. Two holders may *believe* to be active for a
moment: one that was suspended, or whose link to the store broke (a server frees its leases then) and that has not tried
to renew since. What the older one does behind its fence is refused.

It sits here because btrun knows no store and btfproto no actors.
"""

from __future__ import annotations

import hashlib

import anyio.to_thread
from btfproto.store import Acquire, LeaseHeld, Release, Store
from btlib.paths import BlockPath
from btrun.leases import Lease, service_key

KEY_SIZE = 16


class StoreLeases:
    """See `btrun.leases.Leases`. Raises StoreError where the store does not answer.

    `scope` keeps the services of different programs in one store apart: runtimes that offer the same service have the
    same scope. The store is asked in a worker thread, for it may wait for a disk or a network; a caller that gives up
    leaves that thread behind, until the store's own patience ends it.
    """

    def __init__(self, store: Store, scope: BlockPath) -> None:
        self._store = store
        self._scope = str(scope).encode()

    async def acquire(self, key: bytes, holder: bytes, seconds: float) -> Lease | None:
        request = Acquire(self._key(key), holder, max(1, round(seconds * 1000)))
        answer = await anyio.to_thread.run_sync(self._store.lease, request, abandon_on_cancel=True)
        return Lease(answer.fence, answer.milliseconds / 1000) if isinstance(answer, LeaseHeld) else None

    async def release(self, key: bytes, holder: bytes) -> None:
        request = Release(self._key(key), holder)
        await anyio.to_thread.run_sync(self._store.lease, request, abandon_on_cancel=True)

    def fence(self, service: str, fence: int) -> tuple[bytes, int]:
        """What a commit on behalf of a service shows: an entry of `Commit.fences`."""
        return self._key(service_key(service)), fence

    def _key(self, key: bytes) -> bytes:
        """A key in the store: a hash, so that it is no block's id, and none of another scope."""
        return hashlib.sha256(b"btfsd service lease\0" + self._scope + b"\0" + key).digest()[:KEY_SIZE]
