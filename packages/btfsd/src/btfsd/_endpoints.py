"""The server's own endpoint records: written at its start and anew each day, so that others find where it listens.

One record for its own path, and one for the whole domain where it may serve that. What cannot be written is a warning
in the log; the server serves all the same. With `mdns` it also says in the local network that it is there.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from btfproto.domain import DomainReader, read_held
from btfproto.endpoints import MAX_ENDPOINTS, SignedRecord, publish_record, read_record, sign_record
from btfproto.endpoints.discovery import advertise
from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from bttp import TcpEndpoint, parse_endpoint

from ._settings import Endpoints

log = logging.getLogger("btfsd")

LIFETIME = 7 * 86_400  #: seconds: a server that was off for a week's holiday is found again, one given up is forgotten
RENEWAL = 86_400  #: seconds after which a record is written anew
RETRY = 600  #: seconds after which it is tried again where it could not be written
INTERVAL = 300.0  #: seconds between two looks whether one is due

_EVERYWHERE = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
#: Addresses set aside for documents: a socket that is pointed there, and sends nothing, shows this machine's own.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


class Publisher:
    """Used by one thread."""

    def __init__(
        self,
        reader: DomainReader,
        identity: Identity,
        server: BlockPath,
        endpoints: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        """`endpoints`: where others reach this server; without any there is nothing to say."""
        self.interval = INTERVAL if endpoints else None  #: after how many seconds to look again; None: never
        self._reader = reader
        self._identity = identity
        self._server = server
        self._endpoints = tuple(endpoints)
        self._clock = clock
        self._due = clock()

    def look(self) -> None:
        """Write the records where that is due."""
        if not self._endpoints or self._clock() < self._due:
            return
        now = int(self._clock())
        own = self._publish(self._server, now)
        self._publish(BlockPath(self._server.root), now)
        self._due = now + (RENEWAL if own else RETRY)

    def _publish(self, path: BlockPath, now: int) -> bool:
        try:
            identity = read_held(self._reader, self._identity).identity

            def make(before: SignedRecord | None) -> SignedRecord:
                return sign_record(
                    identity,
                    path=path,
                    server=self._server,
                    endpoints=self._endpoints,
                    now=now,
                    lifetime=LIFETIME,
                    before=None if before is None else read_record(before),
                )

            publish_record(self._reader, identity, path, make, server=self._server, now=now, random=os.urandom)
        except BlocktreeError as error:
            minor = path != self._server and error.kind is Kind.FORBIDDEN
            log.log(logging.INFO if minor else logging.WARNING, "no endpoint record of %s: %s", path, error)
            return False
        fields = {"event": "endpoints", "path": str(path), "endpoints": list(self._endpoints)}
        log.info("others find %s at %s", path, ", ".join(self._endpoints), extra={"fields": fields})
        return True


@contextmanager
def in_the_local_network(root: Principal, endpoints: Sequence[str], settings: Endpoints) -> Iterator[None]:
    """Answer who looks for servers of the domain by multicast DNS, where that is wanted. Raises FsError."""
    places = [place for text in endpoints if isinstance(place := parse_endpoint(text), TcpEndpoint)]
    ports = {place.port for place in places}
    addresses = sorted({place.host for place in places if _is_address(place.host)})
    if not settings.mdns or not addresses:
        yield
        return
    with advertise(root, addresses, min(ports)) as instance:
        log.info("found by multicast DNS as %s", instance)
        yield


def reachable(listening: Sequence[str], settings: Endpoints) -> tuple[str, ...]:
    """Where others reach a server that listens there: as configured, or at this machine's addresses."""
    if not settings.publish and not settings.mdns:
        return ()
    if settings.names:
        return settings.names
    found = [text for place in listening for text in _reachable(place)]
    return tuple(dict.fromkeys(found))[:MAX_ENDPOINTS]


def _reachable(listening: str) -> list[str]:
    place = parse_endpoint(listening)
    if not isinstance(place, TcpEndpoint):
        return []
    family = _EVERYWHERE.get(place.host)
    if family is None:
        return [listening]
    hosts = [_own_address(socket.AF_INET), *([_own_address(family)] if family is socket.AF_INET6 else [])]
    known = [host for host in hosts if host is not None] or [socket.gethostname()]
    return [str(TcpEndpoint(host, place.port)) for host in known]


def _own_address(family: socket.AddressFamily) -> str | None:
    """The address from which this machine speaks with others; None where it has none of this family."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ELSEWHERE[family], 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
