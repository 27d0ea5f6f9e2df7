"""Connecting on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from btlib.verification import Decision

from ._asyncio import AsyncioLink
from ._client import too_slow, unreachable
from ._core import LinkCore
from ._endpoints import Endpoint, UnixEndpoint
from ._limits import ServerLimits
from ._link import Link
from ._peer import Peer
from ._policy import Policy
from ._router import Router
from ._runners import Runners
from ._workers import loop_workers


@asynccontextmanager
async def open_asyncio(
    endpoint: Endpoint,
    make_core: Callable[[float], LinkCore],
    admit: Callable[[Peer, int], Decision],
    router: Router | None,
    policy: Policy | None,
    timeout: float,
) -> AsyncIterator[Link]:
    """An open link for as long as the context lasts."""
    runners = Runners(asyncio.get_running_loop())
    workers = None if router is None else loop_workers(ServerLimits().max_workers)
    link: AsyncioLink | None = None

    def make_link() -> AsyncioLink:
        return AsyncioLink(make_core(monotonic()), admit, router, policy, workers, runners)

    try:
        try:
            async with asyncio.timeout(timeout):
                link = await _connect(endpoint, make_link)
                await link.wait_opened()
        except TimeoutError:
            raise too_slow(endpoint, timeout) from None
        yield link
    finally:
        runners.cancel()
        if link is not None:
            await link.aclose()
        await asyncio.gather(*runners.tasks, return_exceptions=True)
        if workers is not None:
            await asyncio.to_thread(workers.close)


async def _connect(endpoint: Endpoint, make_link: Callable[[], AsyncioLink]) -> AsyncioLink:
    loop = asyncio.get_running_loop()
    try:
        if isinstance(endpoint, UnixEndpoint):
            return (await loop.create_unix_connection(make_link, endpoint.path))[1]
        return (await loop.create_connection(make_link, endpoint.host, endpoint.port))[1]
    except TimeoutError:
        raise
    except OSError as error:
        raise unreachable(endpoint, error) from error
