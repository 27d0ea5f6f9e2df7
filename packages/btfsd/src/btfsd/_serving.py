"""The server as a whole: what its services share, the runtime in which they live, and the links that lead to them.

    with serving(settings, host, identity) as served:
        served.runtime.spawn(Thermometer, name="thermometer")     # an actor beside them, at <server path>/thermometer
        …
        served.drain(2.5)

Leaving ends the links, then the actors (the youngest first; what thin clients wrote is committed), then the store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from btfproto.domain import DomainReader, HeldChains
from btfproto.opening import ChainWatch
from btlib.identity import Identity
from btrun import Ref, Runtime
from btrun.blocking import BlockingRuntime, open_runtime
from bttp import Limits, ServerLimits
from bttp.blocking import BlockingServer

from ._actors import EndPolls
from ._host import Host
from ._services import SUPERVISION, Services
from ._settings import Settings

log = logging.getLogger("btfsd")


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that runs. For any thread but its own."""

    server: BlockingServer
    runtime: BlockingRuntime
    reader: DomainReader  #: of the public records in the store
    held: HeldChains  #: what this machine holds, as long as the server runs
    chains: ChainWatch  #: for whoever looks now and then
    services: tuple[Ref, ...]

    def drain(self, seconds: float) -> bool:
        """Take no new requests and let those under way end, for so long at most. False: some were cut off."""
        self.runtime.run(self._end_polls)
        return self.server.drain(seconds)

    def _end_polls(self, runtime: Runtime) -> None:
        for service in self.services:
            service.send(EndPolls())


@contextmanager
def serving(settings: Settings, host: Host, identity: Identity) -> Iterator[Served]:
    """Serve the host's store until the context ends, on its links as `identity`.

    Raises StoreError, FsError, IntegrityError and BttpError where it cannot, and what the last commit raises.
    """
    with closing(Services(host, settings)) as services:
        endpoints = [*settings.listen, *([services.socket] if services.socket else [])]
        if services.socket is None:
            log.warning(
                "%s is too deep for a Unix socket beside the store: this machine connects as others do", host.store
            )
        with open_runtime(Runtime(identity, host.path, supervision=SUPERVISION)) as runtime:
            started = tuple(runtime.run(services.start))
            with runtime.serve(
                endpoints,
                identity,
                policy=services.policy,
                limits=Limits(max_calls=settings.limits.max_calls),
                server_limits=_server_limits(settings),
            ) as server:
                services.on_revocation(server.recheck)
                yield Served(
                    server=server,
                    runtime=runtime,
                    reader=services.reader,
                    held=services.held,
                    chains=ChainWatch(services.held, renews=settings.membership.renew),
                    services=started,
                )


def _server_limits(settings: Settings) -> ServerLimits:
    limits = settings.limits
    return ServerLimits(
        max_links=limits.max_links,
        max_handshakes=limits.max_handshakes,
        max_handshakes_per_address=limits.max_handshakes_per_address,
        max_workers=limits.max_workers,
    )
