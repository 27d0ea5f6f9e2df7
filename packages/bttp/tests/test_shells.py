"""Every shell passes the conformance suite: threads, asyncio, uvloop and trio, over TCP and Unix sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import bttp
import bttp.blocking
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from btlib import BlockPath, Principal
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from bttp._endpoints import Endpoints
from bttp.testing import check_shell
from bttp.testing._shell_suite import CHECKS
from bttp.testing._stage import (
    LastingLinkUnderTest,
    LinkUnderTest,
    Revoked,
    ServerUnderTest,
    ShellUnderTest,
    nothing_revoked,
)


class Threads:
    """The blocking shell."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._served = 0

    @contextmanager
    def serve(
        self,
        identity: Identity,
        router: bttp.Router,
        root: Principal,
        limits: bttp.Limits,
        revoked: Revoked = nothing_revoked,
    ) -> Iterator[ServerUnderTest]:
        policy = bttp.RootPolicy([root], revocations=revoked)
        with bttp.blocking.serve([self._place()], identity, router, policy=policy, limits=limits) as server:
            yield server

    def _place(self) -> str:
        """Each server at another socket; ports are free anyway."""
        self._served += 1
        return self._endpoint if self._served == 1 or self._endpoint == TCP else f"{self._endpoint}{self._served}"

    @contextmanager
    def reconnecting(
        self, endpoints: Endpoints, identity: Identity, root: Principal, settings: bttp.Reconnection
    ) -> Iterator[LastingLinkUnderTest]:
        with bttp.blocking.reconnecting(endpoints, identity, root=root, settings=settings) as link:
            yield _Lasting(link)

    @contextmanager
    def connect(
        self,
        endpoint: str,
        identity: Identity | None,
        root: Principal,
        server: BlockPath | None,
        revoked: Revoked = nothing_revoked,
    ) -> Iterator[LinkUnderTest]:
        with bttp.blocking.connect(endpoint, identity, root=root, server=server, revocations=revoked) as link:
            yield link

    @contextmanager
    def subscribe(
        self, link: Any, path: BlockPath, *, below: bool, when_slow: bttp.WhenSlow, queue: int
    ) -> Iterator[Callable[[], bttp.Message]]:
        options: Any = {"below": below, "when_slow": when_slow, "queue": queue}
        lasting = isinstance(link, _Lasting)
        with link.subscribe(path, **options) if lasting else bttp.blocking.subscribe(link, path, **options) as messages:
            yield lambda: next(messages)


class _Lasting(bttp.blocking.BlockingReconnectingLink):
    """One whose link can be cut off."""

    def __init__(self, link: bttp.blocking.BlockingReconnectingLink) -> None:
        self.__dict__ = link.__dict__  # the same one, with one more method

    def cut(self) -> None:
        self.ready().close()


class _PortalStream:
    """A stream of an event loop, used from a thread."""

    def __init__(self, portal: BlockingPortal, stream: bttp.Stream) -> None:
        self._portal, self._stream = portal, stream
        self.path, self.body, self.peer = stream.path, stream.body, stream.peer

    @property
    def trace(self) -> bttp.TraceParent | None:
        return self._stream.trace

    @property
    def reason(self) -> bttp.BttpError | None:
        return self._stream.reason

    def send(self, body: Any) -> None:
        self._portal.call(self._stream.send, body)

    def receive(self) -> memoryview | None:
        return self._portal.call(self._stream.receive)

    def finish(self) -> None:
        self._portal.call(self._stream.finish)

    def complete(self) -> None:
        self._portal.call(self._stream.complete)

    def cancel(self, kind: Kind = Kind.CANCELLED, text: str = "") -> None:
        self._portal.call(self._stream.cancel, kind, text)

    def __iter__(self) -> Iterator[memoryview]:
        while (item := self.receive()) is not None:
            yield item


class _PortalLink:
    """A link of an event loop, used from a thread."""

    def __init__(self, portal: BlockingPortal, link: bttp.Link) -> None:
        self._portal, self._link = portal, link

    @property
    def peer(self) -> bttp.Peer:
        return self._link.peer

    @property
    def peer_instance(self) -> int:
        return self._link.peer_instance

    @property
    def closed(self) -> bool:
        return self._link.closed

    @property
    def reason(self) -> bttp.BttpError | None:
        return self._link.reason

    def prove(self, identity: Identity) -> None:
        self._portal.call(self._link.prove, identity)

    def recheck(self) -> None:
        self._portal.call(self._link.recheck)

    def call(
        self,
        path: BlockPath | str,
        body: Any = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: bttp.TraceParent | None = None,
        repeat: bttp.Repeat | None = None,
    ) -> memoryview:
        async def call() -> memoryview:
            return await self._link.call(path, body, timeout=timeout, key=key, trace=trace, repeat=repeat)

        return self._portal.call(call)

    def send(self, path: BlockPath | str, body: Any = b"", *, trace: bttp.TraceParent | None = None) -> None:
        async def send() -> None:
            await self._link.send(path, body, trace=trace)

        self._portal.call(send)

    @contextmanager
    def stream(
        self,
        path: BlockPath | str,
        body: Any = b"",
        *,
        timeout: float | None = None,
        trace: bttp.TraceParent | None = None,
    ) -> Iterator[bttp.BlockingStream]:
        async def open_one() -> bttp.Stream:
            return self._link.stream(path, body, timeout=timeout, trace=trace)

        with self._portal.wrap_async_context_manager(self._portal.call(open_one)) as stream:
            yield _PortalStream(self._portal, stream)

    def drain(self, timeout: float = 5.0) -> bool:
        return self._portal.call(self._link.drain, timeout)

    def close(self) -> None:
        self._portal.call(self._link.aclose)


class _PortalServer:
    """A server of an event loop, used from a thread."""

    def __init__(self, portal: BlockingPortal, server: bttp.Server) -> None:
        self._portal, self._server = portal, server

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self._server.endpoints

    def recheck(self) -> None:
        self._portal.call(self._server.recheck)

    def renew(self, identity: Identity) -> None:
        self._portal.call(self._server.renew, identity)

    def publish(self, broker: bttp.Broker, topic: BlockPath, body: bytes | memoryview) -> int:
        return self._portal.call(broker.publish, topic, body)

    def drain(self, timeout: float = 5.0) -> bool:
        return self._portal.call(self._server.drain, timeout)


class _PortalLasting:
    """A reconnecting link of an event loop, used from a thread."""

    def __init__(self, portal: BlockingPortal, link: bttp.ReconnectingLink) -> None:
        self._portal, self._link = portal, link

    @property
    def links_opened(self) -> int:
        return self._link.links_opened

    def ready(self, timeout: float | None = None) -> object:
        return self._portal.call(self._link.ready, timeout)

    def renew(self, identity: Identity) -> None:
        self._portal.call(self._link.renew, identity)

    def cut(self) -> None:
        async def cut() -> None:
            await (await self._link.ready()).aclose()

        self._portal.call(cut)

    def call(self, path: BlockPath | str, body: Any = b"", **options: Any) -> memoryview:
        return self._portal.call(partial(self._link.call, path, body, **options))

    def send(self, path: BlockPath | str, body: Any = b"", **options: Any) -> None:
        self._portal.call(partial(self._link.send, path, body, **options))

    @contextmanager
    def stream(self, path: BlockPath | str, body: Any = b"", **options: Any) -> Iterator[bttp.BlockingStream]:
        with self._portal.wrap_async_context_manager(self._link.stream(path, body, **options)) as stream:
            yield _PortalStream(self._portal, stream)

    def drain(self, timeout: float = 5.0) -> bool:
        return self._portal.call(self._link.drain, timeout)

    def close(self) -> None:
        self._portal.call(self._link.aclose)


class Loop:
    """The async shell on one backend; server and client each have a loop."""

    def __init__(self, endpoint: str, backend: str, options: dict[str, Any]) -> None:
        self._endpoint, self._backend, self._options = endpoint, backend, options
        self._served = 0

    @contextmanager
    def serve(
        self,
        identity: Identity,
        router: bttp.Router,
        root: Principal,
        limits: bttp.Limits,
        revoked: Revoked = nothing_revoked,
    ) -> Iterator[ServerUnderTest]:
        policy = bttp.RootPolicy([root], revocations=revoked)
        with start_blocking_portal(self._backend, self._options) as portal:
            serving = bttp.serve([self._place()], identity, router, policy=policy, limits=limits)
            with portal.wrap_async_context_manager(serving) as server:
                yield _PortalServer(portal, server)

    def _place(self) -> str:
        self._served += 1
        return self._endpoint if self._served == 1 or self._endpoint == TCP else f"{self._endpoint}{self._served}"

    @contextmanager
    def reconnecting(
        self, endpoints: Endpoints, identity: Identity, root: Principal, settings: bttp.Reconnection
    ) -> Iterator[LastingLinkUnderTest]:
        with start_blocking_portal(self._backend, self._options) as portal:
            connecting = bttp.reconnecting(endpoints, identity, root=root, settings=settings)
            with portal.wrap_async_context_manager(connecting) as link:
                yield _PortalLasting(portal, link)

    @contextmanager
    def connect(
        self,
        endpoint: str,
        identity: Identity | None,
        root: Principal,
        server: BlockPath | None,
        revoked: Revoked = nothing_revoked,
    ) -> Iterator[LinkUnderTest]:
        with start_blocking_portal(self._backend, self._options) as portal:
            connecting = bttp.connect(endpoint, identity, root=root, server=server, revocations=revoked)
            with portal.wrap_async_context_manager(connecting) as link:
                yield _PortalLink(portal, link)

    @contextmanager
    def subscribe(
        self, link: Any, path: BlockPath, *, below: bool, when_slow: bttp.WhenSlow, queue: int
    ) -> Iterator[Callable[[], bttp.Message]]:
        options: Any = {"below": below, "when_slow": when_slow, "queue": queue}
        lasting = isinstance(link, _PortalLasting)
        subscribing = link._link.subscribe(path, **options) if lasting else bttp.subscribe(link._link, path, **options)
        with link._portal.wrap_async_context_manager(subscribing) as messages:
            yield lambda: link._portal.call(messages.__anext__)


TCP = "127.0.0.1:0"
SHELLS: dict[str, Callable[[str], ShellUnderTest]] = {
    "threads": Threads,
    "asyncio": lambda endpoint: Loop(endpoint, "asyncio", {}),
    "trio": lambda endpoint: Loop(endpoint, "trio", {}),
}


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__.removeprefix("check_") for check in CHECKS])
@pytest.mark.parametrize("name", SHELLS)
def test_shell_conforms_over_tcp(name: str, check: Callable[[ShellUnderTest], None]) -> None:
    check(SHELLS[name](TCP))


@pytest.mark.parametrize("name", SHELLS)
def test_shell_conforms_over_a_unix_socket(name: str, tmp_path: Path) -> None:
    check_shell(SHELLS[name](f"unix:{tmp_path}/socket"))
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_server_survives_those_it_turns_away(backend: str) -> None:
    domain = make_domain_identities("server", "alice")
    root, router = domain.principal, bttp.Router()
    tight = bttp.ServerLimits(max_handshakes=1)
    with start_blocking_portal(backend) as portal:
        serving = bttp.serve([TCP], domain["server"], router, roots=[root], server_limits=tight)
        with portal.wrap_async_context_manager(serving) as server:
            host, _, port = server.endpoints[0].rpartition(":")
            with socket.create_connection((host, int(port))):
                for _ in range(3):
                    with pytest.raises(bttp.UnreachableError, match="max_handshakes"):
                        bttp.blocking.connect(server.endpoints[0], domain["alice"], root=root)
                    socket.create_connection((host, int(port))).close()
            until = time.monotonic() + 10
            while server.statistics.handshakes:
                assert time.monotonic() < until
                threading.Event().wait(0.005)
            bttp.blocking.connect(server.endpoints[0], domain["alice"], root=root).close()


def test_asyncio_shell_conforms_on_uvloop() -> None:
    pytest.importorskip("uvloop")
    check_shell(Loop(TCP, "asyncio", {"use_uvloop": True}))
