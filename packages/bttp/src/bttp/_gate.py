"""How many connections a server lets in, and from where. Pure counting; the shell tells it what happens."""

from __future__ import annotations

from collections import Counter

from btlib.kinds import Kind

from ._limits import ServerLimits
from ._statistics import ServerStatistics
from .errors import UnreachableError


class Gate:
    """Counts handshakes and links. A connection enters once, may open once, and leaves once."""

    def __init__(self, limits: ServerLimits) -> None:
        self.statistics = ServerStatistics()
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self.draining = False  #: the server goes away: nobody is let in any more

    def enter(self, address: str) -> UnreachableError | None:
        """A connection came. None: it may go on (and must leave later); else why not."""
        kind = Kind.LIMIT
        limits, now = self._limits, self.statistics
        if self.draining:
            kind, reason = Kind.UNREACHABLE, "the server is going away"
        elif now.links >= limits.max_links:
            reason = f"all {limits.max_links} links are taken (max_links)"
        elif now.handshakes >= limits.max_handshakes:
            reason = f"{limits.max_handshakes} handshakes are under way (max_handshakes)"
        elif address and self._by_address[address] >= limits.max_handshakes_per_address:
            reason = f"{limits.max_handshakes_per_address} handshakes from your address (max_handshakes_per_address)"
        else:
            now.handshakes += 1
            self._by_address[address] += 1
            return None
        now.turned_away += 1
        return UnreachableError(reason, kind=kind)

    def opened(self, address: str) -> None:
        """A connection that entered is an open link now."""
        self._end_handshake(address)
        self.statistics.links += 1
        self.statistics.accepted += 1

    def left(self, address: str, *, was_open: bool, refused: bool) -> None:
        """A connection that entered is gone."""
        if was_open:
            self.statistics.links -= 1
            return
        self._end_handshake(address)
        if refused:
            self.statistics.refused += 1
        else:
            self.statistics.broken += 1

    def _end_handshake(self, address: str) -> None:
        self.statistics.handshakes -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
