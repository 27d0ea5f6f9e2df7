"""Links to other runtimes, and which paths each of them leads to. A `bttp.Link` is a carrier; so is a simulated one.

A link leads to a path only if its peer may serve there (`SERVE`): whoever else answers at an address, be it a member
of the domain with leave to send there, gets no message meant for that path. Its chains are looked at when the link is
attached, and when it is made again; a link ends by itself when its peer leaves the domain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from btlib.paths import BlockPath
from btlib.writecaps import SERVE
from bttp import Link, NotSentError, Peer, ReconnectingLink

from .errors import WrongPeerError


class Carrier(Protocol):
    """Carries requests to another runtime."""

    @property
    def closed(self) -> bool: ...

    async def call(self, path: BlockPath | str, body: bytes = b"", *, timeout: float | None = None) -> memoryview:
        """Raises ConnectionLostError, DeadlineError, RemoteError and their like. Cancelling reaches the other side."""
        ...

    async def send(self, path: BlockPath | str, body: bytes = b"") -> None:
        """Queue a message. At most once."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call it once when the link has ended."""
        ...


class RenewedCarrier:
    """A link that is made again whenever it is lost. It never closes; while there is none, nothing is sent."""

    def __init__(self, lasting: ReconnectingLink, path: BlockPath, clock: Callable[[], float]) -> None:
        self.lasting = lasting
        self.closed = False
        self._path = path
        self._clock = clock
        self._good: Link | None = None  # the one whose peer serves at the path

    async def call(self, path: BlockPath | str, body: bytes = b"", *, timeout: float | None = None) -> memoryview:
        return await self._link().call(path, body, timeout=timeout)

    async def send(self, path: BlockPath | str, body: bytes = b"") -> None:
        await self._link().send(path, body)

    def on_close(self, callback: Callable[[], None]) -> None:
        """It comes back."""

    def _link(self) -> Link:
        # Not `lasting.call`, which waits: who asks several providers wants the next one instead.
        if (link := self.lasting.link) is None:
            raise NotSentError("there is no link at the moment; it is being made again")
        if link is not self._good:
            check_peer(link.peer, self._path, self._clock())
            self._good = link
        return link


class Carriers:
    """The longest prefix with a living link wins."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: unix seconds, for chains."""
        self._clock = clock
        self._by_prefix: dict[str, Carrier] = {}
        self.version = 0  #: changes with what `find` may find; whoever remembers an answer looks at this

    def attach(self, link: Carrier | ReconnectingLink, path: BlockPath) -> None:
        """Reach what lies at or below `path` by this link, until it closes. Raises WrongPeerError."""
        carrier = RenewedCarrier(link, path, self._clock) if isinstance(link, ReconnectingLink) else link
        if isinstance(carrier, Link):
            check_peer(carrier.peer, path, self._clock())
        prefix = str(path)
        self._by_prefix[prefix] = carrier
        self.version += 1

        def closed() -> None:
            if self._by_prefix.get(prefix) is carrier:
                del self._by_prefix[prefix]
                self.version += 1

        carrier.on_close(closed)

    def places(self) -> list[str]:
        """Where living links lead."""
        return [prefix for prefix, carrier in self._by_prefix.items() if not carrier.closed]

    def find(self, path: str) -> Carrier | None:
        """The link that leads to a path."""
        place = path
        while place:
            carrier = self._by_prefix.get(place)
            if carrier is not None and not carrier.closed:
                return carrier
            place = place.rpartition("/")[0]
        return None


def check_peer(peer: Peer, path: BlockPath, now: float) -> None:
    """Raises WrongPeerError."""
    decision = peer.decide(SERVE, path, int(now))
    if not decision.allowed:
        raise WrongPeerError(
            f"the link leads to {peer}, who may not serve at {path}: {decision.reason}",
            kind=decision.kind,
            hint="attach it to the path where its peer serves, or grant the peer write,run there",
        )
