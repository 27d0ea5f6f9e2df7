"""The three sides of `two_phase` as programs: a coordinator, and participants that may be unable."""

from __future__ import annotations

from btrun.protocol import Channel

from .two_phase import Abort, Commit, Done, Prepare, Ready, Unable
from .two_phase_handles import (
    CoordinatorDeciding,
    CoordinatorFirstDone,
    CoordinatorRefusing,
    CoordinatorVoting,
    CoordinatorVotingReady,
    FirstDecidingOrRefusing,
    FirstFirstDone,
    FirstVoting,
    SecondCommittingOrAborting,
    SecondSecondDone,
    SecondVotingReadyOrVotingUnable,
    as_coordinator,
    as_first,
    as_second,
)


class Participant:
    """Keeps what was committed. One that is unable is told to abort whatever the other says, and its types know."""

    def __init__(self, *, able: bool = True) -> None:
        self.able = able
        self.committed: list[bytes] = []

    async def serve_first(self, coordinator: Channel) -> None:
        async with as_first(coordinator) as start:
            prepare, voting = await start.receive()
            done = await self._vote_first(prepare, voting)
            await done.send(Done())

    async def _vote_first(self, prepare: Prepare, voting: FirstVoting) -> FirstFirstDone:
        if not self.able:
            _, done = await (await voting.send(Unable(reason="no room"))).receive()
            return done
        match await (await voting.send(Ready())).receive():
            case FirstDecidingOrRefusing.Commit(_, done):
                self.committed.append(prepare.change)
                return done
            case FirstDecidingOrRefusing.Abort(_, done):
                return done

    async def serve_second(self, coordinator: Channel) -> None:
        async with as_second(coordinator) as start:
            prepare, voting = await start.receive()
            done = await self._vote_second(prepare, voting)
            await done.send(Done())

    async def _vote_second(self, prepare: Prepare, voting: SecondVotingReadyOrVotingUnable) -> SecondSecondDone:
        if not self.able:
            _, done = await (await voting.send(Unable(reason="no room"))).receive()
            return done
        match await (await voting.send(Ready())).receive():
            case SecondCommittingOrAborting.Commit(_, done):
                self.committed.append(prepare.change)
                return done
            case SecondCommittingOrAborting.Abort(_, done):
                return done


async def coordinate(first: Channel, second: Channel, change: bytes) -> bool:
    """Ask both; whether both did it."""
    async with as_coordinator({"first": first, "second": second}) as start:
        asking = await start.send(Prepare(change=change))
        decision = await _votes(await asking.send(Prepare(change=change)))
        if isinstance(decision, CoordinatorRefusing):
            await _finish(await (await decision.send(Abort())).send(Abort()))
            return False
        await _finish(await (await decision.send(Commit())).send(Commit()))
        return True


async def _votes(voting: CoordinatorVoting) -> CoordinatorDeciding | CoordinatorRefusing:
    match await voting.receive():
        case CoordinatorVoting.Ready(_, others):
            return await _second_after_ready(others)
        case CoordinatorVoting.Unable(_, unable):
            return (await unable.receive()).then


async def _second_after_ready(voting: CoordinatorVotingReady) -> CoordinatorDeciding | CoordinatorRefusing:
    match await voting.receive():
        case CoordinatorVotingReady.Ready(_, deciding):
            return deciding
        case CoordinatorVotingReady.Unable(_, refusing):
            return refusing


async def _finish(first_done: CoordinatorFirstDone) -> None:
    _, second_done = await first_done.receive()
    await second_done.receive()
