"""An endpoint for Prometheus: `GET /metrics` over plain HTTP/1.1, one request a connection.

It has neither TLS nor authentication: give it a loopback address or a Unix socket. It reads at most 4 KiB, for at most
5 s, from at most 8 clients at once, and answers nothing but that one page.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc

from ._endpoints import parse_endpoint
from ._prometheus import CONTENT_TYPE
from ._sockets import close_listeners, endpoint_of, listen

_MAX_HEAD = 4096  # bytes of a request; a scraper's has some 300
_SECONDS = 5.0  # for one connection
_CLIENTS = 8  # at once; more wait in the kernel's queue


@asynccontextmanager
async def serve_metrics(endpoint: str, render: Callable[[], str]) -> AsyncIterator[tuple[str, ...]]:
    """Serve what `render` gives at each request, until the context ends. Gives the endpoints, with actual ports.

    `render` runs in the event loop and must not block: `lambda: prometheus_text(server.statistics, server.traffic)`.
    Raises BttpError where the endpoint cannot be had.
    """
    sockets = listen(parse_endpoint(endpoint))
    limiter = anyio.CapacityLimiter(_CLIENTS)

    async def handle(stream: anyio.abc.SocketStream) -> None:
        gone = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
        async with limiter:
            with anyio.move_on_after(_SECONDS), contextlib.suppress(*gone):
                async with stream:
                    await stream.send(answer(await _head(stream), render))

    try:
        listeners = [await anyio.abc.SocketListener.from_socket(sock) for sock in sockets]
        async with anyio.create_task_group() as group:
            for listener in listeners:
                group.start_soon(listener.serve, handle)
            yield tuple(map(endpoint_of, sockets))
            group.cancel_scope.cancel()
    finally:
        close_listeners(sockets, [endpoint])


async def _head(stream: anyio.abc.SocketStream) -> bytes:
    """The head of a request, or what came of it within the limit."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
        head += await stream.receive(_MAX_HEAD)
    return head[:_MAX_HEAD]


def answer(head: bytes, render: Callable[[], str]) -> bytes:
    """The response to a request with this head."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if b"\r\n\r\n" not in head or len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _response("400 Bad Request", "this is no HTTP request, or too long a one\n")
    if words[0] not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", "use GET\n", "Allow: GET, HEAD\r\n")
    if words[1].split(b"?", 1)[0] != b"/metrics":
        return _response("404 Not Found", "the counters are at /metrics\n")
    response = _response("200 OK", render(), kind=CONTENT_TYPE)
    return response if words[0] == b"GET" else response[: response.index(b"\r\n\r\n") + 4]


def _response(status: str, text: str, more: str = "", kind: str = "text/plain; charset=utf-8") -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + body
