"""The conformance suite: calls, messages, their errors and limits, and the end of links."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.testing import make_domain_identities

from .._frames import Buffer
from .._limits import Limits
from ..errors import (
    AuthenticationError,
    ConnectionLostError,
    DeadlineError,
    LimitError,
    RemoteError,
    UnreachableError,
)
from ._stage import WAIT, ShellUnderTest, Stage, ask, expect, linked


def check_calls(shell: ShellUnderTest) -> None:
    """Bodies of all sizes come back from all kinds of handlers, whole and in any number of parts."""
    with linked(shell) as (stage, link):
        for name in ("thread", "inline", "async"):
            for size in (0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000):
                body = os.urandom(size)
                assert ask(link, stage.place.child(name), body) == body, (name, size)
        parts: list[Buffer] = [b"ab", memoryview(b"cd"), bytearray(b"ef")]
        assert ask(link, str(stage.place.child("thread").child("below")), parts) == b"abcdef"
        assert ask(link, stage.place.child("parts")) == b"a" * 70000 + b"b" * 70000
        assert ask(link, stage.place.child("watch")) == b""
        assert link.peer.principals == (stage.domain["server"].principal,)


def check_many_at_once(shell: ShellUnderTest) -> None:
    """Calls of many threads on one link, small beside large, each get their own answer."""
    with linked(shell) as (stage, link), ThreadPoolExecutor(8) as pool:
        path = stage.place.child("thread")
        bodies = [bytes([n]) * (200_000 if n % 10 == 0 else n) for n in range(100)]
        answers = list(pool.map(lambda body: ask(link, path, body), bodies))
        assert answers == bodies


def check_sends(shell: ShellUnderTest) -> None:
    """More messages than the window holds arrive, in order."""
    with linked(shell, Limits(send_window=4096)) as (stage, link):
        for name in ("keep", "keep-async"):
            for n in range(500):
                link.send(stage.place.child(name), n.to_bytes(4, "little"))
            ask(link, stage.place.child("async"))
            assert stage.sent == [n.to_bytes(4, "little") for n in range(500)], name
            stage.sent.clear()


def check_errors(shell: ShellUnderTest) -> None:
    """Errors arrive as kind and text; a defect tells nothing of the server."""
    with linked(shell) as (stage, link):
        place = stage.place
        refused = expect(RemoteError, Kind.NOT_FOUND, lambda: ask(link, place.child("refuses")))
        assert str(refused) == "there is no such thing; make one"
        failed = expect(RemoteError, Kind.INTERNAL, lambda: ask(link, place.child("fails")))
        assert "secret" not in str(failed)
        assert "ZeroDivision" not in str(failed)
        expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: ask(link, place.child("nobody")))
        expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: ask(link, stage.domain.path))
        assert ask(link, place.child("inline"), b"well") == b"well"


def check_deadline(shell: ShellUnderTest) -> None:
    """A deadline ends the call here and tells the handler there; other calls go on."""
    with linked(shell) as (stage, link):
        expect(DeadlineError, Kind.DEADLINE, lambda: link.call(stage.place.child("slow"), timeout=0.05))
        assert ask(link, stage.place.child("inline"), b"on") == b"on"
        stage.release.set()
        assert stage.cancelled.result(WAIT) is True


def check_limits(shell: ShellUnderTest) -> None:
    """What is beyond the peer's limits is refused here, by name."""
    with linked(shell, Limits(max_body=100_000, max_calls=1)) as (stage, link):
        place = stage.place
        too_long = expect(LimitError, Kind.LIMIT, lambda: link.call(place.child("thread"), bytes(100_001)))
        assert "max_body" in str(too_long)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, link, place.child("slow"))
            assert stage.started.wait(WAIT)
            too_many = expect(LimitError, Kind.LIMIT, lambda: link.call(place.child("inline")))
            assert "max_calls" in str(too_many)
            stage.release.set()
            assert waiting.result(WAIT) == b"late"


def check_close(shell: ShellUnderTest) -> None:
    """Closing fails the calls under way at once, tells the server, and refuses what comes after."""
    with linked(shell) as (stage, link):
        ask(link, stage.place.child("watch"))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, link, stage.place.child("slow"))
            assert stage.started.wait(WAIT)
            link.close()
            expect(ConnectionLostError, Kind.UNREACHABLE, lambda: waiting.result(WAIT))
        assert link.closed
        assert stage.gone.wait(WAIT)
        expect(ConnectionLostError, Kind.UNREACHABLE, lambda: link.call(stage.place.child("inline")))


def check_drain(shell: ShellUnderTest) -> None:
    """Draining refuses new calls, and ends when those under way are answered."""
    with linked(shell) as (stage, link), ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(ask, link, stage.place.child("slow"))
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


def check_refusals(shell: ShellUnderTest) -> None:
    """Whoever lacks a right is told so, with the reason, by whichever side refuses."""
    stage = Stage()
    root, stranger = stage.domain.principal, make_domain_identities("mallory", root="another")
    narrow = stage.domain.issue("bob", ("hosts", "inline"))
    old = stage.domain.issue("carol", time=(0, 1))
    with shell.serve(stage.domain["server"], stage.router, root, Limits()) as running:

        def connect(identity: Identity | None, of: Principal = root, server: BlockPath | None = None) -> None:
            with shell.connect(running.endpoints[0], identity, of, server):
                raise AssertionError("connected")

        refused = expect(AuthenticationError, Kind.FORBIDDEN, lambda: connect(stranger["mallory"]))
        assert str(stranger["mallory"].principal) in str(refused)
        expired = expect(AuthenticationError, Kind.EXPIRED, lambda: connect(old))
        assert "expired" in str(expired)
        expect(AuthenticationError, Kind.UNAUTHENTICATED, lambda: connect(None))
        expect(AuthenticationError, Kind.FORBIDDEN, lambda: connect(stage.domain["alice"], stranger.principal))
        with shell.connect(running.endpoints[0], narrow, root, None) as link:
            assert ask(link, stage.place.child("inline"), b"yes") == b"yes"
            expect(RemoteError, Kind.FORBIDDEN, lambda: ask(link, stage.place.child("thread")))
    expect(UnreachableError, Kind.UNREACHABLE, lambda: connect(narrow))
