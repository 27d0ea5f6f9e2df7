"""Actors of two runtimes over real links."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
import bttp
import pytest
from btlib.kinds import Kind
from btlib.testing import DomainIdentities, make_domain_identities
from btrun import Actor, DiedError, Down, Ref, Runtime, UnavailableError, handle
from btrun.reasons import Unreachable
from btrun.services import Providers

from .test_remote import Add, Break, Counter, Me, Observer

Story = Callable[[Runtime, Runtime, bttp.Link], Awaitable[None]]

DOMAIN = make_domain_identities("nas", "alice")
APP = DOMAIN.path.child("hosts").child("nas").child("app")
CLIENT = DOMAIN.path.child("hosts").child("laptop").child("app")


def on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture(params=["asyncio", "trio"])
def tell(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a story with a client's runtime, a server's, and the link between them."""

    def run(story: Story, domain: DomainIdentities = DOMAIN, who: str = "alice") -> None:
        async def main() -> None:
            with anyio.fail_after(20):
                async with (
                    Runtime(domain["nas"], APP) as server,
                    Runtime(domain[who], CLIENT) as client,
                    bttp.serve(["127.0.0.1:0"], domain["nas"], server.router, roots=[domain.principal]) as listening,
                    bttp.connect(listening.endpoints[0], domain[who], root=domain.principal) as link,
                ):
                    client.attach(link, APP)
                    server.spawn(Counter, name="counter")
                    await story(client, server, link)

        anyio.run(main, backend=request.param)

    return run


def test_calls_and_sends_arrive(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        counter = client.at(APP.child("counter"))
        for _ in range(50):
            assert counter.send(Add(1))
        while (total := await counter.call(Add(0))) < 50:
            assert not on_asyncio(), "only trio lets messages that arrive together overtake each other"
        assert total == 50
        exact = client.bind(await counter.call(Me()))
        assert exact == server.ref("counter")
        assert str(exact) == str(APP.child("counter"))
        with pytest.raises(DiedError, match="ZeroDivisionError"):
            await exact.call(Break())
        with pytest.raises(DiedError):
            await exact.call(Add(1))

    tell(story)


def test_an_actor_that_serves_is_not_taken_for_the_caller_of_what_comes_in(tell: Callable[[Story], None]) -> None:
    class Serving(Counter):
        @handle
        async def serve(self, done: anyio.Event) -> None:
            serving = bttp.serve(["127.0.0.1:0"], DOMAIN["nas"], self.runtime.router, roots=[DOMAIN.principal])
            async with serving as listening:
                endpoints.append(listening.endpoints[0])
                await done.wait()

    endpoints: list[str] = []

    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        done, serving = anyio.Event(), server.spawn(Serving, name="serving")
        serving.send(done)
        while not endpoints:
            await anyio.sleep(0)
        async with (
            bttp.connect(endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as other,
            anyio.create_task_group() as group,
        ):
            client.attach(other, APP)

            async def call() -> None:
                await client.at(APP.child("serving")).call(Add(1))

            group.start_soon(call)
            while server.inspect(below="serving").actors[0].waiting == 0:  # it waits for its turn, and for no cycle
                await anyio.sleep(0)
            group.cancel_scope.cancel()
        done.set()

    tell(story)


def test_a_link_that_breaks_makes_calls_unavailable_and_tells_monitors(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        seen: list[Down] = []
        counter: Ref = client.at(APP.child("counter"))
        observer = client.spawn(Observer, seen)
        await observer.call(counter)
        assert await counter.call(Add(1)) == 1
        await link.aclose()
        while not seen:
            await anyio.sleep(0)
        assert isinstance(seen[0].reason, Unreachable)
        with pytest.raises(UnavailableError, match="no link leads to"):
            await counter.call(Add(1))

    tell(story)


def test_an_actor_is_reached_only_by_those_who_may_execute_there(tell: Callable[..., None]) -> None:
    domain = make_domain_identities("nas")
    domain.members["guest"] = domain.issue("guest", ("hosts", "nas", "other"))

    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        with pytest.raises(bttp.RemoteError) as caught:
            await client.at(APP.child("counter")).call(Add(1))
        assert caught.value.kind is Kind.FORBIDDEN
        assert server.inspect().actors[0].handled == 0

    tell(story, domain, "guest")


class Serving(Actor):
    def __init__(self, done: list[int]) -> None:
        self.done = done

    @handle
    async def do(self, message: Add) -> int:
        await anyio.sleep(0)
        self.done.append(message.amount)
        return message.amount


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_runtime_that_drains_hands_its_service_over_without_losing_a_call(backend: str) -> None:
    places = {name: DOMAIN.path.child("hosts").child(name) for name in ("one", "two")}
    done: list[int] = []
    sent: list[int] = []

    async def offer(name: str, leave: anyio.Event, *, task_status: anyio.abc.TaskStatus[str]) -> None:
        async with Runtime(DOMAIN["nas"], places[name]) as rt:
            rt.service("work", Serving, done, workers=3)
            async with bttp.serve(["127.0.0.1:0"], DOMAIN["nas"], rt.router, roots=[DOMAIN.principal]) as server:
                task_status.started(server.endpoints[0])
                await leave.wait()
                await rt.drain()
                assert await server.drain()

    async def call(nearest: Providers, over: anyio.Event) -> None:
        while not over.is_set():
            sent.append(len(sent))
            assert await nearest.call(Add(sent[-1])) is not None

    async def use(client: Runtime, leave_one: anyio.Event) -> None:
        over = anyio.Event()
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(call, client.nearest("work"), over)
            while len(done) < 200:
                await anyio.sleep(0)
            leave_one.set()
            while len(done) < 2000 or client.carriers.find(str(places["one"])) is not None:
                await anyio.sleep(0)
            over.set()

    async def main() -> None:
        leaves = {name: anyio.Event() for name in places}
        async with anyio.create_task_group() as group:
            endpoints = {name: await group.start(offer, name, leaves[name]) for name in places}
            async with (
                Runtime(DOMAIN["alice"], CLIENT) as client,
                bttp.connect(endpoints["one"], DOMAIN["alice"], root=DOMAIN.principal) as one,
                bttp.connect(endpoints["two"], DOMAIN["alice"], root=DOMAIN.principal) as two,
            ):
                client.attach(one, places["one"])
                client.attach(two, places["two"])
                await use(client, leaves["one"])
            leaves["two"].set()
        assert sorted(done) == sent

    async def bounded() -> None:
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)
