"""The peers of `bttp-peers` that may be missing: websockets, ZeroMQ with CURVE, NATS with TLS.

Each is used as its manual says, with as little around it as a call needs: a number that comes back with the answer.
A server yields its port and what a client must know of its keys, in one word.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib.util
import ipaddress
import shutil
import socket
import ssl
import struct
import tempfile
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NUMBER = struct.Struct("<Q")
_NO_ANSWER = 0  # the number of a message
_LARGEST = 8 * 1024 * 1024


@dataclass(frozen=True)
class Client:
    """What is measured."""

    #: A round trip; a small body comes back, a large one is only acknowledged.
    call: Callable[[bytes], Awaitable[object]]
    #: Fire and forget.
    send: Callable[[bytes], Awaitable[None]]
    server: int = 0  #: the process at the other end


def missing(label: str) -> str | None:
    """Why this peer cannot be measured here; None: it can."""
    module = {"websockets": "websockets", "zeromq": "zmq", "nats": "nats"}.get(label)
    if module is not None and importlib.util.find_spec(module) is None:
        return f"the Python package {module} is not installed"
    if label == "nats" and shutil.which("nats-server") is None:
        return "there is no nats-server (Debian: apt install nats-server)"
    return None


def answer(body: bytes) -> bytes:
    return body if len(body) <= 64 * 1024 else b""


def make_certificate() -> tuple[bytes, bytes]:
    """A certificate for the loopback, and its key; PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


class _Calls:
    """Numbers for calls, and who waits for their answers."""

    def __init__(self) -> None:
        self._next = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    def begin(self) -> tuple[bytes, asyncio.Future[bytes]]:
        self._next += 1
        waiter = self._waiting[self._next] = asyncio.get_running_loop().create_future()
        return _NUMBER.pack(self._next), waiter

    def answered(self, number: bytes, body: bytes) -> None:
        self._waiting.pop(_NUMBER.unpack(number)[0]).set_result(body)


# --- websockets


@asynccontextmanager
async def serve_websockets() -> AsyncIterator[tuple[int, str]]:
    from websockets.asyncio.server import serve

    async def echo(connection: Any) -> None:
        async for message in connection:
            if _NUMBER.unpack_from(message)[0] != _NO_ANSWER:
                await connection.send(message[:8] + answer(message[8:]))

    certificate, key = make_certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _files(certificate=certificate, key=key) as place:
        context.load_cert_chain(place / "certificate", place / "key")
    async with serve(echo, "127.0.0.1", 0, ssl=context, compression=None, max_size=_LARGEST) as server:
        yield server.sockets[0].getsockname()[1], b64encode(certificate).decode()


@asynccontextmanager
async def connect_websockets(port: int, secret: str) -> AsyncIterator[Client]:
    from websockets.asyncio.client import connect

    context = ssl.create_default_context(cadata=b64decode(secret).decode())
    calls = _Calls()
    address = f"wss://127.0.0.1:{port}"
    async with connect(address, ssl=context, compression=None, max_size=_LARGEST, proxy=None) as connection:

        async def read() -> None:
            async for message in connection:
                assert isinstance(message, bytes)
                calls.answered(message[:8], message[8:])

        async def call(body: bytes) -> bytes:
            number, waiter = calls.begin()
            await connection.send(number + body)
            return await waiter

        async def send(body: bytes) -> None:
            await connection.send(_NUMBER.pack(_NO_ANSWER) + body)

        reader = asyncio.ensure_future(read())
        yield Client(call, send)
        reader.cancel()


# --- ZeroMQ with CURVE


@asynccontextmanager
async def serve_zeromq() -> AsyncIterator[tuple[int, str]]:
    import zmq
    import zmq.asyncio

    public, secret = zmq.curve_keypair()
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    router.curve_server, router.curve_publickey, router.curve_secretkey = True, public, secret
    router.set_hwm(100_000)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    async def echo() -> None:
        while True:
            peer, number, body = await router.recv_multipart()
            if _NUMBER.unpack(number)[0] != _NO_ANSWER:
                await router.send_multipart([peer, number, answer(body)])

    task = asyncio.ensure_future(echo())
    yield port, public.decode()
    task.cancel()
    context.destroy(linger=0)


@asynccontextmanager
async def connect_zeromq(port: int, secret: str) -> AsyncIterator[Client]:
    import zmq
    import zmq.asyncio

    context = zmq.asyncio.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
    dealer.curve_serverkey = secret.encode()
    dealer.set_hwm(100_000)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    calls = _Calls()

    async def read() -> None:
        while True:
            calls.answered(*await dealer.recv_multipart())

    async def call(body: bytes) -> bytes:
        number, waiter = calls.begin()
        await dealer.send_multipart([number, body])
        return await waiter

    async def send(body: bytes) -> None:
        await dealer.send_multipart([_NUMBER.pack(_NO_ANSWER), body])

    reader = asyncio.ensure_future(read())
    yield Client(call, send)
    reader.cancel()
    context.destroy(linger=0)


# --- NATS with TLS: a server between the two, which is how NATS works


@asynccontextmanager
async def serve_nats() -> AsyncIterator[tuple[int, str]]:
    import nats

    async def echo(message: Any) -> None:
        if message.reply:
            await message.respond(answer(message.data))

    async def not_yet(_error: Exception) -> None:
        """The server is still starting; the client tries again, and would print a traceback."""

    certificate, key = make_certificate()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with _files(certificate=certificate, key=key) as place:
        tls = f'tls {{ cert_file: "{place}/certificate", key_file: "{place}/key" }}'
        settings = f"listen: 127.0.0.1:{port}\nmax_payload: {_LARGEST}\nmax_pending: 256MB\n{tls}\n"
        (place / "settings").write_text(settings)
        quiet = asyncio.subprocess.DEVNULL
        command = ("nats-server", "-c", str(place / "settings"))
        process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
        try:
            known = b64encode(certificate).decode()
            connection = await nats.connect(f"tls://127.0.0.1:{port}", tls=_trusts(known), error_cb=not_yet)
            await connection.subscribe("bench", cb=echo, pending_msgs_limit=-1, pending_bytes_limit=-1)
            await connection.flush()
            yield port, known
            await connection.close()
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def connect_nats(port: int, secret: str) -> AsyncIterator[Client]:
    import nats

    connection = await nats.connect(f"tls://127.0.0.1:{port}", tls=_trusts(secret))

    async def call(body: bytes) -> bytes:
        message = await connection.request("bench", body, timeout=30)
        return bytes(message.data)

    async def send(body: bytes) -> None:
        await connection.publish("bench", body)

    yield Client(call, send)
    await connection.close()


def _trusts(known: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=b64decode(known).decode())


class _files(tempfile.TemporaryDirectory[str]):
    """A directory with these files, for as long as the context."""

    def __init__(self, **contents: bytes) -> None:
        super().__init__()
        self._contents = contents

    def __enter__(self) -> Path:  # type: ignore[override]
        place = Path(super().__enter__())
        for name, content in self._contents.items():
            (place / name).write_bytes(content)
        return place
