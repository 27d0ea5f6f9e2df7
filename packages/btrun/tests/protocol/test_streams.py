"""Sessions over real links: the examples run, and whoever breaks the rules, leaves or vanishes is found and named."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import bttp
import pytest
from btlib import Kind, Principal, Rights
from btlib.testing import DomainIdentities, make_domain_identities
from btrun.protocol import Channel, Gathering, Program, any_version, channel_pair, open_channel, serve_sessions
from btrun.protocol.errors import SessionEndedError, VersionError
from btrun.protocol.examples.bank import FEE, Bank, pay
from btrun.protocol.examples.files_handles import as_client as as_reader
from btrun.protocol.examples.newsroom import BACKLOG, Broker, subscribe
from btrun.protocol.examples.room import Room, listen, speak
from btrun.protocol.examples.shelf import Shelf, append, read_file
from btrun.protocol.examples.transfer import Ask, Leave, Moved, Refused
from btrun.protocol.examples.transfer_handles import as_bank, as_client
from btrun.protocol.examples.votes import Participant, coordinate

from .test_joining import Parties, Ring
from .test_versions import Go, OldLeft, new_left, old_left, old_right

Run = Callable[[Callable[[], Any]], None]
Story = Callable[["World"], Awaitable[None]]

DOMAIN = make_domain_identities("nas", "alice", "carol")
PLACE = DOMAIN.path.child("hosts").child("nas").child("app")
ALICE, NAS = DOMAIN["alice"].principal, DOMAIN["nas"].principal


class World:
    """A server, and how to reach it."""

    def __init__(self, domain: DomainIdentities, server: bttp.Server) -> None:
        self.domain = domain
        self.server = server
        self.router = server.setup.router
        self.endpoint = server.endpoints[0]

    def serve(self, program: Program, name: str = "bank") -> None:
        serve_sessions(self.router, PLACE.child(name), program)

    def connect(self, *names: str) -> Any:
        identities = [self.domain[name] for name in names or ("alice",)]
        return bttp.connect(self.endpoint, identities, root=self.domain.principal)

    def talk(self, link: bttp.Link, name: str = "bank") -> Any:
        return open_channel(link, PLACE.child(name))


def tell(
    run: Run,
    story: Story,
    domain: DomainIdentities = DOMAIN,
    policy: bttp.Policy | None = None,
    limits: bttp.Limits = bttp.Limits(),  # noqa: B008 - a frozen value
) -> None:
    async def main() -> None:
        router = bttp.Router()
        async with bttp.serve(
            ["127.0.0.1:0"], domain["nas"], router, roots=[domain.principal], policy=policy, limits=limits
        ) as server:
            await story(World(domain, server))

    run(main)


class Ended:
    """A program, and what ended each of its sessions."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.errors: list[BaseException | None] = []
        self.peers: list[Principal] = []
        self.news = anyio.Event()

    async def __call__(self, channel: Channel) -> None:
        error: BaseException | None = None
        self.peers.append(channel.peer)
        try:
            await self.program(channel)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.errors.append(error)
            self.news.set()

    async def wait(self, count: int = 1) -> list[BaseException | None]:
        while len(self.errors) < count:
            self.news = anyio.Event()
            await self.news.wait()
        return self.errors


def test_the_examples_run_between_two_processes_sides(run: Run) -> None:
    async def story(world: World) -> None:
        bank, room, broker = Ended(Bank({"a": 10, "b": 0}).serve), Room(), Broker("weather")
        world.serve(bank)
        world.serve(Shelf({"/notes": b"twelve bytes"}).serve, "shelf")
        world.serve(room.serve, "room")
        world.serve(broker.serve, "news")
        async with world.connect() as link:
            async with world.talk(link) as channel:
                assert channel.peer == NAS
                asks = Ask(source="a", target="b", amount=4), Ask(source="a", target="b", amount=400)
                assert await pay(channel, *asks) == [Moved(balance=5), Refused(reason="there is not enough")]
            assert await bank.wait() == [None]
            assert bank.peers == [ALICE]
            async with world.talk(link, "shelf") as channel:
                assert await append(channel, "/notes", b"!") == 13
            async with world.talk(link, "shelf") as channel:
                assert await read_file(channel, "/notes") == b"twelve bytes!"
            async with world.talk(link, "room") as channel:
                await speak(channel, "alice", "hello", "anyone?")
            async with world.talk(link, "room") as channel:
                assert [line.text for line in await listen(channel, "alice", lines=2)] == ["hello", "anyone?"]
            async with world.talk(link, "news") as channel, subscribe(channel, "weather") as events:
                for number in range(BACKLOG + 3):
                    broker.publish("weather", str(number).encode())
                broker.end("weather")
                assert [event async for event in events] == [b"3", b"4", b"5", b"6"]
                assert events.lost == 3

    tell(run, story)


def test_three_roles_agree_over_two_links(run: Run) -> None:
    async def story(world: World) -> None:
        first, second, unable = Participant(), Participant(), Participant(able=False)
        world.serve(first.serve_first, "first")
        world.serve(second.serve_second, "second")
        world.serve(unable.serve_second, "unable")
        async with world.connect() as link, world.connect("carol") as other:
            async with world.talk(link, "first") as one, world.talk(other, "second") as two:
                assert await coordinate(one, two, b"x")
            async with world.talk(link, "first") as one, world.talk(other, "unable") as two:
                assert not await coordinate(one, two, b"y")
        assert (first.committed, second.committed, unable.committed) == ([b"x"], [b"x"], [])

    tell(run, story)


def test_three_that_all_talk_to_each_other_are_in_one_session_over_three_links(run: Run) -> None:
    async def story(world: World) -> None:
        served = Parties()

        async def second(channel: Channel) -> None:
            async with world.connect("nas") as link, world.talk(link, "third") as third:
                await served.second({"first": channel, "third": third})

        world.serve(second, "second")
        world.serve(Gathering(Ring, "third", ["first", "second"], served.third).serve, "third")
        begun = [Parties() for _ in range(3)]
        async with world.connect() as link, anyio.create_task_group() as group:

            async def begin(parties: Parties) -> None:
                async with world.talk(link, "second") as second, world.talk(link, "third") as third:
                    await parties.first({"second": second, "third": third})

            for parties in begun:
                group.start_soon(begin, parties)
        assert [each.heard for each in begun] == [[3]] * 3
        assert all(each.errors == {} for each in (*begun, served))
        numbers = sorted(number for each in begun for number in each.numbers)
        assert len(set(numbers)) == 3
        assert sorted(served.numbers) == sorted(numbers * 2)

    tell(run, story)


def test_two_versions_do_not_talk_and_both_sides_know_why(run: Run) -> None:
    async def story(world: World) -> None:
        bank = Ended(Bank({}).serve)
        world.serve(bank)
        async with world.connect() as link:
            with pytest.raises(VersionError, match="speaks version") as error:
                async with world.talk(link) as channel, as_reader(channel):
                    pytest.fail("they have no version in common")
            assert error.value.kind is Kind.NOT_SUPPORTED
            assert isinstance((await bank.wait())[0], VersionError)

    tell(run, story)


def test_a_side_that_speaks_both_versions_speaks_the_one_that_the_other_knows(run: Run) -> None:
    async def old(channel: Channel) -> None:
        async with old_right(channel) as handle:
            assert (await handle.receive()).message == Go()

    async def story(world: World) -> None:
        server = Ended(old)
        world.serve(server)
        both = any_version(new_left, old_left)
        async with world.connect() as link, world.talk(link) as channel, both(channel) as handle:
            assert isinstance(handle, OldLeft)
            await handle.send(Go())
        assert await server.wait() == [None]

    tell(run, story)


def test_of_several_principals_on_a_link_the_one_that_may_is_named(run: Run) -> None:
    domain = make_domain_identities("nas", "alice")
    domain.members["guest"] = domain.issue("guest", ("home", "guest"), rights=Rights.WRITE)

    async def story(world: World) -> None:
        server = Ended(Bank({}).serve)
        world.serve(server)
        async with world.connect("guest", "alice") as link, world.talk(link) as channel:
            await pay(channel)
        assert server.peers == [domain["alice"].principal]

    tell(run, story, domain)


ENDINGS = ("pay", "abort", "leave", "break", "fail", "cancel")


async def _customer(world: World, link: bttp.Link, ending: str, target: str) -> None:
    ask = Ask(source="a", target=target, amount=2)
    if ending in ("pay", "abort"):
        async with world.talk(link) as channel:
            await pay(channel, ask, most=FEE if ending == "pay" else 0)
        return
    with anyio.CancelScope() as scope:
        async with world.talk(link) as channel, as_client(channel) as ready:
            await (await ready.send(ask)).receive()
            if ending == "break":
                await channel.send(Leave())
                with pytest.raises(SessionEndedError, match="sent Leave in the state held"):
                    await channel.receive({})
            elif ending == "fail":
                raise ZeroDivisionError
            elif ending == "cancel":
                scope.cancel()
                await anyio.sleep(0)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_many_sessions_on_one_link_do_no_money_is_lost_and_each_breach_is_counted(run: Run, seed: int) -> None:
    chance = random.Random(seed)
    endings = [chance.choice(ENDINGS) for _ in range(20)]

    async def story(world: World) -> None:
        bank = Bank({"a": 1000, "b": 0})
        server = Ended(bank.serve)
        world.serve(server)
        before = as_bank.violations.total

        async def one(ending: str) -> None:
            for _ in range(chance.randrange(4)):
                await anyio.sleep(0)
            try:
                await _customer(world, link, ending, "b")
            except ZeroDivisionError:
                assert ending == "fail"

        async with world.connect() as link:
            async with anyio.create_task_group() as group:
                for ending in endings:
                    group.start_soon(one, ending)
            outcomes = await server.wait(len(endings))
        paid = endings.count("pay")
        assert bank.accounts == {"a": 1000 - paid * (2 + FEE), "b": 2 * paid}
        assert as_bank.violations.total - before == endings.count("break")
        assert sum(outcome is None for outcome in outcomes) == paid + endings.count("abort")

    tell(run, story)


def test_a_session_in_memory_and_one_over_a_link_give_the_same_answers(run: Run) -> None:
    async def story(world: World) -> None:
        asks = [Ask(source="a", target="b", amount=amount) for amount in (4, 400, 1)]
        world.serve(Bank({"a": 10, "b": 0}).serve)
        async with world.connect() as link, world.talk(link) as channel:
            remote = await pay(channel, *asks)
        ours, theirs = channel_pair(ALICE, NAS)
        async with anyio.create_task_group() as group:
            group.start_soon(Bank({"a": 10, "b": 0}).serve, theirs)
            assert await pay(ours, *asks) == remote
        assert [type(outcome) for outcome in remote] == [Moved, Refused, Moved]

    tell(run, story)
