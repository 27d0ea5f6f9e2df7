"""Topics of other runtimes: over real links, as near as here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import bttp
import pytest
from btlib.kinds import Kind
from btlib.testing import DomainIdentities, make_domain_identities
from btrun import (
    Mailbox,
    MailboxFullError,
    Ref,
    Runtime,
    UnavailableError,
)
from btrun.errors import NoLinkError

from .test_topics import APP, CLIENT, DOMAIN, NEWS, Fan, Goal, Seen, Story, Weather


@pytest.fixture(params=["asyncio", "trio"])
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs a story with a client's runtime, a server's that serves topics, and the link between them."""

    def runner(story: Story, domain: DomainIdentities = DOMAIN, who: str = "alice") -> None:
        async def main() -> None:
            with anyio.fail_after(20):
                async with (
                    Runtime(domain["nas"], APP) as server,
                    Runtime(domain[who], CLIENT) as client,
                    bttp.serve(["127.0.0.1:0"], domain["nas"], server.router, roots=[domain.principal]) as listening,
                    bttp.connect(listening.endpoints[0], domain[who], root=domain.principal) as link,
                ):
                    client.attach(link, APP)
                    server.serve_topics("news")
                    await story(client, server, link)

        anyio.run(main, backend=request.param)

    return runner


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await anyio.sleep(0)


async def until_seen(fan: Ref, seen: list[str]) -> None:
    async def all_there() -> bool:
        return len(await fan.call(Seen())) >= len(seen)

    await until(all_there)
    assert await fan.call(Seen()) == seen


def test_whoever_publishes_everybody_subscribed_gets_it_here_and_there(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        far, near = client.spawn(Fan, NEWS, below=True), server.spawn(Fan, "news/sport")
        await far.call(Seen())
        await near.call(Seen())
        assert await server.publish("news/sport", Goal(1)) == 2
        assert await client.publish(NEWS.child("sport"), Goal(2)) == 2
        assert await client.publish(NEWS, Goal(3)) == 1
        await until_seen(far, ["goal 1", "goal 2", "goal 3"])
        await until_seen(near, ["goal 1", "goal 2"])
        far.stop()

        async def gone() -> bool:
            return await server.publish("news", Goal(4)) == 0

        await until(gone)

    tell(story)


def test_a_plain_bttp_broker_and_its_messages_do(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        place = APP.child("plain")
        bttp.Broker().add_to(server.router, place)
        fan = client.spawn(Fan, place)
        await fan.call(Seen())
        await link.call(place, b"no message of an actor")
        assert await client.publish(place, Weather("rain")) == 1
        assert await client.publish(place, Goal(1)) == 1
        await until_seen(fan, ["goal 1"])
        assert [letter.message.__class__.__name__ for letter in client.dead_letters.last] == ["Message", "Published"]

    tell(story)


def test_a_slow_remote_subscriber_holds_its_publisher_and_loses_nothing(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        fan = client.spawn(Fan, NEWS, mailbox=Mailbox(limit=4))
        await fan.call(Seen())
        count = 2000
        for number in range(count):
            assert await server.publish("news", Goal(number), timeout=10) == 1

        async def complete() -> bool:
            try:
                return len(await fan.call(Seen())) == count
            except MailboxFullError:
                return False

        await until(complete)
        assert await fan.call(Seen()) == [f"goal {number}" for number in range(count)]
        assert client.dead_letters.count == server.dead_letters.count == 0

    tell(story)


def test_a_link_that_breaks_ends_the_subscription_and_the_actor_is_told(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        fan = client.spawn(Fan, NEWS)
        await fan.call(Seen())
        await link.aclose()
        await until_seen(fan, ["Unsubscribed news"])
        with pytest.raises(NoLinkError, match="no link leads to"):
            await client.publish(NEWS, Goal(1))
        late = client.spawn(Fan, NEWS)
        assert "NoLinkError" in str((await late.wait_down()).reason)

    tell(story)


def test_only_those_who_may_execute_at_a_topic_publish_and_subscribe(tell: Callable[..., None]) -> None:
    domain = make_domain_identities("nas")
    domain.members["guest"] = domain.issue("guest", (*NEWS.names, "sport"))

    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        assert await client.publish(NEWS.child("sport"), Goal(1)) == 0
        with pytest.raises(bttp.RemoteError) as error:
            await client.publish(NEWS, Goal(1))
        assert error.value.kind is Kind.FORBIDDEN
        fan = client.spawn(Fan, NEWS, below=True)
        assert "RemoteError" in str((await fan.wait_down()).reason)

    tell(story, domain, "guest")


def test_what_is_no_message_is_refused_to_its_publisher(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        near = server.spawn(Fan, "news")
        await near.call(Seen())
        with pytest.raises(bttp.RemoteError, match="is no message") as error:
            await link.call(NEWS, b"\xff")
        assert error.value.kind is Kind.INVALID
        with pytest.raises(UnavailableError, match="no runtime serves"):
            await client.publish(DOMAIN.path.child("hosts"), Goal(1))
        assert await near.call(Seen()) == []

    client_attaches_root(tell, story)


def client_attaches_root(tell: Callable[[Story], None], story: Story) -> None:
    async def attached(client: Runtime, server: Runtime, link: bttp.Link) -> None:
        client.attach(link, DOMAIN.path)
        await story(client, server, link)

    tell(attached)
