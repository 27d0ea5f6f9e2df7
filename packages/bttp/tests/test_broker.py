"""The broker over real links: rights, refusals, and publishers that go away while they wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import bttp
import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities

DOMAIN = make_domain_identities("server", "alice")
TOPICS = DOMAIN.path.child("topics")
WARM = TOPICS.child("warm")
NARROW = DOMAIN.issue("bob", ("topics", "warm"))


async def fill(link: bttp.Link) -> int:
    """Publish until a message finds no room; how many did, the one before included."""
    count = 1
    while True:
        try:
            await link.call(WARM, str(count).encode(), timeout=0.3)
        except bttp.DeadlineError:
            return count
        count += 1


def run(backend: str, story: Callable[[str, bttp.Broker], Awaitable[None]]) -> None:
    async def main() -> None:
        router, broker = bttp.Router(), bttp.Broker(max_queue=1000)
        broker.add_to(router, TOPICS)
        limits = bttp.Limits(stream_window=600)
        with anyio.fail_after(20):
            async with bttp.serve(
                ["127.0.0.1:0"], DOMAIN["server"], router, roots=[DOMAIN.principal], limits=limits
            ) as server:
                await story(server.endpoints[0], broker)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_both_verbs_need_the_right_to_the_topic(backend: str) -> None:
    async def story(endpoint: str, _broker: bttp.Broker) -> None:
        async with bttp.connect(endpoint, NARROW, root=DOMAIN.principal) as link:
            async with bttp.subscribe(link, WARM) as messages:
                await link.call(WARM, b"yes")
                assert bytes((await anext(messages)).body) == b"yes"
            with pytest.raises(bttp.RemoteError) as refused:
                await link.call(TOPICS.child("cold"), b"no")
            assert refused.value.kind is Kind.FORBIDDEN
            for path, below in ((TOPICS.child("cold"), False), (TOPICS, True)):
                with pytest.raises(bttp.RemoteError) as refused:
                    async with bttp.subscribe(link, path, below=below):
                        pass
                assert refused.value.kind is Kind.FORBIDDEN

    run(backend, story)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_publisher_that_gives_up_leaves_its_message_out(backend: str) -> None:
    async def story(endpoint: str, broker: bttp.Broker) -> None:
        async with bttp.connect(endpoint, DOMAIN["alice"], root=DOMAIN.principal) as link:
            other = bttp.connect(endpoint, DOMAIN["alice"], root=DOMAIN.principal, limits=bttp.Limits(stream_window=1))
            async with other as slow, bttp.subscribe(slow, WARM, queue=1) as messages:
                await link.call(WARM, b"0")
                count = await fill(link)
                assert [int(bytes((await anext(messages)).body)) for _ in range(count)] == list(range(count))
                await link.call(WARM, b"last")
                assert bytes((await anext(messages)).body) == b"last"
                assert messages.lost == 0
            assert broker.statistics.published == count + 2

    run(backend, story)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_cannot_be_subscribed_is_refused(backend: str) -> None:
    async def story(endpoint: str, broker: bttp.Broker) -> None:
        async with bttp.connect(endpoint, DOMAIN["alice"], root=DOMAIN.principal) as link:
            with pytest.raises(bttp.RemoteError, match="max_queue"):
                async with bttp.subscribe(link, WARM, queue=1001):
                    pass
            async with link.stream(WARM, b"gibberish") as stream:
                with pytest.raises(bttp.RemoteError) as refused:
                    await stream.receive()
            assert refused.value.kind is Kind.INVALID
            assert broker.statistics.subscribers == 0

    run(backend, story)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_a_broker_checks_and_refuses_reaches_nobody(backend: str) -> None:
    def check(request: bttp.Request) -> None:
        if bytes(request.body) == b"bad":
            raise bttp.BttpError("that is no news", kind=Kind.INVALID)

    async def main() -> None:
        router, broker = bttp.Router(), bttp.Broker(check=check)
        broker.add_to(router, TOPICS)
        with anyio.fail_after(20):
            async with (
                bttp.serve(["127.0.0.1:0"], DOMAIN["server"], router, roots=[DOMAIN.principal]) as server,
                bttp.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
                bttp.subscribe(link, WARM) as messages,
            ):
                with pytest.raises(bttp.RemoteError, match="that is no news"):
                    await link.call(WARM, b"bad")
                await link.call(WARM, b"good")
                assert bytes((await anext(messages)).body) == b"good"
                assert broker.statistics.published == 1

    anyio.run(main, backend=backend)
