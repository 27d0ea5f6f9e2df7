"""Inspection from another process' side: over real links, Unix sockets and TCP, by those who may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import bttp
import bttp.blocking
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.testing import DomainIdentities, make_domain_identities
from btrun import Actor, Runtime, UnavailableError
from btrun._inspection_service import MAX_TRACES
from btrun.errors import NoSuchActorError
from btrun.inspection import Trace
from btrun.inspector import How, Inspector, inspection_path
from btserde import encode

from .test_actor import Add, Break, Counter, Sleeper, Total, Wait

DOMAIN = make_domain_identities("nas", "alice")
APP = DOMAIN.path.child("hosts").child("nas").child("app")


class Program:
    """A runtime that is served, and a thread to do things in it."""

    def __init__(self, portal: BlockingPortal, runtime: Runtime, endpoints: tuple[str, ...]) -> None:
        self.portal = portal
        self.runtime = runtime
        self.endpoints = endpoints

    def spawn(self, kind: type[Actor], name: str) -> None:
        def spawn() -> None:
            self.runtime.spawn(kind, name=name)

        self.portal.call(spawn)

    def send(self, name: str, *messages: object) -> None:
        def send() -> None:
            for message in messages:
                self.runtime.ref(name).send(message)

        self.portal.call(send)

    def total(self, name: str) -> object:
        async def ask() -> object:
            return await self.runtime.ref(name).call(Total())

        return self.portal.call(ask)


@contextmanager
def program(backend: str, folder: Path) -> Iterator[Program]:
    @asynccontextmanager
    async def running() -> AsyncIterator[tuple[Runtime, bttp.Server]]:
        runtime = Runtime(DOMAIN["nas"], APP)
        endpoints = ["127.0.0.1:0", f"unix:{folder}/app.sock"]
        async with runtime, bttp.serve(endpoints, DOMAIN["nas"], runtime.router, roots=[DOMAIN.principal]) as server:
            yield runtime, server

    with start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(running()) as (runtime, server):
        yield Program(portal, runtime, server.endpoints)


@pytest.fixture(params=["asyncio", "trio"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    with program(request.param, tmp_path) as running:
        yield running


@contextmanager
def inspector(
    app: Program, *, at: int = 0, domain: DomainIdentities = DOMAIN, who: str = "alice", path: BlockPath = APP
) -> Iterator[Inspector]:
    with bttp.blocking.connect(app.endpoints[at], domain[who], root=DOMAIN.principal) as link:
        yield Inspector(link, path)


@pytest.mark.parametrize("at", [0, 1], ids=["tcp", "unix"])
def test_it_sees_what_the_runtime_sees_of_itself(app: Program, at: int) -> None:
    app.spawn(Counter, "counter")
    app.spawn(Sleeper, "sleeper")
    app.send("counter", Add(1), Add(1))
    assert app.total("counter") == 2
    app.send("sleeper", Wait(60), Wait(60), Wait(60))
    with inspector(app, at=at) as looking:
        found = looking.look()
        actors = {view.path: view for view in found.actors}
        assert list(actors) == [f"{APP}/counter", f"{APP}/sleeper"]
        assert actors[f"{APP}/counter"].handled == 3
        assert actors[f"{APP}/sleeper"].kind == "Sleeper"
        assert actors[f"{APP}/sleeper"].waiting in (2, 3)
        assert [view.path for view in looking.look("counter").actors] == [f"{APP}/counter"]
        assert looking.look("count").actors == ()
        assert (len(looking.look(most=1).actors), looking.look(most=1).left_off) == (1, 1)
        looking.halt("sleeper", How.KILL)


def test_an_actor_is_stopped_for_good_and_an_unknown_one_is_missed(app: Program) -> None:
    for name in ("a", "b", "c"):
        app.spawn(Counter, name)
    with inspector(app) as looking:
        for name, how in (("a", How.STOP), ("b", How.DRAIN), ("c", How.KILL)):
            looking.halt(name, how)
        while looking.look().actors:
            pass
        with pytest.raises(NoSuchActorError, match="app/a does not exist"):
            looking.halt("a")


def test_a_follower_hears_of_each_message_and_nothing_of_what_is_in_it(app: Program) -> None:
    app.spawn(Counter, "counter")
    app.spawn(Counter, "other")
    with inspector(app) as looking:
        with looking.follow("counter") as messages:
            app.send("other", Add(1))
            app.send("counter", Add(12345), Break())
            seen = [next(messages), next(messages)]
        assert [(handled.path, handled.message, handled.error) for handled in seen] == [
            (f"{APP}/counter", "Add", None),
            (f"{APP}/counter", "Break", "ZeroDivisionError"),
        ]
        assert b"12345" not in encode(seen[0])
        while app.runtime.tracers.listener is not None:
            looking.look()  # the runtime learns that the follower left


def test_a_follower_that_is_too_slow_is_told_what_it_lost(app: Program) -> None:
    def burst() -> None:
        tell = app.runtime.tracers.listener
        assert tell is not None
        for number in range(MAX_TRACES + 500):
            tell(Trace(path=f"{APP}/counter", message=Add(number), seconds=number))

    with inspector(app) as looking, looking.follow() as messages:
        app.portal.call(burst)
        first = next(messages)
        assert (first.lost, first.seconds) == (500, 500)
        rest = [next(messages) for _ in range(MAX_TRACES - 1)]
        assert {handled.lost for handled in rest} == {0}
        assert rest[-1].seconds == MAX_TRACES + 499


def test_only_those_who_may_execute_at_the_inspection_path_see_anything(app: Program) -> None:
    domain = make_domain_identities("nas")
    place = inspection_path(APP).names
    domain.members["guest"] = domain.issue("guest", (*APP.names, "counter"))
    domain.members["operator"] = domain.issue("operator", place)
    app.spawn(Counter, "counter")
    with inspector(app, domain=domain, who="guest") as looking:
        for attempt in (looking.look, lambda: looking.halt("counter"), lambda: looking.follow().__enter__()):
            with pytest.raises(bttp.RemoteError) as error:
                attempt()
            assert error.value.kind is Kind.FORBIDDEN
    with inspector(app, domain=domain, who="operator") as looking:
        assert len(looking.look().actors) == 1


def test_a_process_without_that_runtime_says_so(app: Program) -> None:
    with inspector(app, path=DOMAIN.path.child("elsewhere")) as looking:
        with pytest.raises(UnavailableError, match="has no runtime at"):
            looking.look()
        with pytest.raises(UnavailableError, match="has no runtime at"):
            looking.follow().__enter__()


@pytest.mark.parametrize("body", [b"", b"\xff", b"\1\xff\xff", b"\2\4name\7", b"\1\0\0\0\0\0\0\0\0\0"])
def test_a_malformed_request_is_refused(app: Program, body: bytes) -> None:
    with bttp.blocking.connect(app.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link:
        with pytest.raises(bttp.RemoteError, match="no request to inspect") as error:
            link.call(inspection_path(APP), body, timeout=5)
        assert error.value.kind is Kind.INVALID
        stream = link.stream(inspection_path(APP), body or b"\xff\xff\xff")
        with stream, pytest.raises(bttp.RemoteError, match="no wish to follow"):
            stream.receive()
