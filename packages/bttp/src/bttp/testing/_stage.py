"""What the conformance suite plays on: a server with handlers, a link to it, and what both must look like."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

import anyio
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.testing import DomainIdentities, make_domain_identities

from .._broker import Broker
from .._endpoints import Endpoints
from .._fields import Repeat
from .._frames import Buffer
from .._limits import Limits
from .._peer import Peer
from .._redial import Reconnection
from .._router import Body, Request, Router
from .._stream import BlockingStream, Stream
from .._topics import Message, WhenSlow
from .._trace import TraceParent
from ..errors import BttpError

Revoked: TypeAlias = Callable[[Principal], Revocations]

WAIT = 10.0  #: seconds after which a test gives up; nothing here takes a tenth of one


def nothing_revoked(_root: Principal) -> Revocations:
    """Nothing was revoked."""
    return NO_REVOCATIONS


class LinkUnderTest(Protocol):
    """A link as a thread uses it."""

    @property
    def peer(self) -> Peer: ...

    @property
    def peer_instance(self) -> int: ...

    @property
    def closed(self) -> bool: ...

    @property
    def reason(self) -> BttpError | None: ...

    def prove(self, identity: Identity) -> None: ...

    def recheck(self) -> None: ...

    def call(
        self,
        path: BlockPath | str,
        body: Body = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: TraceParent | None = None,
        repeat: Repeat | None = None,
    ) -> memoryview: ...

    def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None: ...

    def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> AbstractContextManager[BlockingStream]: ...

    def drain(self, timeout: float = 5.0) -> bool: ...

    def close(self) -> None: ...


class Closable(Protocol):
    """A link of either kind."""

    def close(self) -> None: ...


class LastingLinkUnderTest(Protocol):
    """A reconnecting link as a thread uses it."""

    @property
    def links_opened(self) -> int: ...

    def ready(self, timeout: float | None = None) -> object: ...

    def renew(self, identity: Identity) -> None: ...

    def cut(self) -> None:
        """End its link from under it."""
        ...

    def call(
        self,
        path: BlockPath | str,
        body: Body = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: TraceParent | None = None,
    ) -> memoryview: ...

    def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None: ...

    def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> AbstractContextManager[BlockingStream]: ...

    def drain(self, timeout: float = 5.0) -> bool: ...

    def close(self) -> None: ...


class ServerUnderTest(Protocol):
    """A server as a thread uses it."""

    @property
    def endpoints(self) -> tuple[str, ...]: ...

    def recheck(self) -> None: ...

    def renew(self, identity: Identity) -> None: ...

    def publish(self, broker: Broker, topic: BlockPath, body: bytes | memoryview) -> int: ...

    def drain(self, timeout: float = 5.0) -> bool: ...


class ShellUnderTest(Protocol):
    """A shell."""

    def serve(
        self, identity: Identity, router: Router, root: Principal, limits: Limits, revoked: Revoked = nothing_revoked
    ) -> AbstractContextManager[ServerUnderTest]:
        """Serve on some free endpoint."""
        ...

    def connect(
        self,
        endpoint: str,
        identity: Identity | None,
        root: Principal,
        server: BlockPath | None,
        revoked: Revoked = nothing_revoked,
    ) -> AbstractContextManager[LinkUnderTest]:
        """An open link."""
        ...

    def reconnecting(
        self, endpoints: Endpoints, identity: Identity, root: Principal, settings: Reconnection
    ) -> AbstractContextManager[LastingLinkUnderTest]:
        """A link that is made again."""
        ...

    def subscribe(
        self,
        link: LinkUnderTest | LastingLinkUnderTest,
        path: BlockPath,
        *,
        below: bool,
        when_slow: WhenSlow,
        queue: int,
    ) -> AbstractContextManager[Callable[[], Message]]:
        """A subscription; what it gives waits for the next message."""
        ...


class Stage:
    """A server with handlers, and the domain it belongs to."""

    def __init__(self, domain: DomainIdentities | None = None) -> None:
        self.domain = domain or make_domain_identities("server", "alice")
        self.place = self.domain.path.child("hosts")
        self.router = Router()
        self.started = threading.Event()
        self.release = threading.Event()
        self.cancelled: Future[bool] = Future()
        self.sent: list[bytes] = []
        self.gone = threading.Event()
        self.done = threading.Event()
        self.router.add(self.place.child("thread"), lambda request: request.body)
        self.router.add(self.place.child("inline"), lambda request: request.body, inline=True)
        self.router.add(self.place.child("async"), self._async_echo)
        self.router.add(self.place.child("slow"), self._slow)
        self.router.add(self.place.child("fails"), self._fails)
        self.router.add(self.place.child("refuses"), self._refuses)
        self.router.add(self.place.child("busy"), self._busy)
        self.router.add(self.place.child("parts"), self._parts)
        self.router.add(self.place.child("keep-async"), self._keep)
        self.router.add(self.place.child("keep"), lambda request: self.sent.append(bytes(request.body)), inline=True)
        self.reason: Future[BttpError | None] = Future()
        self.broker = Broker()
        self.broker.add_to(self.router, self.place.child("topics"))
        self.router.add_stream(self.place.child("echo"), self._echo_items)
        self.router.add_stream(self.place.child("echo-thread"), self._echo_items_in_thread)
        self.router.add_stream(self.place.child("stuck"), self._stuck)
        self.router.add_stream(self.place.child("stuck-thread"), self._stuck_in_thread)
        self.router.add_stream(self.place.child("refuses"), self._refuse_stream)
        self.router.add_stream(self.place.child("fails"), self._fail_stream)
        self.router.add_stream(self.place.child("hasty"), self._hasty)
        self.counted = 0
        for name in ("count", "count-inline"):
            self.router.add(self.place.child(name), self._count, inline=name.endswith("inline"))
        self.router.add(self.place.child("slow-async"), self._slow_async)
        self.router.add(self.place.child("traced"), self._tell_trace)
        self.router.add_stream(self.place.child("traced"), self._tell_trace_of_stream)
        self.router.add_stream(self.place.child("traced-thread"), self._tell_trace_in_thread)
        self.router.add(self.place.child("watch"), lambda request: request.link.on_close(self.gone.set), inline=True)

    async def _keep(self, request: Request) -> None:
        self.sent.append(bytes(request.body))

    def _count(self, request: Request) -> bytes:
        """How often it ran; fails for the body `no`."""
        self.counted += 1
        if bytes(request.body) == b"no":
            raise BttpError(f"failed at {self.counted}", kind=Kind.NO_SPACE)
        return b"%d" % self.counted

    async def _slow_async(self, _request: Request) -> bytes:
        self.counted += 1
        self.started.set()
        while not self.release.is_set():
            await anyio.sleep(0.005)
        self.done.set()
        return b"%d" % self.counted

    async def _tell_trace(self, request: Request) -> bytes:
        self.sent.append(str(request.trace).encode())
        return self.sent[-1]

    async def _tell_trace_of_stream(self, stream: Stream) -> None:
        await stream.send(str(stream.trace).encode())

    def _tell_trace_in_thread(self, stream: BlockingStream) -> None:
        stream.send(str(stream.trace).encode())

    def _busy(self, _request: Request) -> bytes:
        raise BttpError("not now", kind=Kind.BUSY)

    def _parts(self, _request: Request) -> list[Buffer]:
        return [b"a" * 70000, b"", memoryview(b"b" * 70000)]

    async def _async_echo(self, request: Request) -> memoryview:
        return request.body

    def _slow(self, request: Request) -> bytes:
        self.started.set()
        self.release.wait(WAIT)
        self.cancelled.set_result(request.cancelled)
        return b"late"

    def _fails(self, _request: Request) -> bytes:
        raise ZeroDivisionError("a secret of the server")

    def _refuses(self, _request: Request) -> bytes:
        raise BttpError("there is no such thing", kind=Kind.NOT_FOUND, hint="make one")

    async def _echo_items(self, stream: Stream) -> None:
        await stream.send(stream.body)
        async for item in stream:
            await stream.send(item)

    def _echo_items_in_thread(self, stream: BlockingStream) -> None:
        stream.send(stream.body)
        for item in stream:
            stream.send(item)

    async def _stuck(self, stream: Stream) -> None:
        """Never reads; keeps why it was stopped."""
        self.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.reason.set_result(stream.reason)

    def _stuck_in_thread(self, stream: BlockingStream) -> None:
        self.started.set()
        try:
            stream.receive()
        finally:
            self.reason.set_result(stream.reason)

    async def _refuse_stream(self, stream: Stream) -> None:
        await stream.receive()
        raise BttpError("there is no such thing", kind=Kind.NOT_FOUND, hint="make one")

    def _fail_stream(self, _stream: BlockingStream) -> None:
        raise ZeroDivisionError("a secret of the server")

    async def _hasty(self, stream: Stream) -> None:
        for number in range(3):
            await stream.send(bytes([number]))


@contextmanager
def linked(shell: ShellUnderTest, limits: Limits = Limits()) -> Iterator[tuple[Stage, LinkUnderTest]]:  # noqa: B008
    stage = Stage()
    root = stage.domain.principal
    with (
        shell.serve(stage.domain["server"], stage.router, root, limits) as server,
        shell.connect(server.endpoints[0], stage.domain["alice"], root, stage.place) as link,
    ):
        try:
            yield stage, link
        finally:
            stage.release.set()


def expect(error: type[BttpError], kind: Kind, act: Callable[[], object]) -> BttpError:
    try:
        act()
    except error as caught:
        failure = caught
    else:
        raise AssertionError(f"no {error.__name__}")
    assert failure.kind is kind, f"{failure!r} has kind {failure.kind.name}, not {kind.name}"
    return failure


def ask(link: LinkUnderTest, path: BlockPath | str, body: Body = b"") -> bytes:
    return bytes(link.call(path, body, timeout=WAIT))


def next_of(stage: Stage, link: Closable, receive: Callable[[], Message]) -> Message:
    """The next message of a subscription. One that does not come is a failure that says what the broker knows: a
    publisher whose call failed would else leave its subscriber, and the test, waiting for ever."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receive)
        try:
            return waiting.result(WAIT)
        except TimeoutError:
            told = stage.broker.statistics
            link.close()  # which ends the wait
            raise AssertionError(f"no message within {WAIT:g} s; the broker: {told}") from None
