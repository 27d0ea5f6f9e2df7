"""Renewing the memberships of those who connect, ahead of their end.

Who is let in is noticed; what nears its end is renewed in a thread of its own, since that writes to the store, for
which the event loop must not wait. A failure is a line in the log: the membership lasts still, and whoever connects
later is noticed again. (One that ran out already is renewed by the policy itself, which has to know before it answers.)
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from btlib.errors import BlocktreeError
from btlib.principals import Principal
from btlib.writecaps import Chain

log = logging.getLogger("btfsd")

AGAIN = 600.0  #: seconds until the same principal is tried again; it proves itself anew now and then while it runs
REMEMBERED = 4096  #: principals tried lately; beyond that all are forgotten, which costs a few reads
WAITING = 256  #: principals that wait; who comes on top is noticed the next time

#: Renew what is due of some chains of a principal. Raises BlocktreeError.
Renew = Callable[[Principal, Sequence[Chain]], object]


class Renewals:
    """Thread-safe. The thread starts with the first renewal, and ends with `close`."""

    def __init__(
        self, renew: Renew, is_due: Callable[[Principal, Chain], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`is_due` must not wait: it is asked for everybody who comes in."""
        self._renew = renew
        self._is_due = is_due
        self._clock = clock
        self._lock = threading.Lock()
        self._tried: dict[Principal, float] = {}
        self._waiting: queue.Queue[tuple[Principal, tuple[Chain, ...]] | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._closed = False

    def notice(self, principal: Principal, chains: Sequence[Chain]) -> None:
        """Somebody was let in who holds these. Returns at once."""
        due = tuple(chain for chain in chains if self._is_due(principal, chain))
        if not due:
            return
        with self._lock:
            now = self._clock()
            if self._closed or now - self._tried.get(principal, -AGAIN) < AGAIN or self._waiting.full():
                return
            if len(self._tried) >= REMEMBERED:
                self._tried.clear()
            self._tried[principal] = now
            self._waiting.put_nowait((principal, due))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="btfsd-renewals", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Return when what was begun is done; what waits is left. Idempotent."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            while not self._waiting.empty():
                self._waiting.get_nowait()
            self._waiting.put(None)
            thread.join()

    def _run(self) -> None:
        while (found := self._waiting.get()) is not None:
            principal, chains = found
            try:
                self._renew(principal, chains)
            except BlocktreeError as error:
                log.warning("the membership of %s nears its end, and is not renewed yet: %s", principal, error)
