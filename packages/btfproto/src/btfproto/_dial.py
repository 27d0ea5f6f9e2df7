"""`Dialer`: keeps one link to a server and makes a new one when it is lost, for callers in threads.

A call that is lost with its link is repeated on the next one, so only calls that may be repeated go through here: every
request to a store is idempotent, and file requests carry a number that the server remembers. Waiting between attempts
grows and is jittered, so that a thousand clients do not come back in the same millisecond. Time, randomness and waiting
are arguments for the tests.
"""

from __future__ import annotations

import itertools
import random as random_module
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from btlib.kinds import Kind
from btlib.paths import BlockPath
from bttp.errors import AuthenticationError, BttpError, ConnectionLostError, UnreachableError

FIRST_PAUSE = 0.05  #: seconds before the second attempt: a server that restarts at once is hardly missed
LONGEST_PAUSE = 2.0  #: seconds between attempts: what a user hardly notices when the server comes back
PATIENCE = 10.0  #: seconds of trying before a call fails: longer than a restart, shorter than a user's
CONNECT_SECONDS = 5.0  #: one attempt: a server that takes longer is not well

Buffer = bytes | bytearray | memoryview


class Link(Protocol):
    """What a dialer needs of `bttp.blocking.BlockingLink`."""

    @property
    def closed(self) -> bool: ...
    def call(self, path: BlockPath, body: Buffer | Sequence[Buffer], *, timeout: float | None) -> memoryview: ...
    def recheck(self) -> None: ...
    def close(self) -> None: ...


class Dialer:
    """Calls a server over one link at a time. Thread-safe; many calls share the link."""

    def __init__(
        self,
        connect: Callable[[float], Link],
        endpoint: str,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random_module.random,
    ) -> None:
        """`connect(timeout)` makes a link or raises BttpError; `endpoint` is for messages."""
        self.endpoint = endpoint
        self.patience = patience
        self._connect = connect
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._closing = threading.Event()

    def call(self, path: BlockPath, body: Sequence[Buffer], *, timeout: float | None) -> memoryview:
        """The reply. Raises BttpError: UnreachableError once patience is at its end, others as the link does."""
        deadline: float | None = None
        for attempt in itertools.count():
            try:
                return self.link().call(path, body, timeout=timeout)
            except AuthenticationError:
                raise
            except (ConnectionLostError, UnreachableError) as error:
                now = self._clock()
                deadline = now + self.patience if deadline is None else deadline
                pause = self._pause(attempt)
                if now + pause > deadline or self._closing.wait(pause):
                    raise self._unreachable(error) from error
        raise AssertionError("unreachable")

    def link(self) -> Link:
        """The link, made anew where the last one is closed. Raises BttpError."""
        with self._lock:
            if self._closing.is_set():
                raise UnreachableError(f"the connection to {self.endpoint} was closed by this side")
            if self._link is None or self._link.closed:
                self._drop()
                self._link = self._connect(CONNECT_SECONDS)
            return self._link

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
