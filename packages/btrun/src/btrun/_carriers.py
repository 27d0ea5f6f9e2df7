"""Links to other runtimes, and which paths each of them leads to. A `bttp.Link` is a carrier; so is a simulated one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from btlib.paths import BlockPath
from bttp import Link, NotSentError, ReconnectingLink


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

    def __init__(self, lasting: ReconnectingLink) -> None:
        self.lasting = lasting
        self.closed = False

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
        return link


class Carriers:
    """The longest prefix with a living link wins."""

    def __init__(self) -> None:
        self._by_prefix: dict[str, Carrier] = {}
        self.version = 0  #: changes with what `find` may find; whoever remembers an answer looks at this

    def attach(self, link: Carrier | ReconnectingLink, path: BlockPath) -> None:
        """Reach what lies at or below `path` by this link, until it closes."""
        carrier = RenewedCarrier(link) if isinstance(link, ReconnectingLink) else link
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
