"""Connecting over anyio's byte streams (trio)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from btlib.verification import Decision

from ._anyio import AnyioLink
from ._client import too_slow, unreachable
from ._core import LinkCore
from ._endpoints import Endpoint, UnixEndpoint
from ._limits import ServerLimits
from ._link import Link
from ._peer import Peer
from ._policy import Policy
from ._router import Router


@asynccontextmanager
async def open_anyio(
    endpoint: Endpoint,
    make_core: Callable[[float], LinkCore],
    admit: Callable[[Peer, int], Decision],
    router: Router | None,
    policy: Policy | None,
    timeout: float,
) -> AsyncIterator[Link]:
    """An open link for as long as the context lasts."""
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        try:
            with anyio.move_on_after(timeout) as opening:
                stream = await _connect(endpoint)
                threads = anyio.CapacityLimiter(ServerLimits().max_workers)
                link = AnyioLink(make_core(anyio.current_time()), admit, router, policy, stream, threads, group)
                group.start_soon(link.run)
                await link.wait_opened()
            if opening.cancelled_caught:
                raise too_slow(endpoint, timeout)
            yield link
            await link.aclose()
        except Exception as error:  # carried past the task group, which would wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _connect(endpoint: Endpoint) -> anyio.abc.ByteStream:
    try:
        if isinstance(endpoint, UnixEndpoint):
            return await anyio.connect_unix(endpoint.path)
        return await anyio.connect_tcp(endpoint.host, endpoint.port)
    except OSError as error:
        raise unreachable(endpoint, error) from error
