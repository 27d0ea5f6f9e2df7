"""Actors of two runtimes over real links."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import bttp
import pytest
from btlib.kinds import Kind
from btlib.testing import DomainIdentities, make_domain_identities
from btrun import DiedError, Down, Ref, Runtime, UnavailableError
from btrun.reasons import Unreachable

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
