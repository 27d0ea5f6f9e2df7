"""What every shell must do, whatever it runs on.

A shell under test is a way to serve a router and a way to connect to it, both as context managers for a plain thread.
`check_shell` raises AssertionError at the first difference from what the documents promise.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import anyio
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.testing import DomainIdentities, make_domain_identities

from .._broker import Broker
from .._frames import Buffer
from .._limits import Limits
from .._peer import Peer
from .._router import Body, Request, Router
from .._stream import BlockingStream, Stream
from .._topics import Message, WhenSlow
from ..errors import (
    AuthenticationError,
    BttpError,
    ConnectionLostError,
    DeadlineError,
    LimitError,
    LocalProtocolError,
    RemoteError,
    UnreachableError,
)

_MANY = 100  # messages of 60 kB: more than a link and its windows hold
WAIT = 10.0  #: seconds after which a test gives up; nothing here takes a tenth of one


class LinkUnderTest(Protocol):
    """A link as a thread uses it."""

    @property
    def peer(self) -> Peer: ...

    @property
    def closed(self) -> bool: ...

    def call(self, path: BlockPath | str, body: Body = b"", *, timeout: float | None = None) -> memoryview: ...

    def send(self, path: BlockPath | str, body: Body = b"") -> None: ...

    def stream(
        self, path: BlockPath | str, body: Buffer = b"", *, timeout: float | None = None
    ) -> AbstractContextManager[BlockingStream]: ...

    def drain(self, timeout: float = 5.0) -> bool: ...

    def close(self) -> None: ...


class ShellUnderTest(Protocol):
    """A shell."""

    def serve(self, identity: Identity, router: Router, root: Principal, limits: Limits) -> AbstractContextManager[str]:
        """Serve on some free endpoint, which it gives."""
        ...

    def connect(
        self, endpoint: str, identity: Identity | None, root: Principal, server: BlockPath | None
    ) -> AbstractContextManager[LinkUnderTest]:
        """An open link."""
        ...

    def subscribe(
        self, link: LinkUnderTest, path: BlockPath, *, below: bool, when_slow: WhenSlow, queue: int
    ) -> AbstractContextManager[Callable[[], Message]]:
        """A subscription; what it gives waits for the next message."""
        ...


def check_shell(shell: ShellUnderTest) -> None:
    """All of the suite."""
    for check in _CHECKS:
        check(shell)


class _Stage:
    """A server with handlers, and the domain it belongs to."""

    def __init__(self) -> None:
        self.domain: DomainIdentities = make_domain_identities("server", "alice")
        self.place = self.domain.path.child("hosts")
        self.router = Router()
        self.started = threading.Event()
        self.release = threading.Event()
        self.cancelled: Future[bool] = Future()
        self.sent: list[bytes] = []
        self.gone = threading.Event()
        self.router.add(self.place.child("thread"), lambda request: request.body)
        self.router.add(self.place.child("inline"), lambda request: request.body, inline=True)
        self.router.add(self.place.child("async"), self._async_echo)
        self.router.add(self.place.child("slow"), self._slow)
        self.router.add(self.place.child("fails"), self._fails)
        self.router.add(self.place.child("refuses"), self._refuses)
        self.router.add(self.place.child("parts"), self._parts)
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
        self.router.add(self.place.child("watch"), lambda request: request.link.on_close(self.gone.set), inline=True)

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
def _linked(shell: ShellUnderTest, limits: Limits = Limits()) -> Iterator[tuple[_Stage, LinkUnderTest]]:  # noqa: B008
    stage = _Stage()
    root = stage.domain.principal
    with (
        shell.serve(stage.domain["server"], stage.router, root, limits) as endpoint,
        shell.connect(endpoint, stage.domain["alice"], root, stage.place) as link,
    ):
        try:
            yield stage, link
        finally:
            stage.release.set()


def _expect(error: type[BttpError], kind: Kind, act: Callable[[], object]) -> BttpError:
    try:
        act()
    except error as caught:
        failure = caught
    else:
        raise AssertionError(f"no {error.__name__}")
    assert failure.kind is kind, f"{failure!r} has kind {failure.kind.name}, not {kind.name}"
    return failure


def _ask(link: LinkUnderTest, path: BlockPath | str, body: Body = b"") -> bytes:
    return bytes(link.call(path, body, timeout=WAIT))


def _check_calls(shell: ShellUnderTest) -> None:
    """Bodies of all sizes come back from all kinds of handlers, whole and in any number of parts."""
    with _linked(shell) as (stage, link):
        for name in ("thread", "inline", "async"):
            for size in (0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000):
                body = os.urandom(size)
                assert _ask(link, stage.place.child(name), body) == body, (name, size)
        parts: list[Buffer] = [b"ab", memoryview(b"cd"), bytearray(b"ef")]
        assert _ask(link, str(stage.place.child("thread").child("below")), parts) == b"abcdef"
        assert _ask(link, stage.place.child("parts")) == b"a" * 70000 + b"b" * 70000
        assert _ask(link, stage.place.child("watch")) == b""
        assert link.peer.principals == (stage.domain["server"].principal,)


def _check_many_at_once(shell: ShellUnderTest) -> None:
    """Calls of many threads on one link, small beside large, each get their own answer."""
    with _linked(shell) as (stage, link), ThreadPoolExecutor(8) as pool:
        path = stage.place.child("thread")
        bodies = [bytes([n]) * (200_000 if n % 10 == 0 else n) for n in range(100)]
        answers = list(pool.map(lambda body: _ask(link, path, body), bodies))
        assert answers == bodies


def _check_sends(shell: ShellUnderTest) -> None:
    """More messages than the window holds arrive, in order."""
    with _linked(shell, Limits(send_window=4096)) as (stage, link):
        for n in range(500):
            link.send(stage.place.child("keep"), n.to_bytes(4, "little"))
        _ask(link, stage.place.child("inline"))
        assert stage.sent == [n.to_bytes(4, "little") for n in range(500)]


def _check_errors(shell: ShellUnderTest) -> None:
    """Errors arrive as kind and text; a defect tells nothing of the server."""
    with _linked(shell) as (stage, link):
        place = stage.place
        refused = _expect(RemoteError, Kind.NOT_FOUND, lambda: _ask(link, place.child("refuses")))
        assert str(refused) == "there is no such thing; make one"
        failed = _expect(RemoteError, Kind.INTERNAL, lambda: _ask(link, place.child("fails")))
        assert "secret" not in str(failed)
        assert "ZeroDivision" not in str(failed)
        _expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: _ask(link, place.child("nobody")))
        _expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: _ask(link, stage.domain.path))
        assert _ask(link, place.child("inline"), b"well") == b"well"


def _check_deadline(shell: ShellUnderTest) -> None:
    """A deadline ends the call here and tells the handler there; other calls go on."""
    with _linked(shell) as (stage, link):
        _expect(DeadlineError, Kind.DEADLINE, lambda: link.call(stage.place.child("slow"), timeout=0.05))
        assert _ask(link, stage.place.child("inline"), b"on") == b"on"
        stage.release.set()
        assert stage.cancelled.result(WAIT) is True


def _check_limits(shell: ShellUnderTest) -> None:
    """What is beyond the peer's limits is refused here, by name."""
    with _linked(shell, Limits(max_body=100_000, max_calls=1)) as (stage, link):
        place = stage.place
        too_long = _expect(LimitError, Kind.LIMIT, lambda: link.call(place.child("thread"), bytes(100_001)))
        assert "max_body" in str(too_long)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(_ask, link, place.child("slow"))
            assert stage.started.wait(WAIT)
            too_many = _expect(LimitError, Kind.LIMIT, lambda: link.call(place.child("inline")))
            assert "max_calls" in str(too_many)
            stage.release.set()
            assert waiting.result(WAIT) == b"late"


def _check_close(shell: ShellUnderTest) -> None:
    """Closing fails the calls under way at once, tells the server, and refuses what comes after."""
    with _linked(shell) as (stage, link):
        _ask(link, stage.place.child("watch"))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(_ask, link, stage.place.child("slow"))
            assert stage.started.wait(WAIT)
            link.close()
            _expect(ConnectionLostError, Kind.UNREACHABLE, lambda: waiting.result(WAIT))
        assert link.closed
        assert stage.gone.wait(WAIT)
        _expect(ConnectionLostError, Kind.UNREACHABLE, lambda: link.call(stage.place.child("inline")))


def _check_drain(shell: ShellUnderTest) -> None:
    """Draining refuses new calls, and ends when those under way are answered."""
    with _linked(shell) as (stage, link), ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(_ask, link, stage.place.child("slow"))
        assert stage.started.wait(WAIT)
        draining = pool.submit(link.drain, WAIT)
        stage.release.set()
        assert waiting.result(WAIT) == b"late"
        assert draining.result(WAIT) is True
        try:
            link.call(stage.place.child("inline"))
        except (UnreachableError, ConnectionLostError):
            return
        raise AssertionError("a drained link takes calls")


def _check_refusals(shell: ShellUnderTest) -> None:
    """Whoever lacks a right is told so, with the reason, by whichever side refuses."""
    stage = _Stage()
    root, stranger = stage.domain.principal, make_domain_identities("mallory", root="another")
    narrow = stage.domain.issue("bob", ("hosts", "inline"))
    old = stage.domain.issue("carol", time=(0, 1))
    with shell.serve(stage.domain["server"], stage.router, root, Limits()) as endpoint:

        def connect(identity: Identity | None, of: Principal = root, server: BlockPath | None = None) -> None:
            with shell.connect(endpoint, identity, of, server):
                raise AssertionError("connected")

        refused = _expect(AuthenticationError, Kind.FORBIDDEN, lambda: connect(stranger["mallory"]))
        assert str(stranger["mallory"].principal) in str(refused)
        expired = _expect(AuthenticationError, Kind.EXPIRED, lambda: connect(old))
        assert "expired" in str(expired)
        _expect(AuthenticationError, Kind.UNAUTHENTICATED, lambda: connect(None))
        _expect(AuthenticationError, Kind.FORBIDDEN, lambda: connect(stage.domain["alice"], stranger.principal))
        with shell.connect(endpoint, narrow, root, None) as link:
            assert _ask(link, stage.place.child("inline"), b"yes") == b"yes"
            _expect(RemoteError, Kind.FORBIDDEN, lambda: _ask(link, stage.place.child("thread")))
    _expect(UnreachableError, Kind.UNREACHABLE, lambda: connect(narrow))


def _check_streams(shell: ShellUnderTest) -> None:
    """Items of all sizes come back in order; either side finishes on its own."""
    with _linked(shell) as (stage, link):
        for name in ("echo", "echo-thread"):
            with link.stream(stage.place.child(name).child("below"), b"first", timeout=WAIT) as stream:
                sizes = (0, 1, 64 * 1024, 64 * 1024 + 1, 300_000, 7)
                items = [os.urandom(size) for size in sizes]
                for item in items:
                    stream.send(item)
                stream.send([b"ab", memoryview(b"cd")])
                stream.finish()
                assert [bytes(item) for item in stream] == [b"first", *items, b"abcd"], name
                assert stream.receive() is None


def _check_stream_back_pressure(shell: ShellUnderTest) -> None:
    """Who does not read, stops the other; the link's calls go on, and reading lets it go on."""
    limits = Limits(stream_window=4096, link_window=8192)
    with (
        _linked(shell, limits) as (stage, link),
        ThreadPoolExecutor(1) as pool,
        link.stream(stage.place.child("echo"), b"first", timeout=WAIT) as stream,
    ):
        items = [bytes([n % 256]) * 3000 for n in range(600)]

        def write() -> None:
            for item in items:
                stream.send(item)
            stream.finish()

        writing = pool.submit(write)
        assert bytes(stream.receive() or b"") == b"first"
        assert _ask(link, stage.place.child("inline"), b"on") == b"on"
        assert [bytes(item) for item in stream] == items
        writing.result(WAIT)


def _check_stream_cancellation(shell: ShellUnderTest) -> None:
    """A cancelled stream stops the handler, which learns why; so does leaving the context, and a deadline."""
    for name in ("stuck", "stuck-thread"):
        with _linked(shell) as (stage, link):
            with link.stream(stage.place.child(name)) as stream:
                assert stage.started.wait(WAIT)
                stream.cancel(Kind.CONFLICT, "somebody was first")
                _expect(LocalProtocolError, Kind.CONFLICT, lambda stream=stream: stream.receive())  # type: ignore[misc]
            reason = stage.reason.result(WAIT)
            assert isinstance(reason, RemoteError)
            assert (reason.kind, reason.message) == (Kind.CONFLICT, "somebody was first")
    with _linked(shell) as (stage, link):
        with link.stream(stage.place.child("stuck")):
            assert stage.started.wait(WAIT)
        left = stage.reason.result(WAIT)
        assert left is not None
        assert left.kind is Kind.CANCELLED
    with _linked(shell) as (stage, link):
        with link.stream(stage.place.child("stuck"), timeout=0.2) as stream:
            _expect(DeadlineError, Kind.DEADLINE, stream.receive)
        late = stage.reason.result(WAIT)
        assert late is not None
        assert late.kind is Kind.DEADLINE


def _check_stream_failures(shell: ShellUnderTest) -> None:
    """Refusals and failures arrive as kind and text; a handler that returns says that it reads no more."""
    with _linked(shell) as (stage, link):
        place = stage.place

        def complete(path: BlockPath) -> None:
            with link.stream(path, timeout=WAIT) as stream:
                stream.complete()

        refused = _expect(RemoteError, Kind.NOT_FOUND, lambda: complete(place.child("refuses")))
        assert str(refused) == "there is no such thing; make one"
        assert "secret" not in str(_expect(RemoteError, Kind.INTERNAL, lambda: complete(place.child("fails"))))
        _expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: complete(place.child("nobody")))
        _expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: complete(place.child("thread")))
        with link.stream(place.child("hasty"), timeout=WAIT) as stream:
            assert [bytes(item) for item in stream] == [b"\0", b"\1", b"\2"]
            _expect(RemoteError, Kind.CANCELLED, lambda: _send_for_ever(stream))
        assert _ask(link, place.child("inline"), b"well") == b"well"


def _send_for_ever(stream: BlockingStream) -> None:
    while True:
        stream.send(bytes(1000))


def _check_streams_end_with_their_link(shell: ShellUnderTest) -> None:
    """A closed link ends its streams on both sides."""
    with _linked(shell) as (stage, link), ThreadPoolExecutor(1) as pool:
        with link.stream(stage.place.child("stuck")) as stream:
            assert stage.started.wait(WAIT)
            waiting = pool.submit(stream.receive)
            link.close()
            _expect(ConnectionLostError, Kind.UNREACHABLE, lambda: waiting.result(WAIT))
        assert isinstance(stage.reason.result(WAIT), ConnectionLostError)


def _check_topics(shell: ShellUnderTest) -> None:
    """Messages reach those who subscribed to their topic or a path above it, in order; others hear nothing."""
    with _linked(shell) as (stage, link):
        top = stage.place.child("topics")
        warm, cold = top.child("warm"), top.child("cold")

        def subscribe(path: BlockPath, below: bool) -> AbstractContextManager[Callable[[], Message]]:
            return shell.subscribe(link, path, below=below, when_slow=WhenSlow.BLOCK, queue=10)

        with subscribe(warm, False) as one, subscribe(top, True) as every:
            assert _ask(link, warm, b"1") == (2).to_bytes(4, "little")
            assert _ask(link, cold, b"2") == (1).to_bytes(4, "little")
            assert _ask(link, top, b"") == (1).to_bytes(4, "little")
            link.send(warm, bytes(100_000))
            heard = [(message.topic, len(message.body), message.lost) for message in (one(), one())]
            assert heard == [(warm, 1, 0), (warm, 100_000, 0)]
            heard = [
                (message.topic, len(message.body), message.lost) for message in (every(), every(), every(), every())
            ]
            assert heard == [(warm, 1, 0), (cold, 1, 0), (top, 0, 0), (warm, 100_000, 0)]
        until = time.monotonic() + WAIT
        while stage.broker.statistics.subscribers:
            assert time.monotonic() < until
            threading.Event().wait(0.005)
        assert _ask(link, warm, b"nobody") == bytes(4)


def _check_slow_subscribers(shell: ShellUnderTest) -> None:
    """Each subscriber chooses what happens to messages for which it has no room, and is told what it lost."""
    for when_slow in WhenSlow:
        with _linked(shell) as (stage, link), ThreadPoolExecutor(1) as pool:
            topic = stage.place.child("topics").child("slow")
            with shell.subscribe(link, topic, below=False, when_slow=when_slow, queue=4) as receive:
                sending = pool.submit(_publish, link, topic)
                if when_slow is WhenSlow.BLOCK:
                    assert [receive().body[0] for _ in range(_MANY)] == list(range(_MANY))
                sending.result(WAIT)
                if when_slow is WhenSlow.DISCONNECT:
                    _expect(RemoteError, Kind.LIMIT, lambda: [receive() for _ in range(_MANY)])
                    assert stage.broker.statistics.disconnected == 1
                elif when_slow is not WhenSlow.BLOCK:
                    lost = stage.broker.statistics.lost
                    assert lost > _MANY // 2
                    _check_losses(link, topic, receive, lost)


def _publish(link: LinkUnderTest, topic: BlockPath) -> None:
    for number in range(_MANY):
        _ask(link, topic, bytes([number]) * 60_000)


def _check_losses(link: LinkUnderTest, topic: BlockPath, receive: Callable[[], Message], lost: int) -> None:
    """Nothing is missing that is not counted, in its place."""
    place = 0
    for _ in range(_MANY - lost):
        message = receive()
        place += message.lost
        assert message.body[0] == place
        place += 1
    _ask(link, topic, b"end")
    message = receive()
    assert bytes(message.body) == b"end"
    assert place + message.lost == _MANY


_CHECKS = (
    _check_calls,
    _check_many_at_once,
    _check_sends,
    _check_errors,
    _check_deadline,
    _check_limits,
    _check_close,
    _check_drain,
    _check_refusals,
    _check_streams,
    _check_stream_back_pressure,
    _check_stream_cancellation,
    _check_stream_failures,
    _check_streams_end_with_their_link,
    _check_topics,
    _check_slow_subscribers,
)
