"""A server over anyio's byte streams (trio)."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.abc

from ._anyio import LINGER, AnyioLink
from ._asyncio_server import address_of
from ._events import LinkOpened
from ._limits import HELD_SECONDS
from ._peer import Peer
from ._preface import refusal
from ._server import Server, Setup
from .errors import AuthenticationError, UnreachableError


class _ServedLink(AnyioLink):
    """A link that came through the gate of a server."""

    was_open = False

    def __init__(self, server: AnyioServer, address: str, stream: anyio.abc.ByteStream) -> None:
        setup = server.setup
        core = setup.core(anyio.current_time())
        super().__init__(core, setup.policy.admit, setup.router, setup.policy, stream, server.threads, server.lasting)
        self._server = server
        self._address = address

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
        self.was_open = True
        self._server.gate.opened(self._address)
        where = self._address or "a local process"
        self._log(logging.INFO, "link opened", f"opened from {where}", address=where)
        super()._on_opened(event)


class AnyioServer(Server):
    """The links of one server."""

    def __init__(self, setup: Setup, sockets: Sequence[socket.socket], lasting: anyio.abc.TaskGroup) -> None:
        super().__init__(setup, sockets)
        self.lasting = lasting  # of handlers that may outlive their link
        self.threads = anyio.CapacityLimiter(setup.server_limits.max_workers)

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        """One connection, from accept to end."""
        address = address_of(stream.extra(anyio.abc.SocketAttribute.remote_address, ""))
        turned_away = self.gate.enter(address)
        if turned_away is not None:
            await self._turn_away(stream, turned_away)
            return
        link = _ServedLink(self, address, stream)
        self.add(link)
        try:
            await link.run()
        finally:
            refused = isinstance(link.reason, AuthenticationError)
            self.gate.left(address, was_open=link.was_open, refused=refused)
            self.discard(link)

    async def _turn_away(self, stream: anyio.abc.SocketStream, refused: UnreachableError) -> None:
        """Say why, and close once the client's first bytes were read: unread, they would tear the answer down."""
        gone = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
        with anyio.move_on_after(LINGER), contextlib.suppress(*gone):
            async with stream:
                await stream.send(refusal(refused.kind, refused.message))
                await stream.receive()

    async def look(self) -> None:
        """Cut those off who hold too much, as long as the server lives."""
        while True:
            await anyio.sleep(HELD_SECONDS)
            self.shares.cut_off()

    async def aclose(self) -> None:
        """Close all links."""
        async with anyio.create_task_group() as group:
            for link in self.links:
                group.start_soon(link.aclose)


@asynccontextmanager
async def serve_anyio(setup: Setup, sockets: list[socket.socket]) -> AsyncIterator[Server]:
    """Serve until the context ends."""
    failure: BaseException | None = None
    listeners = [await anyio.abc.SocketListener.from_socket(sock) for sock in sockets]
    async with anyio.create_task_group() as links:
        server = AnyioServer(setup, sockets, links)
        links.start_soon(server.look)
        async with anyio.create_task_group() as accepting:
            for listener in listeners:
                accepting.start_soon(listener.serve, server.handle, links)
            try:
                yield server
            except Exception as error:  # carried past the task groups, which would wrap it
                failure = error
            accepting.cancel_scope.cancel()
        await server.aclose()
        links.cancel_scope.cancel()
    if failure is not None:
        raise failure
