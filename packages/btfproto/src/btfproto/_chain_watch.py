"""`ChainWatch`: sees to it that a program that runs on has its next chains in time, and says so where it has not.

    nears its end   look into the records; where nothing follows there, prove what there is: a server that may renews it
    renewed         show that on the link, before the old one ends
    two weeks left  a warning a day in the log, with the next command

Where no server is in between, who may renew it renews it itself. What the file system writes under is looked for by
`localfs`; it is only spoken of here. One thread, which sleeps nearly always. A step that fails is done again at the
next look.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable

from btlib.errors import BlocktreeError
from btlib.home import HOSTS
from btlib.identity import Identity
from btlib.writecaps import Chain, Rights

from .domain import HeldChains, is_membership, pause_before_look, renew_memberships, time_left

log = logging.getLogger("btfproto.opening")

IDLE = 60.0  #: seconds between two looks at the clock, which may be set, or have stood still with the machine
LAPSED = 60  #: seconds between two looks for what follows a chain that has run out
SAY_AGAIN = 86_400  #: seconds; a daily line is seen, an hourly one is filtered


class ChainWatch:
    """`look` may also be called by somebody else's thread; then without `start`."""

    def __init__(
        self,
        held: HeldChains,
        *,
        prove: Callable[[Identity], None] | None = None,
        renews: bool = False,
        also: Callable[[], Iterable[Chain]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`prove` shows an identity on the link, where there is one. `renews`: what it may renew, it does itself.
        `also`: chains that are in use beside those that are shown."""
        self._held = held
        self._prove = prove
        self._renews = renews
        self._also = also
        self._clock = clock
        self._said: dict[bytes, int] = {}  # by chain: when it was looked at last, and spoken of
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> ChainWatch:
        self._thread = threading.Thread(target=self._run, name="btfproto-chains", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Begin no other look."""
        self._ending.set()

    def close(self) -> None:
        """Return when the thread has ended; idempotent."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> float:
        """Do what is due; seconds until the next look."""
        now = int(self._clock())
        if self._held.due(now):
            self._go_on(now)
        left = self._held.due(now)
        for chain in (*left, *self._also()):
            self._maybe_say(chain, now)
        if left:
            return min(pause_before_look(chain, now, LAPSED) for chain in left)
        return min(IDLE, max(1.0, self._held.due_from - now))

    def _run(self) -> None:
        while not self._ending.wait(self.look()):
            pass

    def _go_on(self, now: int) -> None:
        found = self._attempt(lambda: self._held.look(now), "the records cannot be read")
        if not found and self._renews:
            found = self._attempt(lambda: self._renew(now), "nothing can be recorded")
        if found:
            log.info("what ends soon was renewed: %s", _listed(self._held.shown.chains))
        memberships = any(chain.last and is_membership(chain.last) for chain in self._held.due(now))
        if self._prove is not None and (found or memberships):
            prove, shown = self._prove, self._held.shown
            self._attempt(lambda: prove(shown), "the server does not take it")

    def _renew(self, now: int) -> bool:
        held = self._held
        own = held.identity
        renew_memberships(held.reader, own, own.principal, held.due(now), now=now, random=os.urandom)
        return held.look(now)

    def _attempt(self, step: Callable[[], bool | None], otherwise: str) -> bool:
        """What fails is tried again at the next look; that a server is away is told by whoever needs it."""
        try:
            return bool(step())
        except BlocktreeError as error:
            log.info("%s ends soon, and %s yet: %s", self._held.shown.principal, otherwise, error)
            return False

    def _maybe_say(self, chain: Chain, now: int) -> None:
        """Once a day, as long as that is so."""
        left = time_left(chain, now)
        last = chain.last
        if left is None or last is None or now - self._said.get(chain.id, now - SAY_AGAIN) < SAY_AGAIN:
            return
        self._attempt(lambda: self._held.look(now), "the records cannot be read")
        self._said[chain.id] = now
        if not self._held.lasts_longer(chain, now):
            text = f"the right of {last.subject} to {Rights(last.rights).text} at {last.path}"
            log.warning("%s %s, and nothing follows it yet; %s", text, left, next_command(chain))


def next_command(chain: Chain) -> str:
    """What makes a chain last longer."""
    last = chain.last
    assert last is not None
    if last.block_path.names[:1] == (HOSTS,):
        renewed = "a server whose own right allows it renews it; else " if is_membership(last) else ""
        return f"{renewed}an owner runs: bt enroll sign {last.subject}"
    words = f"bt grant {last.subject} {last.path} {Rights(last.rights).text.replace(' and ', ',')}"
    if last.may_delegate:
        words += " --delegate"
    if len(chain.caps) == 1:
        return f"it is the root's to give, where its keys lie: {words} --root"
    return f"an owner runs: {words}"


def _listed(chains: Iterable[Chain]) -> str:
    return ", ".join(dict.fromkeys(chain.last.path for chain in chains if chain.last is not None))
