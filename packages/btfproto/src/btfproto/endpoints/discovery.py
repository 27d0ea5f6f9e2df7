"""Servers in the local network, by multicast DNS (RFC 6762, 6763). Optional: `pip install btfproto[mdns]`.

    service    _bttp._tcp.local.
    instance   <SHA-256(SERVICE_NAME ‖ root digest)[:16], hex>-<4 random bytes, hex>
    data       the port, and the addresses of the machine; no text

So it is recognized by those who know the root, and tells others no more than that there is a Blocktree server. Nothing
that is heard is trusted: it says where somebody might be, and the link's AUTH decides. Everyone in the network can
answer; so few answers are taken, and each costs one attempt.
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from btlib.kinds import Kind
from btlib.labels import Label, tagged_hash
from btlib.principals import Principal
from bttp import TcpEndpoint

from ..errors import FsError

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

SERVICE = "_bttp._tcp.local."
MDNS_VARIABLE = "BLOCKTREE_MDNS"  #: 1: clients ask in the local network where nobody answers
SECONDS = 1.0  #: how long answers are waited for; those of a home network come within a tenth
MAX_FOUND = 8  #: endpoints: whoever floods the network costs a client eight attempts


def service_name(root: Principal) -> str:
    """What servers of a domain are called in the network, without what tells them apart."""
    return tagged_hash(Label.SERVICE_NAME, root.digest)[:16].hex()


@contextmanager
def advertise(root: Principal, addresses: Sequence[str], port: int) -> Iterator[str]:
    """Say that a server of the domain listens, until the block ends; the instance's name. Raises FsError."""
    with announce(SERVICE, service_name(root), addresses, port) as instance:
        yield instance


@contextmanager
def announce(service: str, name: str, addresses: Sequence[str], port: int) -> Iterator[str]:
    """Say that this service listens here under this name, until the block ends; the instance's name. Raises FsError."""
    library = _library()
    instance = f"{name}-{secrets.token_hex(4)}"
    info = library.ServiceInfo(
        service,
        f"{instance}.{service}",
        port=port,
        server=f"{instance}.local.",
        addresses=[ipaddress.ip_address(address).packed for address in addresses],
    )
    with _responder(addresses) as responder:
        # Its name is random: nobody has it, and asking the network whether somebody has would take a second.
        responder.register_service(info, cooperating_responders=True)
        try:
            yield instance
        finally:
            responder.unregister_service(info)


def discover(root: Principal, seconds: float = SECONDS, *, interfaces: Sequence[str] = ()) -> tuple[str, ...]:
    """Endpoints that somebody says to be servers of the domain. Raises FsError without the library."""
    return find(SERVICE, service_name(root), seconds, interfaces=interfaces)


def find(service: str, name: str, seconds: float = SECONDS, *, interfaces: Sequence[str] = ()) -> tuple[str, ...]:
    """Endpoints that somebody says to be of this service and name. Raises FsError without the library."""
    library = _library()
    listener = _Listener(name)
    with _responder(interfaces) as responder:
        browser = library.ServiceBrowser(responder, service, listener)
        try:
            listener.wait(seconds)
        finally:
            browser.cancel()
    return tuple(listener.endpoints)


class _Listener:
    """Hears of instances; the first of the wanted name ends the waiting."""

    def __init__(self, wanted: str) -> None:
        self._wanted = f"{wanted}-"
        self._heard = threading.Event()
        self.endpoints: list[str] = []

    def wait(self, seconds: float) -> None:
        self._heard.wait(seconds)

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if not name.startswith(self._wanted) or len(self.endpoints) >= MAX_FOUND:
            return
        info = zc.get_service_info(type_, name, timeout=int(SECONDS * 1000))
        if info is not None:
            fresh = [place for place in endpoints_of(info) if place not in self.endpoints]
            self.endpoints += fresh[: MAX_FOUND - len(self.endpoints)]
            self._heard.set()

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """As new: it may have come without addresses before."""
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """It was there a moment ago; dialing will tell."""


def endpoints_of(info: ServiceInfo) -> list[str]:
    """What an answer says, as endpoints."""
    if not info.port:
        return []
    return [str(TcpEndpoint(address, info.port)) for address in info.parsed_scoped_addresses()]


@contextmanager
def _responder(interfaces: Sequence[str]) -> Iterator[Zeroconf]:
    """Takes part in multicast DNS at these addresses of this machine; none: at all."""
    library = _library()
    try:
        responder = library.Zeroconf(interfaces=list(interfaces) or library.InterfaceChoice.All)
    except OSError as error:
        raise FsError(Kind.UNREACHABLE, f"multicast DNS does not work here: {error}", "go without it") from error
    try:
        yield responder
    finally:
        responder.close()


def _library() -> ModuleType:
    try:
        import zeroconf
    except ImportError as error:
        raise FsError(
            Kind.NOT_SUPPORTED, "multicast DNS needs the package zeroconf", "install it: pip install btfproto[mdns]"
        ) from error
    return zeroconf
