"""How many connections two runtimes need: one, for all their actors, both ways; another only where one was attached."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import bttp
import pytest
from btrun import Actor, Ask, Down, Ref, Runtime, handle
from btrun.blocking import open_runtime
from btserde import U64
from msgspec import Struct

from .test_remote import Add, Counter, Observer
from .test_topics import APP, CLIENT, DOMAIN, NEWS, Fan, Goal, Seen

Story: TypeAlias = Callable[[Runtime, Runtime, bttp.Server, bttp.Link], Awaitable[None]]

ACTORS = 5


class Use(Ask[U64], frozen=True):
    """Send 1 to this counter, then ask it."""

    counter: Ref


class Hello(Struct, frozen=True):
    """Ask whom it names."""

    back: Ref


class User(Actor):
    @handle
    async def use(self, message: Use) -> int:
        counter = self.runtime.bind(message.counter)
        counter.send(Add(1))
        return await counter.call(Add(1))


class Greeter(Actor):
    @handle
    async def greet(self, message: Hello) -> None:
        await self.runtime.bind(message.back).call(Add(7))


@pytest.fixture(params=["asyncio", "trio"])
def tell(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a story with a client's runtime and a server's; the link between them serves both."""

    def run(story: Story) -> None:
        async def main() -> None:
            root = DOMAIN.principal
            with anyio.fail_after(20):
                async with (
                    Runtime(DOMAIN["nas"], APP) as server,
                    Runtime(DOMAIN["alice"], CLIENT) as client,
                    bttp.serve(["127.0.0.1:0"], DOMAIN["nas"], server.router, roots=[root]) as listening,
                    bttp.connect(listening.endpoints[0], DOMAIN["alice"], root=root, router=client.router) as link,
                ):
                    client.attach(link, APP)
                    for number in range(ACTORS):
                        server.spawn(Counter, name=f"counter{number}")
                    await story(client, server, listening, link)

        anyio.run(main, backend=request.param)

    return run


def test_calls_sends_monitors_and_topics_of_several_actors_take_one_connection(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, listening: bttp.Server, link: bttp.Link) -> None:
        server.serve_topics("news")
        seen: list[Down] = []
        fans = [client.spawn(Fan, NEWS) for _ in range(ACTORS)]
        totals: list[int] = []

        async def use(number: int) -> None:
            counter = client.at(APP.child(f"counter{number}"))
            await client.spawn(Observer, seen).call(counter)
            totals.append(await client.spawn(User).call(Use(counter)))

        async with anyio.create_task_group() as group:
            for number in range(ACTORS):
                group.start_soon(use, number)
        for number in range(ACTORS):
            client.at(APP.child(f"counter{number}")).stop()
        for fan in fans:
            await fan.call(Seen())
        assert await server.publish("news", Goal(1)) == ACTORS
        while len(seen) < ACTORS or [await fan.call(Seen()) for fan in fans] != [["goal 1"]] * ACTORS:
            await anyio.sleep(0)
        assert sorted(totals) == [2] * ACTORS
        assert (listening.statistics.accepted, len(listening.links)) == (1, 1)
        assert link.statistics.calls_sent >= 2 * ACTORS

    tell(story)


def test_actors_of_the_server_reach_those_of_the_client_on_the_same_connection(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, listening: bttp.Server, link: bttp.Link) -> None:
        mine = client.spawn(Counter, name="mine")
        server.spawn(Greeter, name="greeter")
        await client.at(APP.child("counter0")).call(Add(0))
        (back,) = listening.links
        server.attach(back, CLIENT)
        client.at(APP.child("greeter")).send(Hello(mine))
        while await mine.call(Add(0)) != 7:
            await anyio.sleep(0)
        assert listening.statistics.accepted == 1
        assert link.statistics.calls_received == 1

    tell(story)


def test_a_second_link_carries_what_lies_below_its_path_and_nothing_else(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, listening: bttp.Server, link: bttp.Link) -> None:
        await client.at(APP.child("counter0")).call(Add(1))
        before = link.statistics.calls_sent
        async with bttp.connect(listening.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as own:
            client.attach(own, APP.child("counter1"))
            for _ in range(3):
                await client.at(APP.child("counter1")).call(Add(1))
            assert (own.statistics.calls_sent, link.statistics.calls_sent) == (3, before)
            await client.at(APP.child("counter2")).call(Add(1))
            assert (own.statistics.calls_sent, link.statistics.calls_sent) == (3, before + 1)
            assert listening.statistics.accepted == 2
        assert await client.at(APP.child("counter1")).call(Add(1)) == 4, "it goes by the other link again"

    tell(story)


def test_threads_and_actors_of_a_script_share_one_connection_and_two_scripts_do_not() -> None:
    root = DOMAIN.principal
    with (
        open_runtime(Runtime(DOMAIN["nas"], APP)) as there,
        there.serve(["127.0.0.1:0"], DOMAIN["nas"], roots=[root]) as server,
    ):
        there.spawn(Counter, name="counter")
        with open_runtime() as rt, rt.linked(server.endpoints, DOMAIN["alice"], APP, root=root):
            counter = rt.at(APP.child("counter"))
            users = [rt.spawn(User) for _ in range(ACTORS)]
            threads = [threading.Thread(target=user.call, args=(Use(counter.ref),)) for user in users]
            threads += [threading.Thread(target=counter.call, args=(Add(1),)) for _ in range(ACTORS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert counter.call(Add(0)) == 3 * ACTORS
            assert server.statistics.accepted == 1
            with open_runtime() as other, other.linked(server.endpoints, DOMAIN["alice"], APP, root=root):
                assert other.at(APP.child("counter")).call(Add(0)) == 3 * ACTORS
                assert (server.statistics.accepted, server.statistics.links) == (2, 2)
