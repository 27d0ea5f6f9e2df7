"""Two cores joined by a pipe in memory, under a clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from btlib.identity import Identity
from btlib.testing import make_domain_identities

from .._auth import Role
from .._certificates import EphemeralKeys
from .._core import LinkCore
from .._events import Event, PeerProven
from .._limits import Limits

DOMAIN = make_domain_identities("client", "server")  #: whose members the two ends are unless told otherwise

_KEYS = {role: EphemeralKeys() for role in Role}  # costly to make, and of no consequence


class Pair:
    """A client's and a server's core. `run` carries bytes to and fro until nothing moves; events pile up by side.

    `chunk` gives the size of the next piece that the pipe delivers (default: all that there is). Each side admits the
    other unless `admit` says otherwise.
    """

    def __init__(
        self,
        *,
        client: Sequence[Identity] = (DOMAIN["client"],),
        server: Sequence[Identity] = (DOMAIN["server"],),
        client_limits: Limits = Limits(),  # noqa: B008 - a frozen value
        server_limits: Limits = Limits(),  # noqa: B008
        chunk: Callable[[], int] | None = None,
        instances: tuple[int, int] = (0, 0),
        admit: Callable[[LinkCore, PeerProven], None] = lambda core, _event: core.admit(),
    ) -> None:
        self.now = 0.0
        self.client = LinkCore(Role.CLIENT, _KEYS[Role.CLIENT], client, client_limits, now=0.0, instance=instances[0])
        self.server = LinkCore(Role.SERVER, _KEYS[Role.SERVER], server, server_limits, now=0.0, instance=instances[1])
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self._chunk = chunk
        self._admit = admit

    def run(self, *, deliver: bool = True) -> None:
        """Carry bytes until nothing moves. Without `deliver` they are lost, as on a dead network."""
        sides = ((self.client, self.client_events, self.server), (self.server, self.server_events, self.client))
        moved = True
        while moved:
            moved = False
            for core, events, other in sides:
                while (event := core.next_event()) is not None:
                    moved = True
                    events.append(event)
                    if isinstance(event, PeerProven):
                        self._admit(core, event)
                while data := core.data_to_send():
                    moved = True
                    if deliver:
                        self._carry(data, other)

    def advance(self, seconds: float, *, deliver: bool = True) -> None:
        """Let time pass, with every time-out on its way handled when it is due."""
        end = self.now + seconds
        while due := [when for core in (self.client, self.server) if (when := core.next_timeout()) is not None]:
            if min(due) > end:
                break
            self.now = max(self.now, min(due))
            self.client.handle_timeout(self.now)
            self.server.handle_timeout(self.now)
            self.run(deliver=deliver)
        self.now = end
        self.run(deliver=deliver)

    def _carry(self, data: bytes, to: LinkCore) -> None:
        while data:
            size = len(data) if self._chunk is None else self._chunk()
            to.receive_data(data[:size], self.now)
            data = data[size:]


def opened(**options: Limits) -> Pair:
    """A pair whose link is open, and whose events so far are forgotten."""
    pair = Pair(**options)  # type: ignore[arg-type]
    pair.run()
    assert pair.client.reason is None, pair.client.reason
    assert pair.server.reason is None, pair.server.reason
    pair.client_events.clear()
    pair.server_events.clear()
    return pair


def inject(core: LinkCore, *frames: bytes) -> None:
    """Have this side say something that it never would."""
    core._exchange.outbox.frames += frames
