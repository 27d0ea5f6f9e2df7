"""`Dialer`: keeps one link to a server and makes a new one when it is lost, for callers in threads.

A call that is lost with its link is repeated on the next one, so only calls that may be repeated go through here: every
request to a store is idempotent, and file requests carry a number that the server remembers. Waiting between attempts
grows and is jittered, so that a thousand clients do not come back in the same millisecond. Time, randomness and waiting
are arguments for the tests.

    link            calls go through
    lost            callers wait, and one of them dials now and then: for `patience` seconds from the loss on, together
    given up        calls fail at once; one of them still dials now and then, so that the link comes back

`FOR_EVER` as patience: there is no giving up, and a call that no answer came to in time is sent again.
"""

from __future__ import annotations

import math
import random as random_module
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from bttp import Limits
from bttp.errors import (
    AuthenticationError,
    BttpError,
    ConnectionLostError,
    DeadlineError,
    NotSentError,
    UnreachableError,
)

FIRST_PAUSE = 0.05  #: seconds before the second attempt: a server that restarts at once is hardly missed
LONGEST_PAUSE = 2.0  #: seconds between attempts: what a user hardly notices when the server comes back
PATIENCE = 10.0  #: seconds of trying before a call fails: longer than a restart, shorter than a user's
CONNECT_SECONDS = 5.0  #: one attempt: a server that takes longer is not well
FOR_EVER = math.inf
#: A server that says nothing for ten seconds counts as lost: it is frozen, or its machine is gone. That is the lease
#: time: by then it may have given what this client holds to others.
LINK_LIMITS = Limits(ping_seconds=2.5, pings=3)

Buffer = bytes | bytearray | memoryview


class UnwelcomeError(BttpError):
    """What is at the other end of a new link is not what it was: see `Dialer.greet`."""


class Link(Protocol):
    """What a dialer needs of `bttp.blocking.BlockingLink`."""

    @property
    def closed(self) -> bool: ...
    def call(self, path: BlockPath, body: Buffer | Sequence[Buffer], *, timeout: float | None) -> memoryview: ...
    def prove(self, identity: Identity) -> None: ...
    def recheck(self) -> None: ...
    def close(self) -> None: ...


class Doubt:
    """What became of a call before it was answered: `sent` where an earlier attempt may have taken effect."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


class _Outage:
    """No link since some moment; `again` is when the next attempt is due."""

    __slots__ = ("again", "attempts", "since", "why")

    def __init__(self, since: float, why: str) -> None:
        self.since = since
        self.why = why
        self.attempts = 0
        self.again = since


class Dialer:
    """Calls a server over one link at a time. Thread-safe; many calls share the link."""

    def __init__(
        self,
        connect: Callable[[float], Link],
        endpoint: str,
        *,
        identity: Identity | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random_module.random,
    ) -> None:
        """`connect(timeout)` makes a link or raises BttpError; `endpoint` is for messages. `patience` may be changed at
        any time, also for those who wait. `identity`: as whom, for who makes the links."""
        self.endpoint = endpoint
        self.identity = identity
        self.patience = patience
        #: Sees each new link before it is used. Its BttpError ends the link, and goes to whoever wanted it.
        self.greet: Callable[[Link], None] = lambda link: None
        self._connect = connect
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._dialing = threading.Lock()  # taken before the other, and held while a link is being made
        self._link: Link | None = None
        self._outage: _Outage | None = None
        self._closing = threading.Event()

    def call(
        self, path: BlockPath, body: Sequence[Buffer], *, timeout: float | None, doubt: Doubt | None = None
    ) -> memoryview:
        """The reply. Raises BttpError: UnreachableError once patience is at its end, others as the link does.

        `doubt` is told whether what is answered is a repetition.
        """
        since: float | None = None
        while True:
            try:
                reply = self.link().call(path, body, timeout=timeout)
            except AuthenticationError:
                raise
            except DeadlineError:
                if self.patience < FOR_EVER:
                    raise
                if doubt is not None:
                    doubt.sent = True
            except (ConnectionLostError, UnreachableError) as error:
                if doubt is not None and isinstance(error, ConnectionLostError):
                    doubt.sent = doubt.sent or not isinstance(error, NotSentError)
                since = self._clock() if since is None else since
                outage = self._note(error)
                self._wait(min(since, outage.since), outage, error)
            else:
                self._outage = None
                return reply

    def link(self) -> Link:
        """The link, made anew where the last one is closed. Raises BttpError."""
        link = self._link
        if link is not None and not link.closed:
            return link
        self._check_open()
        outage = self._outage
        given_up = outage is not None and self._clock() >= outage.since + self.patience
        if not self._dialing.acquire(blocking=not given_up):
            assert outage is not None
            raise UnreachableError(outage.why)  # somebody is trying just now
        try:
            return self._dial()
        finally:
            self._dialing.release()

    @property
    def connection(self) -> Link | None:
        """The link that is open now, to tell whether it is still the one of before."""
        link = self._link
        return None if link is None or link.closed else link

    def renew(self, identity: Identity) -> None:
        """Speak as this on links to come, and prove it on the present one. Raises BttpError; that changes nothing."""
        self.identity = identity
        link = self.connection
        if link is not None:
            link.prove(identity)

    def recheck(self) -> None:
        """Somebody was revoked: the link ends if that was the other end. The next call says so."""
        with self._lock:
            if self._link is not None:
                self._link.recheck()

    def close(self) -> None:
        """End the link and all waiting; idempotent."""
        self._closing.set()
        with self._lock:
            self._drop()

    def _dial(self) -> Link:
        with self._lock:
            if self._link is not None and not self._link.closed:
                return self._link
            self._drop()
            outage = self._outage
        if outage is not None and self._clock() < outage.again:
            raise UnreachableError(outage.why)
        try:
            link = self._greeted(self._connect(CONNECT_SECONDS))
        except (ConnectionLostError, UnreachableError) as error:
            outage = self._note(error)
            outage.again = self._clock() + self._pause(outage.attempts)
            outage.attempts += 1
            raise
        with self._lock:
            if self._closing.is_set():
                link.close()
            else:
                self._link, self._outage = link, None
        self._check_open()
        return link

    def _greeted(self, link: Link) -> Link:
        try:
            self.greet(link)
        except BaseException:
            link.close()
            raise
        return link

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise UnreachableError(f"the connection to {self.endpoint} was closed by this side")

    def _note(self, error: BttpError) -> _Outage:
        with self._lock:
            if self._outage is None:
                self._outage = _Outage(self._clock(), error.message)
            self._outage.why = error.message
            return self._outage

    def _wait(self, since: float, outage: _Outage, error: BttpError) -> None:
        """Until the next attempt is due. Raises UnreachableError where that is too late."""
        now = self._clock()
        pause = max(outage.again - now, 0.0) or self._pause(0)
        if now + pause > since + self.patience or self._closing.wait(pause):
            raise self._unreachable(error) from error

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _pause(self, attempt: int) -> float:
        return min(FIRST_PAUSE * 2.0 ** min(attempt, 16), LONGEST_PAUSE) * (0.5 + self._jitter() / 2)

    def _unreachable(self, error: BttpError) -> UnreachableError:
        return UnreachableError(
            f"no connection to {self.endpoint} within {self.patience:g} seconds: {error.message}",
            kind=Kind.UNREACHABLE,
            hint="check that btfsd runs there and that the address is right",
        )
