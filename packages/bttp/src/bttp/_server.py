"""Serving: what a server is given, and what it shows."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from btlib.identity import Identity
from btlib.principals import Principal

from ._auth import Role
from ._certificates import process_keys
from ._core import LinkCore
from ._endpoints import parse_endpoint
from ._gate import Gate
from ._limits import Limits, ServerLimits
from ._link import Link
from ._loops import on_asyncio
from ._policy import Policy, RootPolicy
from ._router import Router
from ._shares import Shares
from ._shell_base import log
from ._sockets import close_listeners, endpoint_of, listen
from ._statistics import LinkStatistics, ServerStatistics
from .errors import BttpError, LocalProtocolError


class Setup(msgspec.Struct, frozen=True):
    """What a server speaks as, what it serves, to whom, and how much."""

    identities: tuple[Identity, ...]
    router: Router
    policy: Policy
    limits: Limits
    server_limits: ServerLimits

    def core(self, now: float) -> LinkCore:
        """The core of a new link."""
        keys = process_keys()
        instance = self.router.replays.instance(keys.certificate)
        return LinkCore(Role.SERVER, keys, self.identities, self.limits, now=now, instance=instance)


class Server:
    """A running server."""

    def __init__(self, setup: Setup, sockets: Sequence[socket.socket]) -> None:
        self.setup = setup
        self.gate = Gate(setup.server_limits)
        self.shares = Shares(setup.server_limits)
        self.endpoints: tuple[str, ...] = tuple(map(endpoint_of, sockets))  #: where it listens, with actual ports
        self._links: set[Link] = set()
        self._ended = LinkStatistics()  # of the links that are gone

    @property
    def links(self) -> tuple[Link, ...]:
        """All connections, those still shaking hands included."""
        return tuple(self._links)

    @property
    def statistics(self) -> ServerStatistics:
        """Counters, as they are now."""
        return self.gate.statistics.snapshot()

    @property
    def traffic(self) -> LinkStatistics:
        """What all links did together, those that have ended included."""
        total = self._ended.snapshot()
        for link in self._links:
            total.add(link.statistics)
        return total

    def add(self, link: Link) -> None:
        self._links.add(link)

    def discard(self, link: Link) -> None:
        if link in self._links:
            self._links.discard(link)
            self._ended.add(link.statistics)
        self.shares.leave(link)

    def recheck(self) -> None:
        """Judge all peers anew, after the policy has heard of revocations: they may lose paths, or their links."""
        for link in self.links:
            link.recheck()

    async def renew(self, identity: Identity | Sequence[Identity]) -> None:
        """Speak as this from now on: on new links, and, by proofs with the new chains, on those that are open.

        A link whose client does not take them stays as it was; the log has its reason.
        """
        from anyio import create_task_group

        identities = (identity,) if isinstance(identity, Identity) else tuple(identity)
        self.setup = msgspec.structs.replace(self.setup, identities=identities)

        async def renew_one(link: Link) -> None:
            try:
                for each in identities:
                    await link.prove(each)
            except BttpError as error:
                log.warning("link %d to %s: not renewed: %s", link.id, link.peer, error)

        async with create_task_group() as group:
            for link in self.links:
                group.start_soon(renew_one, link)

    async def drain(self, timeout: float = 5.0) -> bool:
        """Let nobody in any more, let what is under way finish, close the links. False: some was cut off.

        `timeout`: seconds until then.
        """
        from anyio import create_task_group

        self.gate.draining = True
        done: list[bool] = []

        async def drain_one(link: Link) -> None:
            done.append(await link.drain(timeout))

        async with create_task_group() as group:
            for link in self.links:
                group.start_soon(drain_one, link)
        return all(done)


def make_setup(
    identity: Identity | Sequence[Identity],
    router: Router,
    roots: Sequence[Principal],
    policy: Policy | None,
    limits: Limits,
    server_limits: ServerLimits,
) -> Setup:
    """Raises LocalProtocolError for a server that nobody could use."""
    if policy is None and not roots:
        raise LocalProtocolError("a server needs roots or a policy: without them it would refuse everybody")
    identities = (identity,) if isinstance(identity, Identity) else tuple(identity)
    if not identities:
        raise LocalProtocolError("a server needs an identity")
    return Setup(identities, router, policy or RootPolicy(roots), limits, server_limits)


@asynccontextmanager
async def serve(
    endpoints: Sequence[str],
    identity: Identity | Sequence[Identity],
    router: Router,
    *,
    roots: Sequence[Principal] = (),
    policy: Policy | None = None,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
    server_limits: ServerLimits = ServerLimits(),  # noqa: B008
) -> AsyncIterator[Server]:
    """Serve at these endpoints until the context ends. `server.endpoints` has the actual ports.

    Members of the domains of `roots` may connect and reach what their chains give them EXECUTE on; `policy` replaces
    that rule. Raises BttpError where an endpoint cannot be had.
    """
    setup = make_setup(identity, router, roots, policy, limits, server_limits)
    sockets: list[socket.socket] = []
    bound: list[str] = []
    try:
        for text in endpoints:
            sockets += listen(parse_endpoint(text))
            bound.append(text)
        if on_asyncio():
            from ._asyncio_server import serve_asyncio

            async with serve_asyncio(setup, sockets) as server:
                yield server
        else:
            from ._anyio_server import serve_anyio

            async with serve_anyio(setup, sockets) as server:
                yield server
    finally:
        close_listeners(sockets, bound)
