"""Sessions over links that fail: breaches, refusals, broken links, programs that leave; each side has its error."""

from __future__ import annotations

from typing import Any

import anyio
import bttp
import pytest
from btlib import Kind
from btlib.testing import make_domain_identities
from btrun.protocol import Channel
from btrun.protocol._versions import Versions
from btrun.protocol._wire import pack, pack_close
from btrun.protocol.errors import SessionEndedError, VersionError, ViolationError
from btrun.protocol.examples.bank import FEE, Bank, pay
from btrun.protocol.examples.shelf import Shelf, append
from btrun.protocol.examples.transfer import Ask, Commit, Leave, Moved, Transfer
from btrun.protocol.examples.transfer_handles import as_bank, as_client

from .test_streams import ALICE, DOMAIN, NAS, PLACE, Ended, Run, World, tell


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
