"""Peers that keep to no protocol, over real sockets: a server to attack, and a client that says what it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.testing import make_domain_identities

from .._auth import Role, prove, transcript
from .._certificates import EphemeralKeys
from .._frames import FrameKind, FrameReader, Hello, frame, hello_frame, parse_text
from .._limits import Limits, ServerLimits
from .._preface import preface
from .._router import Router
from .._tls import TlsPump
from ..blocking import BlockingServer, connect, serve

DOMAIN = make_domain_identities("server", "alice")
ROOT = DOMAIN.principal
ECHO = DOMAIN.path.child("echo")
QUICK = Limits(handshake_seconds=0.3)
HELLO = Hello(version=1, auths=1, max_calls=10, max_body=1000, send_window=1000, stream_window=1000, link_window=5000)
GREEDY = Hello(
    version=1,
    auths=1,
    max_calls=1000,
    max_body=1 << 30,
    send_window=1 << 30,
    stream_window=1 << 30,
    link_window=1 << 30,
)
WAIT = 10.0

Frame = tuple[int, bytes]


class Target(Protocol):
    """A server to attack."""

    @property
    def endpoints(self) -> tuple[str, ...]: ...


@contextlib.contextmanager
def serving(limits: Limits = QUICK, router: Router | None = None, **more: int) -> Iterator[BlockingServer]:
    """A server that must be as well as ever when it was attacked. `more`: limits of the server."""
    router = router or Router()
    router.add(ECHO, lambda request: request.body)
    server_limits = ServerLimits(**more)
    with serve(
        ["127.0.0.1:0"], DOMAIN["server"], router, roots=[ROOT], limits=limits, server_limits=server_limits
    ) as server:
        yield server
        wait_until(lambda: server.statistics.handshakes == 0)
        with connect(server.endpoints[0], DOMAIN["alice"], root=ROOT) as link:
            assert bytes(link.call(ECHO, b"still well", timeout=WAIT)) == b"still well"


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        threading.Event().wait(0.005)


def dial(server: Target) -> socket.socket:
    host, _, port = server.endpoints[0].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=WAIT)


def answer(sock: socket.socket) -> bytes:
    """Everything until the other side ends the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


class Evil:
    """A client that does the handshake by hand."""

    def __init__(self, server: Target, keys: EphemeralKeys, shown: bytes | None = None) -> None:
        self.sock = dial(server)
        self.sock.sendall(preface(keys.certificate if shown is None else shown))
        self.tls = TlsPump(keys.client_context(), server_side=False)
        self.reader = FrameReader(lambda _stream, _length: None)
        self.keys = keys

    def shake(self) -> None:
        while not self.tls.handshake():
            self.sock.sendall(self.tls.take())
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionResetError
            self.tls.feed(data)
        self.sock.sendall(self.tls.take())

    @property
    def transcript(self) -> bytes:
        return transcript(self.keys.certificate, self.tls.peer_certificate)

    def say(self, *frames: bytes) -> None:
        self.tls.write(b"".join(frames))
        self.sock.sendall(self.tls.take())

    def introduce(self, proof: bytes, hello: Hello = HELLO) -> None:
        self.say(hello_frame(hello), frame(FrameKind.AUTH, 0, proof))

    def hear(self, *until: FrameKind) -> list[Frame]:
        """All frames until one of these kinds, or the end."""
        out: list[Frame] = []
        while True:
            if any(kind in until for kind, _ in out):
                return out
            if count := self.tls.read_into(self.reader.space()):
                self.reader.filled(count)
                out += [(kind, bytes(self.reader.buffer[a:b])) for kind, _, a, b in self.reader.frames()]
            elif self.tls.ended:
                return out
            elif data := self.sock.recv(65536):
                self.tls.feed(data)
            else:
                return out

    def open(self, identity: Identity, *frames: bytes) -> None:
        """An open link, on which route 1 leads to ECHO; then say these frames."""
        self.shake()
        self.introduce(prove(identity, Role.CLIENT, self.transcript), GREEDY)
        self.hear(FrameKind.ACCEPT)
        self.say(frame(FrameKind.ROUTE, 1, str(ECHO).encode()), *frames)

    def last_words(self) -> tuple[Kind, str]:
        """Kind and text of the refusal or violation with which the server ended the link."""
        kind, payload = self.hear()[-1]
        assert kind in (FrameKind.REFUSE, FrameKind.VIOLATION)
        return parse_text(payload)

    def __enter__(self) -> Evil:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
