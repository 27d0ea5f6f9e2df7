"""A session among three: all of its conversations are one, whoever mixes them up, and nobody hears a wrong word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import permutations
from typing import Any, ClassVar, NamedTuple

import anyio
import pytest
from btlib import Kind, Principal
from btrun.errors import UsageError
from btrun.protocol import (
    END,
    SESSION_BYTES,
    Channel,
    Handle,
    Protocol,
    Role,
    Side,
    State,
    Taking,
    channel_pair,
)
from btrun.protocol._joining import Joining, Player, nearest_to
from btrun.protocol._versions import Versions
from btrun.protocol.errors import (
    JoiningError,
    ProtocolError,
    SessionEndedError,
    StateTimeoutError,
    VersionError,
    ViolationError,
)
from btserde import U8
from msgspec import Struct

Run = Callable[[Callable[[], Any]], None]
Channels = dict[str, Channel]


class Round(Struct, frozen=True):
    number: U8


class Ring(Protocol):
    """A number goes round."""

    first = Role("begins")
    second = Role("passes on")
    third = Role("gives back")
    beginning = State("")
    passing = State("")
    closing = State("")
    beginning.lets(first, {Round: passing}, to=second)
    passing.lets(second, {Round: closing}, to=third)
    closing.lets(third, {Round: END}, to=first)


class Taken(NamedTuple):
    message: Round
    then: Any


class FirstBeginning(Handle):
    state: ClassVar[str] = "beginning"

    def send(self, message: Round) -> Taking[FirstClosing]:
        return self._send(message)


class FirstClosing(Handle):
    state: ClassVar[str] = "closing"
    Round = Taken

    def receive(self) -> Taking[Taken]:
        return self._receive()


class SecondBeginning(FirstClosing):
    state: ClassVar[str] = "beginning"


class SecondPassing(FirstBeginning):
    state: ClassVar[str] = "passing"


class ThirdPassing(FirstClosing):
    state: ClassVar[str] = "passing"


class ThirdClosing(FirstBeginning):
    state: ClassVar[str] = "closing"


as_first = Side(Ring, "first", FirstBeginning, (FirstClosing,), fingerprint=Ring.fingerprint)
as_second = Side(Ring, "second", SecondBeginning, (SecondPassing,), fingerprint=Ring.fingerprint)
as_third = Side(Ring, "third", ThirdPassing, (ThirdClosing,), fingerprint=Ring.fingerprint)

WHO = {role: Principal(role.encode().ljust(32, b"\0")) for role in ("first", "second", "third", "evil")}


def ring(who: Mapping[str, Principal] = WHO) -> dict[str, Channels]:
    """The channels of one ring, by role and by the role at their other end."""
    ends: dict[str, Channels] = {"first": {}, "second": {}, "third": {}}
    for one, other in (("first", "second"), ("second", "third"), ("third", "first")):
        ends[one][other], ends[other][one] = channel_pair(who[one], who[other])
    return ends


class Parties:
    """Three programs, and what became of them."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.numbers: list[bytes] = []
        self.errors: dict[str, ProtocolError] = {}

    async def first(self, channels: Mapping[str, Channel], session: bytes | None = None) -> None:
        async with self._kept("first"), as_first(channels, session=session) as start:
            self.numbers.append(start.session_number)
            message, _ = await (await start.send(Round(1))).receive()
            self.heard.append(message.number)

    async def second(self, channels: Mapping[str, Channel]) -> None:
        async with self._kept("second"), as_second(channels) as start:
            self.numbers.append(start.session_number)
            message, passing = await start.receive()
            self.heard.append(message.number)
            await passing.send(Round(message.number + 1))

    async def third(self, channels: Mapping[str, Channel]) -> None:
        async with self._kept("third"), as_third(channels) as start:
            self.numbers.append(start.session_number)
            message, closing = await start.receive()
            self.heard.append(message.number)
            await closing.send(Round(message.number + 1))

    def _kept(self, role: str) -> Kept:
        return Kept(self.errors, role)


class Kept:
    """Keeps the error of a program, so that the others go on."""

    def __init__(self, errors: dict[str, ProtocolError], role: str) -> None:
        self._errors = errors
        self._role = role

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, ProtocolError):
            self._errors[self._role] = error
        return isinstance(error, ProtocolError)


async def together(*programs: Awaitable[None]) -> None:
    async def run(program: Awaitable[None]) -> None:
        await program

    async with anyio.create_task_group() as group:
        for program in programs:
            group.start_soon(run, program)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_sides_know_one_number_in_whatever_order_they_begin(run: Run, order: tuple[int, ...]) -> None:
    async def main() -> None:
        parties, ends = Parties(), ring()
        programs = (parties.first(ends["first"]), parties.second(ends["second"]), parties.third(ends["third"]))
        await together(*(programs[place] for place in order))
        assert parties.errors == {}
        assert parties.heard == [1, 2, 3]
        assert len(set(parties.numbers)) == 1
        assert len(parties.numbers[0]) == SESSION_BYTES

    run(main)


def test_two_sessions_have_different_numbers_and_a_program_may_give_one(run: Run) -> None:
    async def main() -> None:
        given, parties = bytes(range(SESSION_BYTES)), Parties()
        for number in (None, given):
            ends = ring()
            await together(
                parties.first(ends["first"], number), parties.second(ends["second"]), parties.third(ends["third"])
            )
        assert parties.numbers[3:] == [given] * 3
        assert given not in parties.numbers[:3]

    run(main)


def test_channels_of_two_sessions_make_none_and_all_are_told(run: Run) -> None:
    async def main() -> None:
        parties, others, one, two = Parties(), Parties(), ring(), ring()
        one["third"]["second"], two["third"]["second"] = two["third"]["second"], one["third"]["second"]
        await together(
            *(each.first(ends["first"]) for each, ends in ((parties, one), (others, two))),
            *(each.second(ends["second"]) for each, ends in ((parties, one), (others, two))),
            *(each.third(ends["third"]) for each, ends in ((parties, one), (others, two))),
        )
        for each in (parties, others):
            assert each.errors.keys() == {"first", "second", "third"}
            assert each.heard in ([], [1]), "the first word may have come where nobody was wrong"
            assert isinstance(each.errors["third"], JoiningError)
            assert f"{WHO['second']}, as the second of Ring, joined the session" in str(each.errors["third"])
            for role in ("first", "second"):
                assert isinstance(each.errors[role], JoiningError | SessionEndedError)

    run(main)


def test_a_side_that_plays_another_role_is_refused(run: Run) -> None:
    async def main() -> None:
        parties, ends = Parties(), ring()
        mixed = {"second": ends["first"]["third"], "third": ends["first"]["second"]}
        await together(parties.first(mixed), parties.second(ends["second"]), parties.third(ends["third"]))
        assert parties.heard == []
        assert "as the third who talks to the first; here it is the second, and this is the first" in str(
            parties.errors["first"]
        ) or "as the first who talks to the third" in str(parties.errors["second"])
        assert parties.errors.keys() == {"first", "second", "third"}

    run(main)


def test_two_principals_behind_one_role_are_noticed(run: Run) -> None:
    async def main() -> None:
        parties, ends = Parties(), ring()
        ends["second"]["third"], ends["third"]["second"] = channel_pair(WHO["evil"], WHO["third"])
        await together(parties.first(ends["first"]), parties.second(ends["second"]), parties.third(ends["third"]))
        assert parties.errors.keys() == {"first", "second", "third"}
        assert 3 not in parties.heard
        told = next(str(error) for error in parties.errors.values() if isinstance(error, JoiningError))
        assert "two are behind the second of Ring" in told
        assert str(WHO["evil"]) in told
        assert str(WHO["second"]) in told

    run(main)


def test_a_violation_tells_the_number_of_its_session(run: Run) -> None:
    async def main() -> None:
        parties, ends = Parties(), ring()

        async def evil() -> None:
            async with as_second(ends["second"]) as start:
                await start.receive()
                await ends["second"]["third"].send(Versions(fingerprints=()))

        await together(parties.first(ends["first"]), evil(), parties.third(ends["third"]))
        error = parties.errors["third"]
        assert isinstance(error, ViolationError)
        assert error.violation.session == parties.numbers[0].hex()
        assert f"(message 1 of the session {parties.numbers[0].hex()})" in str(error)

    run(main)


def joining(**changes: object) -> Joining:
    fields: dict[str, Any] = {
        "fingerprint": Ring.fingerprint,
        "session": bytes(SESSION_BYTES),
        "sender": "second",
        "receiver": "first",
        "players": (),
    }
    return Joining(**{**fields, **changes})


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (joining(session=b"x" * SESSION_BYTES), JoiningError, "joined the session 7878"),
        (joining(sender="third"), JoiningError, "as the third who talks to the first; here it is the second"),
        (joining(receiver="third"), JoiningError, "as the second who talks to the third"),
        (joining(fingerprint=7), VersionError, "speaks version 0000000000000007 of Ring"),
        (joining(players=(Player(role="third", principal=WHO["evil"]),)), JoiningError, "two are behind the third"),
        (Versions(fingerprints=(Ring.fingerprint,)), JoiningError, "without joining one"),
    ],
)
def test_an_evil_neighbour_is_refused_before_the_first_word(
    run: Run, said: Struct, kind: type[ProtocolError], told: str
) -> None:
    async def main() -> None:
        ends = ring()
        await ends["second"]["first"].send(said)
        with pytest.raises(kind, match=told) as refused:
            await as_first(ends["first"], session=bytes(SESSION_BYTES)).__aenter__()
        assert str(WHO["second"]) in str(refused.value) or "two are behind" in told
        for other in ("second", "third"):
            assert isinstance(await ends[other]["first"].receive({}), Joining)
            with pytest.raises(SessionEndedError, match=told):
                await ends[other]["first"].receive({})

    run(main)


def test_a_side_that_joins_nothing_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btrun.protocol._joining.AGREE_SECONDS", 0.0)

    async def main() -> None:
        with pytest.raises(StateTimeoutError, match="which session of Ring it joins") as error:
            await as_second(ring()["second"]).__aenter__()
        assert error.value.kind is Kind.DEADLINE

    run(main)


def test_a_number_of_another_length_or_between_two_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be joined as the session 00"):
        as_first(ring()["first"], session=b"\0")


def test_the_number_comes_by_the_shortest_way() -> None:
    assert nearest_to("first", Ring.tables) == {"second": "first", "third": "first"}


# --- a role that several open channels to
