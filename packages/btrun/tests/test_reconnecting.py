"""References and subscriptions over a link that is made again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import anyio
import bttp
import pytest
from btlib.testing import make_domain_identities
from btrun import Runtime, UnavailableError
from btrun.errors import NoLinkError

from .test_remote import Add, Counter, Observer
from .test_topics import APP, CLIENT, NEWS, Fan, Goal, Seen

Story: TypeAlias = Callable[[Runtime, Runtime, bttp.Server, bttp.ReconnectingLink], Awaitable[None]]
DOMAIN = make_domain_identities("nas", "alice")


@pytest.fixture(params=["asyncio", "trio"])
def tell(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a story with a client's runtime, a server's, and a reconnecting link between them."""

    def run(story: Story) -> None:
        async def main() -> None:
            with anyio.fail_after(30):
                async with (
                    Runtime(DOMAIN["nas"], APP) as server,
                    Runtime(DOMAIN["alice"], CLIENT) as client,
                    bttp.serve(["127.0.0.1:0"], DOMAIN["nas"], server.router, roots=[DOMAIN.principal]) as listening,
                    bttp.reconnecting(listening.endpoints, DOMAIN["alice"], root=DOMAIN.principal) as link,
                ):
                    client.attach(link, APP)
                    server.serve_topics("news")
                    server.spawn(Counter, name="counter")
                    await link.ready()
                    await story(client, server, listening, link)

        anyio.run(main, backend=request.param)

    return run


async def lose(listening: bttp.Server, link: bttp.ReconnectingLink) -> None:
    """The server cuts the connection; return when the client has noticed."""
    for each in listening.links:
        await each.aclose()
    opened = link.links_opened
    while link.link is not None and link.links_opened == opened:
        await anyio.sleep(0)


def test_a_reference_works_again_when_the_link_is_there_again(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, listening: bttp.Server, link: bttp.ReconnectingLink) -> None:
        counter = client.at(APP.child("counter"))
        assert await counter.call(Add(1)) == 1
        await lose(listening, link)
        if link.link is None:
            with pytest.raises(NoLinkError, match="there is no link at the moment"):
                await counter.call(Add(1))
        await link.ready()
        assert await counter.call(Add(1)) == 2, "what was not sent did not act"

    tell(story)


def test_a_monitor_is_told_that_nobody_can_tell(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, listening: bttp.Server, link: bttp.ReconnectingLink) -> None:
        seen: list[object] = []
        counter = client.at(APP.child("counter"))
        await client.spawn(Observer, seen).call(counter)
        assert await counter.call(Add(1)) == 1
        await lose(listening, link)
        while not seen:
            await anyio.sleep(0)

    tell(story)


def test_a_subscription_goes_on_and_tells_of_the_gap(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, listening: bttp.Server, link: bttp.ReconnectingLink) -> None:
        fan = client.spawn(Fan, NEWS)
        await fan.call(Seen())
        assert await server.publish("news", Goal(1)) == 1
        while await fan.call(Seen()) != ["goal 1"]:
            await anyio.sleep(0)
        await lose(listening, link)
        number = 1
        while len(seen := await fan.call(Seen())) < 3:
            number += 1
            with suppress(UnavailableError):
                await server.publish("news", Goal(number))
            await anyio.sleep(0)
        assert seen[:2] == ["goal 1", "Lost news"]
        numbers = [int(line.removeprefix("goal ")) for line in seen[2:]]
        assert numbers == sorted(numbers)

    tell(story)
