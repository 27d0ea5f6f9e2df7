"""Connecting, from a thread."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations

from .._client import CONNECT_SECONDS, client_core, client_policy, server_check, too_slow, unreachable
from .._endpoints import Endpoint, UnixEndpoint, parse_endpoint
from .._limits import Limits
from .._policy import Policy
from .._router import Mode, Router
from ..errors import LocalProtocolError
from ._link import BlockingLink


def connect(
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
) -> BlockingLink:
    """A link to the server at `endpoint`, which must belong to the domain of `root` (and may serve at `server`).

    `identity`: as whom to speak; None: anonymously. `router` and `policy`: what the server may call here, and where, as
    of `bttp.connect`; handlers run in threads. Close the link, or use it as a context. Raises as `bttp.connect`.
    """
    return connect_to(
        parse_endpoint(endpoint),
        identity,
        root=root,
        server=server,
        timeout=timeout,
        limits=limits,
        router=router,
        policy=policy,
        revocations=revocations,
    )


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
) -> BlockingLink:
    """As `connect`, to an endpoint that was parsed."""
    if router is not None and Mode.TASK in router.modes:
        raise LocalProtocolError("a blocking link cannot run async handlers", hint="use bttp.connect for them")
    until = time.monotonic() + timeout
    sock = _connect(place, timeout)
    core = client_core(identity, limits, router, time.monotonic())
    policy = client_policy(root, router, policy, revocations)
    link = BlockingLink(core, sock, server_check(root, server, revocations), router, policy)
    try:
        if not link.wait_opened(until - time.monotonic()):
            raise too_slow(place, timeout)
    except BaseException:
        link.close()
        raise
    return link


def _connect(endpoint: Endpoint, timeout: float) -> socket.socket:
    """A connected, non-blocking socket."""
    try:
        if isinstance(endpoint, UnixEndpoint):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(timeout)
                sock.connect(endpoint.path)
            except BaseException:
                sock.close()
                raise
        else:
            sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        raise too_slow(endpoint, timeout) from None
    except OSError as error:
        raise unreachable(endpoint, error) from error
    sock.setblocking(False)
    return sock
