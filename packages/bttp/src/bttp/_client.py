"""Connecting, from async code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision

from ._auth import Role
from ._certificates import process_keys
from ._core import LinkCore
from ._endpoints import Endpoint, parse_endpoint
from ._limits import Limits
from ._link import Link
from ._loops import on_asyncio
from ._peer import Peer
from ._policy import Policy, RootPolicy, check_server
from ._router import Router
from .errors import UnreachableError

CONNECT_SECONDS = 10.0  #: default time-out from the first packet to an open link


@asynccontextmanager
async def connect(
    endpoint: str,
    identity: Identity | Sequence[Identity] | None,
    *,
    root: Principal,
    server: BlockPath | None = None,
    timeout: float = CONNECT_SECONDS,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
    router: Router | None = None,
    policy: Policy | None = None,
    revocations: Callable[[Principal], Revocations] = lambda _root: NO_REVOCATIONS,
) -> AsyncIterator[Link]:
    """A link to the server at `endpoint`, which must belong to the domain of `root` (and may serve at `server`).

    `identity`: as whom to speak; None: anonymously. `router`: what the server may call here, on this link; `policy`:
    where it may, by default where chains from `root` let it execute. `revocations`: the newest of a domain, asked for
    at each check of the server. The link ends with the context. Raises UnreachableError, AuthenticationError with the
    reason of whichever side refused, BttpError.
    """
    place = parse_endpoint(endpoint)
    async with connect_to(
        place,
        identity,
        root=root,
        server=server,
        timeout=timeout,
        limits=limits,
        router=router,
        policy=policy,
        revocations=revocations,
    ) as link:
        yield link


def connect_to(
    place: Endpoint,
    identity: Identity | Sequence[Identity] | None,
    *,
    root: Principal,
    server: BlockPath | None,
    timeout: float,
    limits: Limits,
    router: Router | None,
    policy: Policy | None,
    revocations: Callable[[Principal], Revocations],
) -> AbstractAsyncContextManager[Link]:
    """As `connect`, to an endpoint that was parsed."""
    admit = server_check(root, server, revocations)
    policy = client_policy(root, router, policy, revocations)

    def make_core(now: float) -> LinkCore:
        return client_core(identity, limits, router, now)

    if on_asyncio():
        from ._asyncio_client import open_asyncio

        return open_asyncio(place, make_core, admit, router, policy, timeout)
    from ._anyio_client import open_anyio

    return open_anyio(place, make_core, admit, router, policy, timeout)


def server_check(
    root: Principal, server: BlockPath | None, revocations: Callable[[Principal], Revocations]
) -> Callable[[Peer, int], Decision]:
    """How a client judges the server."""

    def admit(peer: Peer, now: int) -> Decision:
        return check_server(peer, root, server, now, revocations(root))

    return admit


def client_policy(
    root: Principal,
    router: Router | None,
    policy: Policy | None,
    revocations: Callable[[Principal], Revocations],
) -> Policy | None:
    """What decides about calls of the server; None where it can call nothing."""
    return RootPolicy([root], revocations=revocations) if policy is None and router is not None else policy


def client_core(
    identity: Identity | Sequence[Identity] | None, limits: Limits, router: Router | None, now: float
) -> LinkCore:
    identities = () if identity is None else (identity,) if isinstance(identity, Identity) else tuple(identity)
    keys = process_keys()
    instance = 0 if router is None else router.replays.instance(keys.certificate)
    return LinkCore(Role.CLIENT, keys, identities, limits, now=now, instance=instance)


def unreachable(endpoint: Endpoint, error: OSError) -> UnreachableError:
    """Nobody there."""
    reason = error.strerror or str(error) or type(error).__name__
    return UnreachableError(f"cannot connect to {endpoint}: {reason}", hint="check that the server runs there")


def too_slow(endpoint: Endpoint, timeout: float) -> UnreachableError:
    return UnreachableError(f"no link to {endpoint} after {timeout:g} s", hint="check the address and the network")
