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
from btrun.protocol._versions import Versions
from btrun.protocol._wire import pack, pack_close
from btrun.protocol.errors import SessionEndedError, VersionError, ViolationError
from btrun.protocol.examples.bank import FEE, Bank, pay
from btrun.protocol.examples.files_handles import as_client as as_reader
from btrun.protocol.examples.newsroom import BACKLOG, Broker, subscribe
from btrun.protocol.examples.room import Room, listen, speak
from btrun.protocol.examples.shelf import Shelf, append, read_file
from btrun.protocol.examples.transfer import Ask, Commit, Leave, Moved, Refused, Transfer
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


def test_a_client_that_breaks_the_rules_is_named_to_the_server_and_told(run: Run) -> None:
    async def commit_at_once(talk: Any) -> None:
        async with talk as channel, as_client(channel) as ready:
            await channel.send(Commit())  # past the handle and its monitor
            await (await ready.send(Ask(source="a", target="a", amount=1))).receive()

    async def story(world: World) -> None:
        bank = Ended(Bank({"a": 10}).serve)
        world.serve(bank)
        before = as_bank.violations.total
        async with world.connect() as link:
            with pytest.raises(SessionEndedError) as told:
                await commit_at_once(world.talk(link))
            assert told.value.kind is Kind.PROTOCOL
            error = (await bank.wait())[0]
            assert isinstance(error, ViolationError)
            violation = error.violation
            assert violation.principal == ALICE
            assert (violation.protocol, violation.role, violation.state) == ("Transfer", "client", "ready")
            assert (violation.got, violation.expected, violation.number) == ("Commit", ("Ask", "Leave"), 1)
            assert violation.sentence() in told.value.message
            assert as_bank.violations.total == before + 1

    tell(run, story)


def test_a_server_that_breaks_the_rules_is_named_to_the_client_and_told(run: Run) -> None:
    async def evil(channel: Channel) -> None:
        async with as_bank(channel) as ready:
            await ready.receive()
            await channel.send(Moved(balance=9))
            await channel.receive({})

    async def story(world: World) -> None:
        server = Ended(evil)
        world.serve(server)
        async with world.connect() as link:
            with pytest.raises(ViolationError, match="as the bank of Transfer, sent Moved in the state asked") as error:
                async with world.talk(link) as channel:
                    await pay(channel, Ask(source="a", target="b", amount=4))
            assert error.value.violation.principal == NAS
            told = (await server.wait())[0]
            assert isinstance(told, SessionEndedError)
            assert error.value.violation.sentence() in told.message

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


@pytest.mark.parametrize(
    ("name", "kind"), [pytest.param("bank", Kind.FORBIDDEN, id="no right"), pytest.param("mint", None, id="no program")]
)
def test_a_refusal_is_the_error_of_the_first_step(run: Run, name: str, kind: Kind | None) -> None:
    domain = make_domain_identities("nas")
    domain.members["alice"] = domain.issue("alice", ("hosts", "nas", "app", "mint"))

    async def story(world: World) -> None:
        bank = Ended(Bank({}).serve)
        world.serve(bank)
        async with world.connect() as link:
            with pytest.raises(SessionEndedError, match=f"app/{name} was cut off") as error:
                async with world.talk(link, name) as channel:
                    await pay(channel)
            assert error.value.kind is (kind or Kind.NO_SUCH_TARGET)
        assert bank.peers == []

    place = domain.path.child("hosts").child("nas").child("app")
    assert place == PLACE
    tell(run, story, domain)


def test_a_link_that_breaks_ends_the_session_at_both_ends(run: Run) -> None:
    async def be_cut_off(world: World, bank: Bank, link: bttp.Link) -> None:
        async with world.talk(link) as channel, as_client(channel) as ready:
            await (await ready.send(Ask(source="a", target="b", amount=4))).receive()
            assert bank.accounts == {"a": 10 - 4 - FEE, "b": 0}
            await world.server.links[0].aclose()
            await channel.receive({})

    async def story(world: World) -> None:
        bank = Bank({"a": 10, "b": 0})
        server = Ended(bank.serve)
        world.serve(server)
        async with world.connect() as link:
            with pytest.raises(SessionEndedError, match="cut off") as error:
                await be_cut_off(world, bank, link)
            assert error.value.kind is Kind.UNREACHABLE
        await server.wait()
        assert bank.accounts == {"a": 10, "b": 0}

    tell(run, story)


def test_a_program_that_fails_tells_its_role_and_state(run: Run) -> None:
    async def broken(channel: Channel) -> None:
        async with as_bank(channel) as ready:
            await ready.receive()
            raise ZeroDivisionError("a secret")

    async def story(world: World) -> None:
        world.serve(broken)
        async with world.connect() as link:
            with pytest.raises(SessionEndedError, match="the bank failed in its state asked") as error:
                async with world.talk(link) as channel:
                    await pay(channel, Ask(source="a", target="b", amount=4))
            assert error.value.kind is Kind.INTERNAL
            assert "secret" not in str(error.value)

    tell(run, story)


def test_a_client_that_leaves_early_tells_its_role_and_state(run: Run) -> None:
    async def story(world: World) -> None:
        server = Ended(Bank({"a": 10, "b": 0}).serve)
        world.serve(server)
        async with world.connect() as link:
            async with world.talk(link) as channel, as_client(channel) as ready:
                await (await ready.send(Ask(source="a", target="b", amount=4))).receive()
            error = (await server.wait())[0]
            assert isinstance(error, SessionEndedError)
            assert "the client left in its state held" in error.message

    tell(run, story)


def test_cancelling_the_client_cancels_the_program_at_the_server(run: Run) -> None:
    async def story(world: World) -> None:
        bank = Bank({"a": 10, "b": 0})
        server = Ended(bank.serve)
        world.serve(server)
        async with world.connect() as link:
            with anyio.CancelScope() as scope:
                async with world.talk(link) as channel, as_client(channel) as ready:
                    await (await ready.send(Ask(source="a", target="b", amount=4))).receive()
                    scope.cancel()
                    await anyio.sleep_forever()
            await server.wait()
            assert bank.accounts == {"a": 10, "b": 0}

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


def test_an_anonymous_peer_gets_no_session(run: Run) -> None:
    policy = bttp.RootPolicy([DOMAIN.principal], anonymous=True, public=[PLACE])

    async def story(world: World) -> None:
        server = Ended(Bank({}).serve)
        world.serve(server)
        async with bttp.connect(world.endpoint, None, root=DOMAIN.principal) as link:
            with pytest.raises(SessionEndedError, match="anonymous") as error:
                async with world.talk(link) as channel:
                    await pay(channel)
            assert error.value.kind is Kind.UNAUTHENTICATED
        assert server.peers == []

    tell(run, story, policy=policy)


def test_a_message_too_long_for_the_link_ends_its_session_only(run: Run) -> None:
    async def story(world: World) -> None:
        shelf = Shelf({"/notes": b""})
        world.serve(shelf.serve, "shelf")
        async with world.connect() as link:
            with pytest.raises(bttp.LimitError, match="max_body"):
                async with world.talk(link, "shelf") as channel:
                    await append(channel, "/notes", bytes(100_000))
            async with world.talk(link, "shelf") as channel:
                assert await append(channel, "/notes", b"short") == 5

    tell(run, story, limits=bttp.Limits(max_body=90_000))


VERSIONS = pack(Versions(fingerprints=(Transfer.fingerprint,)))


@pytest.mark.parametrize(
    ("items", "error", "text"),
    [
        pytest.param([VERSIONS, b"\xff" * 40], ViolationError, "sent a packet in the state ready", id="garbage"),
        pytest.param([VERSIONS, b""], ViolationError, "sent a packet in the state ready", id="empty"),
        pytest.param([VERSIONS, pack(Moved(balance=1))], ViolationError, "sent Moved in the state ready", id="early"),
        pytest.param([VERSIONS, VERSIONS], ViolationError, "sent Versions in the state ready", id="versions twice"),
        pytest.param([pack(Leave())], VersionError, "began a session of Transfer with Leave", id="no versions"),
        pytest.param([VERSIONS], SessionEndedError, "without a word", id="end without a word"),
        pytest.param(
            [VERSIONS, pack_close(Kind.BUSY, "x" * 5000)], SessionEndedError, "ended the session: x", id="word"
        ),
    ],
)
def test_an_evil_peer_on_a_real_stream_ends_its_own_session_and_is_named(
    run: Run, items: list[bytes], error: type[Exception], text: str
) -> None:
    async def story(world: World) -> None:
        server = Ended(Bank({"a": 10, "b": 0}).serve)
        world.serve(server)
        async with world.connect() as link, world.talk(link) as good, as_client(good) as ready:
            async with link.stream(PLACE.child("bank")) as stream:
                for item in items:
                    await stream.send(item)
                await stream.finish()
                found = (await server.wait())[0]
                assert isinstance(found, error)
                assert text in str(found)
                assert str(ALICE) in str(found) or error is SessionEndedError
                assert len(str(found)) < 1500
            await (await ready.send(Ask(source="a", target="nobody", amount=1))).receive()
            assert server.peers == [ALICE, ALICE]

    tell(run, story)


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
