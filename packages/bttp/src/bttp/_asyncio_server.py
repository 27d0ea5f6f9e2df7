"""A server on asyncio: sockets, the gate, and the links behind it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import cast

from ._asyncio import LINGER, AsyncioLink
from ._core import LinkCore
from ._events import LinkOpened
from ._limits import HELD_SECONDS
from ._peer import Peer
from ._preface import refusal
from ._runners import Runners
from ._server import Server, Setup
from ._sockets import BACKLOG
from ._workers import Workers, loop_workers
from .errors import AuthenticationError, UnreachableError


class _ServedLink(AsyncioLink):
    """A link that came through the gate of a server."""

    def __init__(self, server: AsyncioServer, core: LinkCore, workers: Workers, runners: Runners) -> None:
        setup = server.setup
        super().__init__(core, setup.policy.admit, setup.router, setup.policy, workers, runners)
        self._server = server
        self._address = ""
        self._entered = self._was_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self._address = address_of(transport.get_extra_info("peername"))
        refused = self._server.gate.enter(self._address)
        if refused is not None:
            self._turn_away(transport, refused)
            return
        self._entered = True
        self._server.add(self)
        super().connection_made(transport)

    def _turn_away(self, transport: asyncio.Transport, refused: UnreachableError) -> None:
        """Say why, and close once the client's first bytes were read: unread, they would tear the answer down."""
        self._transport = transport
        transport.write(refusal(refused.kind, refused.message))
        self._core.abort(refused)
        self._loop.call_later(LINGER, transport.abort)

    def _enters(self, peer: Peer) -> str | None:
        full = self._server.shares.enter(self, peer)
        if full is None:
            self._tally = self._server.shares.tally(self)
        return full

    def _one_more_handler(self) -> str | None:
        return self._server.shares.too_many_handlers(self._tally)

    def _one_more_stream(self) -> str | None:
        return self._server.shares.one_more_stream(self)

    def _on_opened(self, event: LinkOpened) -> None:
        self._was_open = True
        self._server.gate.opened(self._address)
        where = self._address or "a local process"
        self._log(logging.INFO, "link opened", f"opened from {where}", address=where)
        super()._on_opened(event)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._entered:
            refused = isinstance(self.reason, AuthenticationError)
            self._server.gate.left(self._address, was_open=self._was_open, refused=refused)
            self._server.discard(self)


class AsyncioServer(Server):
    """The links of one server."""

    def __init__(self, setup: Setup, sockets: Sequence[socket.socket]) -> None:
        super().__init__(setup, sockets)
        self._workers = loop_workers(setup.server_limits.max_workers)
        self._loop = asyncio.get_running_loop()
        self._runners = Runners(self._loop)
        self._timer = self._loop.call_later(HELD_SECONDS, self._look)

    def _look(self) -> None:
        self.shares.cut_off()
        self._timer = self._loop.call_later(HELD_SECONDS, self._look)

    def make_link(self) -> AsyncioLink:
        core = self.setup.core(monotonic())
        return _ServedLink(self, core, self._workers, self._runners)

    async def aclose(self) -> None:
        """Close all links, end all handlers."""
        self._timer.cancel()
        self._runners.cancel()
        await asyncio.gather(*self._runners.tasks, *(link.aclose() for link in self.links), return_exceptions=True)
        await asyncio.to_thread(self._workers.close)


def address_of(peername: object) -> str:
    """The address that a limit counts by; empty for a Unix socket, whose peers are one user."""
    return str(peername[0]) if isinstance(peername, tuple) else ""


@asynccontextmanager
async def serve_asyncio(setup: Setup, sockets: list[socket.socket]) -> AsyncIterator[Server]:
    """Serve until the context ends."""
    loop = asyncio.get_running_loop()
    server = AsyncioServer(setup, sockets)
    listeners = [await loop.create_server(server.make_link, sock=sock, backlog=BACKLOG) for sock in sockets]
    try:
        yield server
    finally:
        for listener in listeners:
            listener.close()
        await server.aclose()
