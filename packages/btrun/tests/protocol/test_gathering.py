"""Gathering: who brings together what several open to one role."""

from __future__ import annotations

import anyio
import pytest
from btlib import Kind
from btrun.protocol import (
    SESSION_BYTES,
    Gathering,
    channel_pair,
)
from btrun.protocol.errors import (
    JoiningError,
    SessionEndedError,
    StateTimeoutError,
)

from .test_joining import WHO, Parties, Ring, Run, joining, ring, together


def test_a_gathering_brings_together_what_belongs_together(run: Run) -> None:
    async def main() -> None:
        parties = [Parties() for _ in range(5)]
        served = Parties()
        gathering = Gathering(Ring, "third", ["first", "second"], served.third)
        rings = [ring() for _ in parties]
        await together(
            *(gathering.serve(ends["third"]["second"]) for ends in rings),
            *(gathering.serve(ends["third"]["first"]) for ends in reversed(rings)),
            *(
                each.first(ends["first"], number_of(place))
                for place, (each, ends) in enumerate(zip(parties, rings, strict=True))
            ),
            *(each.second(ends["second"]) for each, ends in zip(parties, rings, strict=True)),
        )
        assert [each.heard for each in parties] == [[1, 3]] * 5
        assert all(each.errors == {} for each in (*parties, served))
        assert sorted(served.numbers) == [number_of(place) for place in range(5)]

    run(main)


def number_of(place: int) -> bytes:
    return bytes([place]) * SESSION_BYTES


def test_a_second_one_of_a_role_and_one_of_no_role_are_refused(run: Run) -> None:
    async def main() -> None:
        gathering = Gathering(Ring, "third", ["first", "second"], Parties().third)
        for roles, told in ((("second", "second"), "which is there already"), (("evil",), "which is not waited for")):
            async with anyio.create_task_group() as group:
                ends = [channel_pair(WHO["second"], WHO["third"]) for _ in roles]
                for (theirs, _), role in zip(ends, roles, strict=True):
                    await theirs.send(joining(sender=role, receiver="third"))
                for _, ours in ends[:-1]:
                    group.start_soon(gathering.serve, ours)
                    await anyio.wait_all_tasks_blocked()
                with pytest.raises(JoiningError, match=told):
                    await gathering.serve(ends[-1][1])
                with pytest.raises(SessionEndedError, match=told):
                    await ends[-1][0].receive({})
                group.cancel_scope.cancel()
        assert gathering._meetings == {}

    run(main)


def test_what_is_not_joined_by_all_is_given_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btrun.protocol._gathering.AGREE_SECONDS", 0.0)

    async def main() -> None:
        gathering = Gathering(Ring, "third", ["first", "second"], Parties().third)
        theirs, ours = channel_pair(WHO["second"], WHO["third"])
        await theirs.send(joining(receiver="third"))
        with pytest.raises(StateTimeoutError, match="no first joined the session 0000"):
            await gathering.serve(ours)
        with pytest.raises(SessionEndedError, match="no first joined"):
            await theirs.receive({})
        assert gathering._meetings == {}

    run(main)


def test_no_more_sessions_wait_than_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btrun.protocol._gathering.MAX_WAITING", 2)

    async def main() -> None:
        gathering = Gathering(Ring, "third", ["first", "second"], Parties().third)
        async with anyio.create_task_group() as group:
            for place in range(3):
                theirs, ours = channel_pair(WHO["second"], WHO["third"])
                await theirs.send(joining(receiver="third", session=number_of(place)))
                if place < 2:
                    group.start_soon(gathering.serve, ours)
                    await anyio.wait_all_tasks_blocked()
            with pytest.raises(JoiningError, match="MAX_WAITING") as busy:
                await gathering.serve(ours)
            assert busy.value.kind is Kind.BUSY
            group.cancel_scope.cancel()

    run(main)


def test_a_gathering_of_roles_that_never_meet_is_refused() -> None:
    with pytest.raises(LookupError, match="the third of Ring has no channel to nobody"):
        Gathering(Ring, "third", ["nobody"], Parties().third)
