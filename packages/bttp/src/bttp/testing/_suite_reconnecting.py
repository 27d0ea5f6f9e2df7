"""The conformance suite: links that are made again, and servers that go away."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from btlib.kinds import Kind
from btlib.testing import make_domain_identities

from .._limits import Limits
from .._redial import Reconnection
from .._topics import WhenSlow
from ..errors import AuthenticationError, BttpError, ConnectionLostError, DeadlineError, RemoteError
from ._stage import WAIT, LastingLinkUnderTest, ShellUnderTest, Stage, expect, next_of

_QUICK = Reconnection(stagger=0.05, first_pause=0.01, max_pause=0.1, stable_seconds=0.0)


@contextmanager
def _lasting(shell: ShellUnderTest) -> Iterator[tuple[Stage, LastingLinkUnderTest]]:
    stage = Stage()
    root = stage.domain.principal
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.reconnecting(server.endpoints, stage.domain["alice"], root, _QUICK) as link,
    ):
        try:
            yield stage, link
        finally:
            stage.release.set()


def check_a_lost_link_is_made_again(shell: ShellUnderTest) -> None:
    """Calls, messages and streams go on over the next link; what was under way without a key fails."""
    with _lasting(shell) as (stage, link), ThreadPoolExecutor(1) as pool:
        path = stage.place.child("async")
        assert bytes(link.call(path, b"one", timeout=WAIT)) == b"one"
        waiting = pool.submit(link.call, stage.place.child("slow-async"), timeout=WAIT)
        assert stage.started.wait(WAIT)
        link.cut()
        expect(ConnectionLostError, Kind.UNREACHABLE, lambda: waiting.result(WAIT))
        assert bytes(link.call(path, b"two", timeout=WAIT)) == b"two"
        link.cut()
        link.send(stage.place.child("keep"), b"message")
        with link.stream(stage.place.child("echo"), b"first", timeout=WAIT) as stream:
            assert bytes(stream.receive() or b"") == b"first"
        assert bytes(link.call(path, b"three", timeout=WAIT)) == b"three"
        assert stage.sent == [b"message"]
        assert link.links_opened == 3


def check_a_call_with_a_key_survives_its_link(shell: ShellUnderTest) -> None:
    """It is done once, and its caller gets the answer over another link."""
    with _lasting(shell) as (stage, link), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.call, stage.place.child("slow-async"), timeout=WAIT, key=b"k")
        assert stage.started.wait(WAIT)
        link.cut()
        assert bytes(link.call(stage.place.child("async"), b"on", timeout=WAIT)) == b"on"
        stage.release.set()
        assert bytes(waiting.result(WAIT)) == b"1"
        assert stage.counted == 1


def check_calls_wait_for_a_link_until_their_deadline(shell: ShellUnderTest) -> None:
    """Where nobody listens, a call ends at its deadline and says why; who is refused, hears it at once."""
    stage = Stage()
    root, alice = stage.domain.principal, stage.domain["alice"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"127.0.0.1:{listener.getsockname()[1]}"
    with shell.reconnecting([nobody], alice, root, _QUICK) as link:
        late = expect(DeadlineError, Kind.DEADLINE, lambda: link.call(stage.place.child("async"), timeout=0.2))
        assert nobody in str(late)
    stranger = make_domain_identities("mallory", root="another")["mallory"]
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.reconnecting(server.endpoints, stranger, root, _QUICK) as refused,
    ):
        expect(AuthenticationError, Kind.FORBIDDEN, lambda: refused.call(stage.place.child("async")))


def check_the_first_endpoint_that_answers_wins(shell: ShellUnderTest) -> None:
    """One that takes connections and says nothing does not hold the others up."""
    stage = Stage()
    root = stage.domain.principal
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
    ):
        endpoints = [f"127.0.0.1:{silent.getsockname()[1]}", *server.endpoints]
        with shell.reconnecting(endpoints, stage.domain["alice"], root, _QUICK) as link:
            assert bytes(link.call(stage.place.child("async"), b"here", timeout=WAIT / 2)) == b"here"
            silent.close()


def check_endpoints_are_asked_for_before_each_round(shell: ShellUnderTest) -> None:
    """Where a function gives them, a server that moved is found by what it says then; before, calls wait."""
    stage = Stage()
    root, known = stage.domain.principal, list[str]()

    def endpoints() -> list[str]:
        if not known:
            raise BttpError("no record of it", kind=Kind.NOT_FOUND)
        return known

    path = stage.place.child("async")
    with shell.reconnecting(endpoints, stage.domain["alice"], root, _QUICK) as link:
        late = expect(DeadlineError, Kind.DEADLINE, lambda: link.call(path, timeout=1.0))
        assert "no record of it" in str(late)
        for body in (b"here", b"there"):
            with shell.serve(stage.domain["server"], stage.router, root, Limits()) as server:
                known[:] = server.endpoints
                assert bytes(link.call(path, body, timeout=WAIT)) == body
                known.clear()
                link.cut()
    stage.release.set()


def check_a_server_that_goes_away_loses_nothing(shell: ShellUnderTest) -> None:
    """It answers what is under way, and lets nobody in; new calls go to another."""
    domain = make_domain_identities("server", "alice")
    one, other = Stage(domain), Stage(domain)
    root, place = domain.principal, one.place
    with (
        shell.serve(domain["server"], one.router, root, Limits()) as going,
        shell.serve(domain["server"], other.router, root, Limits()) as staying,
        shell.reconnecting([*going.endpoints, *staying.endpoints], domain["alice"], root, _QUICK) as link,
        ThreadPoolExecutor(2) as pool,
    ):
        try:
            link.ready(WAIT)
            first, second = (one, other) if _serves(link, one) else (other, one)
            waiting = pool.submit(link.call, place.child("slow-async"), timeout=WAIT)
            assert first.started.wait(WAIT)
            draining = pool.submit((going if first is one else staying).drain, WAIT)
            while not _serves(link, second):
                pass
            first.release.set()
            assert bytes(waiting.result(WAIT)).isdigit()
            assert draining.result(WAIT) is True
            assert _serves(link, second)
        finally:
            one.release.set()
            other.release.set()


def _serves(link: LastingLinkUnderTest, stage: Stage) -> bool:
    """Whether calls reach this server."""
    before = stage.counted
    link.call(stage.place.child("count"), timeout=WAIT)
    return stage.counted > before


def check_subscriptions_go_on_and_say_so(shell: ShellUnderTest) -> None:
    """After an interruption messages come again, the first of them marked."""
    with _lasting(shell) as (stage, link):
        topic = stage.place.child("topics").child("warm")
        with shell.subscribe(link, topic, below=False, when_slow=WhenSlow.BLOCK, queue=10) as wait:
            receive = partial(next_of, stage, link, wait)
            link.call(topic, b"1", timeout=WAIT)
            message = receive()
            assert (bytes(message.body), message.gap) == (b"1", False)
            link.cut()
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(receive)
                while int.from_bytes(link.call(topic, b"2", timeout=WAIT), "little") == 0:
                    pass
                message = waiting.result(WAIT)
            assert (bytes(message.body), message.gap) == (b"2", True)
            link.call(topic, b"3", timeout=WAIT)
            message = receive()
            assert (bytes(message.body), message.gap) == (b"3", False)


def check_draining_does_not_wait_for_subscribers(shell: ShellUnderTest) -> None:
    """A server that goes away ends its subscriptions: they get what was published, and a reason."""
    stage = Stage()
    root, topic = stage.domain.principal, stage.place.child("topics").child("warm")
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.connect(server.endpoints[0], stage.domain["alice"], root, None) as link,
        shell.subscribe(link, topic, below=False, when_slow=WhenSlow.BLOCK, queue=10) as receive,
    ):
        link.call(topic, b"last", timeout=WAIT)
        assert server.drain(WAIT) is True
        assert bytes(receive().body) == b"last"
        expect(ConnectionLostError, Kind.UNREACHABLE, receive)
        # Draining still, or closed already.
        expect(BttpError, Kind.UNREACHABLE, lambda: link.call(topic, b"late", timeout=WAIT))


def check_a_drained_link_ends(shell: ShellUnderTest) -> None:
    """Draining a reconnecting link lets what is under way finish, and makes no other."""
    with _lasting(shell) as (stage, link), ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(link.call, stage.place.child("slow-async"), timeout=WAIT)
        assert stage.started.wait(WAIT)
        draining = pool.submit(link.drain, WAIT)
        stage.release.set()
        assert bytes(waiting.result(WAIT)) == b"1"
        assert draining.result(WAIT) is True
        assert link.links_opened == 1


def check_a_renewed_identity_speaks_on_this_link_and_the_next(shell: ShellUnderTest) -> None:
    """What was forbidden before is open, also after the link was made again."""
    stage = Stage()
    root, path = stage.domain.principal, stage.place.child("async")
    narrow = stage.domain.issue("bob", ("hosts", "inline"))
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.reconnecting(server.endpoints, narrow, root, _QUICK) as link,
    ):
        expect(RemoteError, Kind.FORBIDDEN, lambda: link.call(path, timeout=WAIT))
        link.renew(stage.domain.issue("bob", ("hosts",)))
        assert bytes(link.call(path, b"wider", timeout=WAIT)) == b"wider"
        link.cut()
        assert bytes(link.call(path, b"still", timeout=WAIT)) == b"still"


def check_a_refusal_of_a_handler_is_not_repeated(shell: ShellUnderTest) -> None:
    """BUSY from a handler is its answer, not a call under way."""
    with _lasting(shell) as (stage, link):
        busy = expect(RemoteError, Kind.BUSY, lambda: link.call(stage.place.child("busy"), timeout=WAIT, key=b"k"))
        assert busy.message == "not now"
