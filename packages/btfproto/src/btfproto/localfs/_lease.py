"""`Lease`: where several clients write, one at a time does. The exclusive lease of each write scope.

    not held   what is read is asked after at every open; the first change acquires the lease
    held       nobody else can commit in the scope: nothing need be asked. Others who want it are heard of in the
               watcher's events; then everything is committed and the lease given back
    idle       given back by itself after `IDLE_SECONDS` without changes

A commit names the fences of its scopes. A client that was away for longer than its lease is refused (`Fenced`), even if
it does not know yet. A lease counts only on the link over which it was got: after that the server may give it away.
One background thread watches and renews; it starts with the first use of a shared tree.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol, runtime_checkable

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..store import LEASE_SECONDS, Acquire, LeaseBusy, LeaseHeld, LeaseRequest, Release
from ._changing import LeaseNeededError
from ._coherence import HOLDER_SIZE, Coherence
from ._group import Group

MARGIN = 2.0  #: seconds before its end when a lease counts as not held, so that a commit still gets through
RENEW_SECONDS = 3.0
IDLE_SECONDS = 5.0
WATCH_SECONDS = 1.0  #: one long poll; also how long a shutdown may have to wait for the thread
PATIENCE = 30.0  #: seconds to wait for a lease that another client holds
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05
WAKE_KEY = bytes(16)  #: no scope: a lease that is only there to be asked for
COURTESY = 0.02  #: seconds to stand back after giving a lease to somebody who waits


@runtime_checkable
class Connected(Protocol):
    """A store behind a link."""

    @property
    def connection(self) -> object | None: ...


class Held:
    """A lease of ours. `held` turns false when it is given back; the fence is remembered.

    `connection`: over which it was got. A server gives the leases of a link that ended to others.
    """

    __slots__ = ("connection", "expires", "fence", "held", "used")

    def __init__(self, fence: int, expires: float, connection: object) -> None:
        self.fence = fence
        self.expires = expires
        self.connection = connection
        self.held = True
        self.used = expires


class Lease(Coherence):
    """Adds leases to the shared state."""

    def start_leases(self) -> None:
        self._leases: dict[bytes, Held] = {}
        self._leasing = threading.Lock()  # taken before the core's lock, never after
        self._stand_back = 0.0
        self._connected: Connected | None = self.store if isinstance(self.store, Connected) else None
        self._watcher: threading.Thread | None = None
        if self.options.shared:
            self._watcher = threading.Thread(target=self._watch, name="localfs-watch", daemon=True)
            self._watcher.start()

    def stop_leases(self) -> None:
        """Give everything back and end the thread. Never with the lock held; `closed` is set."""
        watcher = self._watcher
        if watcher is not None and watcher.is_alive():
            self._wake_watcher()
            watcher.join()
            self._try_release(WAKE_KEY)
        for scope, lease in self._leases.items():
            if lease.held:
                lease.held = False
                self._try_release(scope)

    def _wake_watcher(self) -> None:
        """End its long poll: a stranger asks for a lease of ours. Failing that, it ends by itself soon."""
        try:
            self._request(Acquire(WAKE_KEY, self.holder, 2 * int(WATCH_SECONDS * 1000)))
            self._request(Acquire(WAKE_KEY, self.random(HOLDER_SIZE), 1))
        except FsError:  # unreachable: then the poll has ended too
            return

    def holds(self, scope: bytes) -> bool:
        lease = self._leases.get(scope)
        return lease is not None and self._counts(lease, time.monotonic())

    def check_lease(self, scope: bytes) -> None:
        lease = self._leases.get(scope)
        now = time.monotonic()
        if lease is None or not self._counts(lease, now):
            raise LeaseNeededError(scope)
        lease.used = now

    def _counts(self, lease: Held, now: float) -> bool:
        return lease.held and lease.expires - MARGIN > now and lease.connection is self._connection()

    def _connection(self) -> object:
        """What leases end with. Never the same as before after it ended."""
        if self._connected is None:
            return self
        connection = self._connected.connection
        return object() if connection is None else connection

    def fences(self, group: Group) -> list[tuple[bytes, int]]:
        scopes = {member.inode.store.scope for member in group.members}
        return [(scope, self._leases[scope].fence) for scope in sorted(scopes) if scope in self._leases]

    def lease_lost(self, scope: bytes) -> None:
        lease = self._leases.get(scope)
        if lease is not None:
            lease.held = False

    def acquire(self, scope: bytes) -> None:
        """Get the lease of a scope, and everything that others did before. Never with the lock held.

        Raises FsError: BUSY after `PATIENCE`, UNREACHABLE.
        """
        end = time.monotonic() + PATIENCE
        pause = FIRST_PAUSE
        time.sleep(max(self._stand_back - time.monotonic(), 0.0))
        while not self._try_acquire(scope):
            if time.monotonic() > end:
                raise FsError(
                    Kind.BUSY,
                    f"another client has been writing in {self.volume.attach_path} for {PATIENCE:.0f} seconds",
                    "try again, or end the program that writes there",
                )
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _try_acquire(self, scope: bytes) -> bool:
        with self._leasing:
            if self.holds(scope):
                return True
            if self.closed:
                raise FsError(Kind.STALE, "the file system was shut down")
            asked, connection = time.monotonic(), self._connection()
            answer = self._request(Acquire(scope, self.holder, int(LEASE_SECONDS * 1000)))
            if not isinstance(answer, LeaseHeld):
                return False
            with self._hearing:
                self.hear(0.0)
            self._leases[scope] = Held(answer.fence, asked + answer.milliseconds / 1000, connection)
            return True

    def _request(self, request: LeaseRequest) -> object:
        try:
            return self.store.lease(request)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error

    def _try_release(self, scope: bytes) -> None:
        """The store lets a lease run out by itself where it cannot be told."""
        try:
            self._request(Release(scope, self.holder))
        except FsError:  # unreachable: the lease ends in seconds
            return

    def _watch(self) -> None:
        """The background thread."""
        pause = FIRST_PAUSE
        while not self.closed:
            try:
                events = self.events(self._cursor, WATCH_SECONDS)
                with self._hearing:
                    self.take_in(events)
                self._serve(self.wanted)
                self._tend()
                pause = FIRST_PAUSE
            except FsError:  # unreachable: whoever calls is told; what is held runs out
                time.sleep(pause)
                pause = min(pause * 2, WATCH_SECONDS)

    def _serve(self, wanted: set[bytes]) -> None:
        while wanted:
            self._give_back(wanted.pop())
            self._stand_back = time.monotonic() + COURTESY

    def _tend(self) -> None:
        """Renew what is in use, give back what is not."""
        now = time.monotonic()
        self.keep_locks(now)
        for scope, lease in list(self._leases.items()):
            if not lease.held:
                continue
            if now - lease.used > IDLE_SECONDS and not self.dirty and self.pending is None:
                self._give_back(scope)
            elif lease.expires - now < LEASE_SECONDS - RENEW_SECONDS:
                self._renew(scope, lease)

    def _renew(self, scope: bytes, lease: Held) -> None:
        with self._leasing:
            asked, connection = time.monotonic(), self._connection()
            answer = self._request(Acquire(scope, self.holder, int(LEASE_SECONDS * 1000)))
            if isinstance(answer, LeaseHeld) and answer.fence == lease.fence:  # nobody had it meanwhile
                lease.expires, lease.connection = asked + answer.milliseconds / 1000, connection
            elif isinstance(answer, LeaseBusy | LeaseHeld):
                lease.held = False  # it ran out, and somebody else had it meanwhile

    def _give_back(self, scope: bytes) -> None:
        """Commit everything, then release. What cannot be committed now keeps the lease until it runs out."""
        lease = self._leases.get(scope)
        while lease is not None and lease.held:
            self.commit_through(self.live_group, spill=True)
            with self._leasing:
                with self.mutex:
                    clean = self.pending is None and not any(i.store.scope == scope for i in self.dirty.values())
                    lease.held = not clean
                if clean:
                    self._request(Release(scope, self.holder))
