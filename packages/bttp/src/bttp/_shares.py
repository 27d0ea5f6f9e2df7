"""What one principal may take of a server, over all its links. Pure counting; the links tell their own numbers.

A link counts for the first principal that proved itself on it, for as long as it lives; those of anonymous peers count
for one principal that they all are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from btlib.kinds import Kind
from btlib.principals import Principal

from ._limits import ServerLimits
from ._peer import Peer
from .errors import LimitError


class Sharer(Protocol):
    """A link, as its principal's share sees it."""

    @property
    def streams_open(self) -> int: ...

    @property
    def bytes_held(self) -> int: ...

    def cut_off(self, error: LimitError) -> None:
        """End it for this reason, which the peer is told."""
        ...


class Tally:
    """Handlers that run for one principal, also those whose links have ended."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = 0


class Shares:
    """The open links of a server, by principal."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._links: dict[Principal | None, list[Sharer]] = {}
        self._owners: dict[Sharer, Principal | None] = {}
        self._tallies: dict[Principal | None, Tally] = {}

    def enter(self, link: Sharer, peer: Peer) -> str | None:
        """A link is about to open. None: it may (and must leave later); else why not."""
        owner = None if peer.anonymous else peer.principals[0]
        links = self._links.get(owner, [])
        limit = self._limits.max_links_per_principal
        if len(links) >= limit:
            return f"{limit} links of {owner or 'anonymous peers'} are open (max_links_per_principal)"
        self._links.setdefault(owner, links).append(link)
        self._owners[link] = owner
        return None

    def leave(self, link: Sharer) -> None:
        """A link has ended, whether it was open or not."""
        if link in self._owners:
            owner = self._owners.pop(link)
            self._links[owner].remove(link)
            if not self._links[owner]:
                del self._links[owner]
        idle = [who for who, tally in self._tallies.items() if not tally.running and who not in self._links]
        for who in idle:
            del self._tallies[who]

    def tally(self, link: Sharer) -> Tally:
        """Where the handlers of a link that entered are counted."""
        return self._tallies.setdefault(self._owners[link], Tally())

    def too_many_handlers(self, tally: Tally) -> str | None:
        """None: one more may run; else why not."""
        limit = self._limits.max_handlers_per_principal
        if tally.running < limit:
            return None
        return f"{limit} handlers run for you, those of ended links included (max_handlers_per_principal)"

    def one_more_stream(self, link: Sharer) -> str | None:
        """The peer of this link opened a stream (which counts already). None: it may; else why not."""
        limit = self._limits.max_streams_per_principal
        if sum(each.streams_open for each in self._links[self._owners[link]]) > limit:
            return f"{limit} streams of yours are open, over all links (max_streams_per_principal)"
        return None

    def cut_off(self) -> int:
        """Of each principal whose links hold too many bytes, end the link that holds the most. How many were ended."""
        limit, ended = self._limits.max_held_per_principal, 0
        for link, held in list(self._too_heavy(limit)):
            text = f"{held} bytes wait for you, over all links, more than {limit} (max_held_per_principal)"
            link.cut_off(LimitError(text, kind=Kind.LIMIT))
            ended += 1
        return ended

    def _too_heavy(self, limit: int) -> Iterator[tuple[Sharer, int]]:
        for links in self._links.values():
            held = [link.bytes_held for link in links]
            if sum(held) > limit:
                yield links[held.index(max(held))], sum(held)
