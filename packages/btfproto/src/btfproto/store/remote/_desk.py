"""`LeaseDesk`: the leases that clients of a server hold, bound to who they are and to their links.

A client names itself as a lease holder by sixteen bytes of its choice. The desk binds them to the principals that it
proved, so no other principal can renew, release or use its lease. When a link has ended, the leases last
taken over it are released; a client that has come back over another link keeps them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import msgspec
from btlib.kinds import Kind
from btlib.labels import Label, tagged_hash
from btlib.principals import Principal

from btfproto.errors import StoreError
from btfproto.store import (
    Acquire,
    Fenced,
    LeaseAnswer,
    LeaseHeld,
    LeaseRequest,
    Release,
    Store,
)

log = logging.getLogger("btfproto.store")

HOLDER_SIZE = 16
MAX_LEASES = 256  #: leases of one link, far more than it has scopes open


class _Taken(msgspec.Struct, frozen=True):
    holder: bytes
    principals: tuple[Principal, ...]
    fence: int
    link: int


class LeaseDesk:
    """Thread-safe. The store beneath decides who gets a lease; the desk remembers who asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._taken: dict[bytes, _Taken] = {}

    def request(self, request: LeaseRequest, principals: Sequence[Principal], link: int) -> LeaseAnswer:
        """Pass a client's request on under its bound name."""
        holder = bound_holder(request.holder, principals)
        with self._lock:
            if isinstance(request, Acquire):
                self._check_count(request.key, link)
            answer = self._store.lease(msgspec.structs.replace(request, holder=holder))
            if isinstance(answer, LeaseHeld):
                self._taken[request.key] = _Taken(holder, tuple(principals), answer.fence, link)
            elif isinstance(request, Release) and self._holds(request.key, holder):
                del self._taken[request.key]
        return answer

    def foreign_fence(self, fences: Sequence[tuple[bytes, int]], principals: Sequence[Principal]) -> Fenced | None:
        """The first lease that a commit relies on although it is another principal's; None where there is none."""
        with self._lock:
            for key, fence in fences:
                taken = self._taken.get(key)
                if taken is not None and taken.fence == fence and not set(taken.principals) & set(principals):
                    return Fenced(key, taken.fence)
        return None

    def holder_of(self, fences: Sequence[tuple[bytes, int]]) -> bytes | None:
        """Who holds all these leases; None where they are nobody's, or not of one."""
        with self._lock:
            taken = [self._taken.get(key) for key, _ in fences]
        holders = {None if one is None else one.holder for one in taken}
        return holders.pop() if len(holders) == 1 else None

    def __len__(self) -> int:
        return len(self._taken)

    def link_closed(self, link: int) -> None:
        """Release what was taken over a link, unless it was taken again over another."""
        with self._lock:
            try:
                self._release([key for key, taken in self._taken.items() if taken.link == link])
            except StoreError as error:
                log.debug("leases run out by themselves: %s", error.message)  # the store was closed meanwhile

    def release_all(self) -> None:
        """Release everything."""
        with self._lock:
            self._release(list(self._taken))

    def _release(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            taken = self._taken.pop(key)
            self._store.lease(Release(key, taken.holder))

    def _check_count(self, key: bytes, link: int) -> None:
        if key not in self._taken and sum(taken.link == link for taken in self._taken.values()) >= MAX_LEASES:
            raise StoreError(Kind.LIMIT, f"a connection holds at most {MAX_LEASES} leases", "release some")

    def _holds(self, key: bytes, holder: bytes) -> bool:
        taken = self._taken.get(key)
        return taken is not None and taken.holder == holder


def bound_holder(holder: bytes, principals: Sequence[Principal]) -> bytes:
    """The name under which the store knows a client's holder."""
    digests = sorted(principal.digest for principal in principals)
    return tagged_hash(Label.LEASE_HOLDER, holder, *digests)[:HOLDER_SIZE]
