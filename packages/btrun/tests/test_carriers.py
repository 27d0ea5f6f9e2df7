"""Whom a link leads to: only peers that may serve at its path get what is meant for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import bttp
import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from btlib.writecaps import Rights
from btrun import Runtime
from btrun.blocking import open_runtime
from btrun.errors import NoLinkError, WrongPeerError

from .test_remote import Add, Counter

Story: TypeAlias = Callable[[Runtime, Runtime, bttp.Server], Awaitable[None]]

DOMAIN = make_domain_identities("nas", "alice")
APP = DOMAIN.path.child("hosts").child("nas").child("app")
ROOT = DOMAIN.principal
#: A member, with a place of its own and leave to talk to all hosts, as an enrolment gives it.
OTHER = DOMAIN.issue("other", ("hosts", "other")).with_chains(
    *DOMAIN.issue("other", ("hosts",), rights=Rights.EXECUTE).chains
)


@pytest.fixture(params=["asyncio", "trio"])
def tell(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a story with a client's runtime, and one that pretends to be at APP, served by another member."""

    def run(story: Story) -> None:
        async def main() -> None:
            with anyio.fail_after(20):
                async with (
                    Runtime(OTHER, APP) as pretender,
                    Runtime(DOMAIN["alice"]) as client,
                    bttp.serve(["127.0.0.1:0"], OTHER, pretender.router, roots=[ROOT]) as listening,
                ):
                    pretender.spawn(Counter, name="counter")
                    await story(client, pretender, listening)

        anyio.run(main, backend=request.param)

    return run


def test_a_link_is_not_attached_where_its_peer_may_not_serve(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, pretender: Runtime, listening: bttp.Server) -> None:
        async with bttp.connect(listening.endpoints[0], DOMAIN["alice"], root=ROOT) as link:
            with pytest.raises(WrongPeerError, match=f"{OTHER.principal}, who may not serve at {APP}") as caught:
                client.attach(link, APP)
            assert caught.value.kind is Kind.FORBIDDEN
            with pytest.raises(NoLinkError):
                await client.at(APP.child("counter")).call(Add(1))
            client.attach(link, DOMAIN.path.child("hosts").child("other"))
            assert link.statistics.calls_sent == 0

    tell(story)


def test_nothing_is_sent_over_a_link_that_was_made_to_another_peer(tell: Callable[[Story], None]) -> None:
    async def story(client: Runtime, pretender: Runtime, listening: bttp.Server) -> None:
        async with (
            Runtime(DOMAIN["nas"], APP) as true,
            bttp.serve(["127.0.0.1:0"], DOMAIN["nas"], true.router, roots=[ROOT]) as there,
        ):
            true.spawn(Counter, name="counter")
            places = list(there.endpoints)
            quickly = bttp.Reconnection(first_pause=0.01)
            async with bttp.reconnecting(lambda: places, DOMAIN["alice"], root=ROOT, settings=quickly) as link:
                await link.ready()
                client.attach(link, APP)
                counter = client.at(APP.child("counter"))
                assert await counter.call(Add(1)) == 1
                places[:] = listening.endpoints
                await (await link.ready()).aclose()
                while link.links_opened < 2:
                    await anyio.sleep(0)
                with pytest.raises(WrongPeerError) as caught:
                    await counter.call(Add(1))
                assert caught.value.untouched
                assert counter.send(Add(1))
                while client.dead_letters.count == 0:
                    await anyio.sleep(0)
                assert listening.traffic.calls_received + listening.traffic.sends_received == 0

    tell(story)


def test_a_script_links_only_to_who_may_serve_at_the_path() -> None:
    with (
        open_runtime(Runtime(OTHER, APP)) as pretender,
        pretender.serve(["127.0.0.1:0"], OTHER, roots=[ROOT]) as server,
        open_runtime() as rt,
    ):
        linking = rt.linked(server.endpoints, DOMAIN["alice"], APP, root=ROOT, timeout=5)
        with pytest.raises(bttp.AuthenticationError, match="the right to write at"), linking:
            raise AssertionError
