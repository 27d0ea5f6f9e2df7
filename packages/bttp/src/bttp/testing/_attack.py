"""What is attacked: `LinkServer`, a way to serve an echo to the members of a domain; and steps of the attacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from btlib.testing.attacks import Attack

from .._certificates import EphemeralKeys
from .._frames import FrameKind
from .._limits import Limits
from ..blocking import connect
from ._evil import DOMAIN, ECHO, ROOT, WAIT, Evil, Frame, Target, serving

KEYS = EphemeralKeys()  #: the attacker's


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Limits that a server under attack must keep: those that an attack wants to reach, and no larger."""

    handshake_seconds: float = 10.0  #: until a link must be open
    handshake_bytes: int = 100_000  #: that a peer may send before it is accepted
    handshakes_per_address: int = 64


class LinkServer(Protocol):
    """A server to attack: it is DOMAIN's member `server`, lets in who may execute under ROOT, and echoes at ECHO."""

    def serve(self, demand: Demand) -> AbstractContextManager[str]:
        """Serve on a loopback port as long as the context lasts; its endpoint, `host:port`."""
        ...


class BttpServer:
    """This package's server."""

    @contextlib.contextmanager
    def serve(self, demand: Demand) -> Iterator[str]:
        limits = Limits(handshake_seconds=demand.handshake_seconds, handshake_bytes=demand.handshake_bytes)
        with serving(limits, max_handshakes_per_address=demand.handshakes_per_address) as server:
            yield server.endpoints[0]


@dataclass(frozen=True)
class _At:
    """Where a server listens."""

    endpoints: tuple[str, ...]


Try = Callable[[Target], None]

ATTACKS: dict[str, Attack[LinkServer]] = {}  #: filled by `attack`, in order of definition


def attack(name: str, tries: str, demand: Demand = Demand()) -> Callable[[Try], Try]:
    """Enter a function into ATTACKS: it gets a server that serves, which must serve others afterwards."""

    def enter(use: Try) -> Try:
        def run(server: LinkServer) -> None:
            with server.serve(demand) as endpoint:
                use(_At((endpoint,)))
                with connect(endpoint, DOMAIN["alice"], root=ROOT) as link:
                    assert bytes(link.call(ECHO, b"well", timeout=WAIT)) == b"well"

        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name=name, tries=tries, run=run)
        return use

    return enter


def not_let_in(evil: Evil) -> list[Frame]:
    """What the server says until it ends the connection: it accepts nobody and answers nothing."""
    evil.sock.settimeout(WAIT)
    said: list[Frame] = []
    with contextlib.suppress(ConnectionError):
        said = evil.hear()
    kinds = {kind for kind, _ in said}
    assert FrameKind.ACCEPT not in kinds, "it was let in"
    assert FrameKind.REPLY not in kinds, "it was answered"
    return said


def ended(use: Callable[[], bytes]) -> bytes:
    """What comes until the other side ends the connection; it must not take longer than WAIT."""
    try:
        return use()
    except TimeoutError:
        raise AssertionError(f"the connection is still open after {WAIT:g} s") from None
