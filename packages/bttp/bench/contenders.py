"""Contenders of the benchmarks: each a server in a process of its own, and a client in this one.

`python -m packages.bttp.bench.contenders NAME` runs a server: it prints its port, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bttp
import grpc
import grpc.aio
from btlib import BlockPath, KeyPair, Suite
from btlib.identity import Identity
from btlib.writecaps import Chain, Rights, issue_writecap
from bttp._certificates import EphemeralKeys

from packages.bttp.bench import peers
from packages.bttp.bench.peers import Client
from packages.bttp.bench.pump import Pump

ROOT = Path(__file__).resolve().parents[3]
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def _key(number: int) -> KeyPair:
    return KeyPair.from_seed(Suite.ED25519_X25519, bytes([number]) * 32)


_DOMAIN = _key(1)
_PLACE = BlockPath(_DOMAIN.public.principal, ("hosts", "bench"))
ECHO = _PLACE.child("echo")
TOPIC = _PLACE.child("topic")


def _identity(number: int) -> Identity:
    key = _key(number)
    chain = issue_writecap(
        _DOMAIN,
        Chain(),
        subject=key.public.principal,
        path=_PLACE,
        scope=bytes(16),
        rights=Rights.EXECUTE,
        not_before=0,
        not_after=2**40,
        may_delegate=False,
        serial=bytes([number]) * 16,
    )
    return Identity(signer=key, opener=key, chains=(chain,))


def _echo(request: bttp.Request) -> memoryview | None:
    return request.body if len(request.body) <= 64 * 1024 else None


async def _echo_async(request: bttp.Request) -> memoryview | None:
    return _echo(request)


@asynccontextmanager
async def _serve_link(handler: Callable[[bttp.Request], Any], inline: bool) -> AsyncIterator[tuple[int, str]]:
    router = bttp.Router()
    router.add(ECHO, handler, inline=inline)
    async with bttp.serve(["127.0.0.1:0"], _identity(2), router, roots=[_DOMAIN.public.principal]) as server:
        yield int(server.endpoints[0].rpartition(":")[2]), ""


@asynccontextmanager
async def _serve_place() -> AsyncIterator[tuple[int, str]]:
    """Calls, streams that are read and forgotten, and topics, for more links and subscribers than is usual."""

    async def sink(stream: bttp.Stream) -> None:
        async for _ in stream:
            pass

    router = bttp.Router()
    router.add(ECHO, _echo, inline=True)
    router.add_stream(ECHO, sink)
    bttp.Broker().add_to(router, TOPIC)
    many = bttp.ServerLimits(
        max_links_per_principal=2000,
        max_streams_per_principal=20_000,
        max_handlers_per_principal=40_000,
        max_handshakes_per_address=100,
    )
    root = _DOMAIN.public.principal
    async with bttp.serve(["127.0.0.1:0"], _identity(2), router, roots=[root], server_limits=many) as server:
        yield int(server.endpoints[0].rpartition(":")[2]), ""


def dial(port: int) -> AbstractAsyncContextManager[bttp.Link]:
    """A link to a server of `place`."""
    return bttp.connect(f"127.0.0.1:{port}", _identity(3), root=_DOMAIN.public.principal)


@asynccontextmanager
async def connect_link(port: int, _keys: str = "") -> AsyncIterator[Client]:
    async with dial(port) as link:
        yield Client(partial(link.call, ECHO, timeout=30), partial(link.send, ECHO))


@asynccontextmanager
async def _serve_pump() -> AsyncIterator[tuple[int, str]]:
    keys = EphemeralKeys()
    context = keys.server_context(keys.certificate)  # both ends hold the same key here; no identities, only cost
    context.verify_mode = ssl.CERT_NONE
    server = await asyncio.get_running_loop().create_server(lambda: Pump(context, True), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], ""


@asynccontextmanager
async def connect_pump(port: int, _keys: str = "") -> AsyncIterator[Client]:
    loop = asyncio.get_running_loop()
    context = EphemeralKeys().client_context()
    _, pump = await loop.create_connection(lambda: Pump(context, False), "127.0.0.1", port)
    await pump.ready
    yield Client(pump.call, pump.send)
    pump.close()


@asynccontextmanager
async def _serve_grpc() -> AsyncIterator[tuple[int, str]]:
    async def echo(request: bytes, _context: object) -> bytes:
        return request if len(request) <= 64 * 1024 else b""

    certificate, private = peers.make_certificate()
    server = grpc.aio.server(options=_OPTIONS)
    methods = {"echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", methods),))
    credentials = grpc.ssl_server_credentials([(private, certificate)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield port, b64encode(certificate).decode()
    await server.stop(None)


@asynccontextmanager
async def connect_grpc(port: int, certificate: str) -> AsyncIterator[Client]:
    credentials = grpc.ssl_channel_credentials(b64decode(certificate))
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=_OPTIONS) as channel:
        yield Client(channel.unary_unary("/bench/echo"), _no_send)


async def _no_send(body: bytes) -> None:
    raise NotImplementedError("gRPC has no such message")


#: By name: a server, which yields its port and what a client must know of its keys; and a client of it.
CONTENDERS: dict[str, tuple[Callable[[], Any], Callable[[int, str], Any]]] = {
    "link": (lambda: _serve_link(_echo, True), connect_link),
    "link-async": (lambda: _serve_link(_echo_async, False), connect_link),
    "place": (_serve_place, connect_link),
    "pump": (_serve_pump, connect_pump),
    "grpc": (_serve_grpc, connect_grpc),
    "websockets": (peers.serve_websockets, peers.connect_websockets),
    "zeromq": (peers.serve_zeromq, peers.connect_zeromq),
    "nats": (peers.serve_nats, peers.connect_nats),
}


@contextmanager
def serving(name: str) -> Iterator[tuple[int, int, str]]:
    """The server of the named contender, in a process of its own: the process, its port, and what is to be known."""
    command = [sys.executable, "-m", "packages.bttp.bench.contenders", name]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port, _, keys = process.stdout.readline().strip().partition(" ")
        yield process.pid, int(port), keys
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@asynccontextmanager
async def running(name: str) -> AsyncIterator[Client]:
    """A client of the named contender, whose server runs for as long as the context."""
    with serving(name) as (process, port, keys):
        async with CONTENDERS[name][1](port, keys) as client:
            yield replace(client, server=process)


async def _serve(name: str) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    async with CONTENDERS[name][0]() as (port, keys):
        print(port, keys, flush=True)

        def wait_for_end() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait_for_end, daemon=True).start()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
