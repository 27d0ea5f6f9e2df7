"""Actors of different runtimes, on a simulated network."""

from __future__ import annotations

import anyio
import pytest
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btrun import (
    Actor,
    Ask,
    CallCycleError,
    CallTimeoutError,
    DiedError,
    Down,
    Ref,
    Restart,
    Runtime,
    UnavailableError,
    UnhandledMessageError,
    handle,
)
from btrun.errors import DeclarationError, NoSuchActorError, UsageError
from btrun.reasons import Crashed, NeverLived, Reason, Stopped, Unreachable
from btrun.testing import Simulation, simulate
from btserde import U64


class Add(Ask[U64], frozen=True):
    amount: U64


class Rest(Ask[None], frozen=True):
    seconds: float


class Refuse(Ask[None], frozen=True):
    pass


class Break(Ask[None], frozen=True):
    pass


class Me(Ask[Ref], frozen=True):
    pass


class Through(Ask[U64], frozen=True):
    """Add 1 at the end of this way."""

    way: tuple[Ref, ...]


class Counter(Actor):
    def __init__(self, log: list[str] | None = None) -> None:
        self.total = 0
        self.log = [] if log is None else log

    @handle
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total

    @handle
    async def rest(self, message: Rest) -> None:
        try:
            await anyio.sleep(message.seconds)
        except BaseException:
            self.log.append("cancelled")
            raise

    @handle
    def refuse(self, message: Refuse) -> None:
        raise BlocktreeError("not today", kind=Kind.BUSY)

    @handle
    def fail(self, message: Break) -> None:
        raise ZeroDivisionError("a defect")

    @handle
    def me(self, message: Me) -> Ref:
        return self.ref

    @handle
    async def pass_on(self, message: Through) -> int:
        if not message.way:
            return self.add(Add(1))
        return await message.way[0].call(Through(message.way[1:]))

    async def on_stop(self, reason: Reason) -> None:
        self.log.append(f"stopped: {reason}")


class Observer(Actor):
    def __init__(self, seen: list[Down]) -> None:
        self.seen = seen

    @handle
    def watch(self, ref: Ref) -> None:
        ref.monitor()

    @handle
    def down(self, down: Down) -> None:
        self.seen.append(down)


def counters(runtime: Runtime) -> None:
    runtime.spawn(Counter, name="counter", restart=Restart.TRANSIENT)


async def two(sim: Simulation) -> Ref:
    """Two nodes; a's reference to the counter of b."""
    await sim.start("a", counters)
    await sim.start("b", counters)
    return sim["a"].at(sim.path("b").child("counter"))


def test_a_remote_actor_is_called_and_sent_to_like_a_local_one() -> None:
    async def main(sim: Simulation) -> None:
        counter = await two(sim)
        for _ in range(20):
            assert counter.send(Add(1))
        total: int = await counter.call(Add(2))
        assert total == 22
        itself = await counter.call(Me())
        assert itself == sim["b"].ref("counter")
        assert await sim["a"].bind(itself).call(Add(1)) == 23

    simulate(main, seed=1)


def test_errors_arrive_as_what_they_are() -> None:
    class Strange(Ask[None], frozen=True):
        pass

    class Inner(Ask[None], frozen=True):
        thing: int

    class Broad(Ask[tuple[str, int]], frozen=True):
        pass

    async def main(sim: Simulation) -> None:
        counter = await two(sim)
        with pytest.raises(DeclarationError, match="the answer to Broad cannot be sent between runtimes: a plain int"):
            await counter.call(Broad())
        with pytest.raises(BlocktreeError, match="not today") as caught:
            await counter.call(Refuse())
        assert caught.value.kind is Kind.BUSY
        with pytest.raises(UnhandledMessageError, match="no handler for Strange; from other runtimes it takes Add"):
            await counter.call(Strange())
        with pytest.raises(DeclarationError, match="Inner cannot be sent to another runtime"):
            await counter.call(Inner(1))
        with pytest.raises(DeclarationError, match="does not say what its answer is"):
            await counter.call("text")
        with pytest.raises(DiedError, match="ZeroDivisionError"):
            await counter.call(Break())
        with pytest.raises(NoSuchActorError):
            await sim["a"].at(sim.path("b").child("nobody")).call(Add(1))
        with pytest.raises(UnavailableError, match="no link leads to"):
            await sim["a"].at(sim.path("c").child("counter")).call(Add(1))
        with pytest.raises(UsageError, match="links do not cross runtimes"):
            counter.link()

    simulate(main, seed=2)


def test_a_message_of_another_version_is_refused_and_says_so() -> None:
    class Newer(Ask[U64], frozen=True):
        amount: U64
        more: U64

    Newer.__name__ = "Add"

    async def main(sim: Simulation) -> None:
        counter = await two(sim)
        with pytest.raises(UnhandledMessageError, match="the two runtimes have different versions of it"):
            await counter.call(Newer(1, 2))

    simulate(main, seed=3)


def test_a_time_out_cancels_the_handler_at_the_other_side() -> None:
    log: list[str] = []

    async def main(sim: Simulation) -> None:
        await sim.start("a")
        await sim.start("b", lambda runtime: runtime.spawn(Counter, log, name="counter"))
        counter = sim["a"].at(sim.path("b").child("counter"))
        with pytest.raises(CallTimeoutError):
            await counter.call(Rest(100), timeout=2)
        await counter.call(Add(1))
        assert log == ["cancelled"]
        with anyio.move_on_after(2):
            await counter.call(Rest(100))
        await counter.call(Add(1))
        assert log == ["cancelled", "cancelled"]

    simulate(main, seed=4)


def test_a_cycle_through_two_runtimes_is_found_at_once() -> None:
    async def main(sim: Simulation) -> None:
        there = await two(sim)
        here = sim["a"].ref("counter")
        assert await here.call(Through((there,))) == 1
        with pytest.raises(CallCycleError, match="would wait for itself"):
            await here.call(Through((there, here)))
        other = sim["a"].spawn(Counter)
        with pytest.raises(CallCycleError):
            await here.call(Through((there, other, here)))

    simulate(main, seed=5)


def test_died_is_not_unavailable() -> None:
    async def main(sim: Simulation) -> None:
        counter = await two(sim)
        exact = sim["a"].bind(await counter.call(Me()))
        sim.partition("b")
        with pytest.raises(UnavailableError):
            await exact.call(Add(1))
        sim.heal()
        assert await exact.call(Add(1)) == 1
        await sim.crash("b")
        with pytest.raises(UnavailableError):
            await exact.call(Add(1))
        await sim.restart("b")
        with pytest.raises(DiedError, match="its runtime was started anew"):
            await exact.call(Add(1))
        assert await counter.call(Add(1)) == 1

    simulate(main, seed=6)


def test_a_monitor_learns_of_restarts_ends_and_lost_links() -> None:
    seen: list[Down] = []

    async def main(sim: Simulation) -> None:
        counter = await two(sim)
        observer = sim["a"].spawn(Observer, seen)
        with pytest.raises(DiedError):
            await counter.call(Break())
        await anyio.sleep(1)
        await observer.call(counter)
        await anyio.sleep(1)
        assert seen == [], "what was before does not count"
        with pytest.raises(DiedError):
            await counter.call(Break())
        await anyio.sleep(1)
        counter.stop()
        await anyio.sleep(1)
        assert [(type(down.reason), down.restarting) for down in seen] == [(Crashed, True), (Stopped, False)]
        await observer.call(counter)
        await anyio.sleep(1)
        assert seen.pop().reason == NeverLived()
        sim["b"].spawn(Counter, name="counter")
        await observer.call(counter)
        await anyio.sleep(1)
        await sim.crash("b")
        await anyio.sleep(sim.detection + 1)
        assert isinstance(seen.pop().reason, Unreachable)

    simulate(main, seed=7)


def test_sends_to_nobody_are_dead_letters_where_it_is_known() -> None:
    async def main(sim: Simulation) -> None:
        await two(sim)
        sim["a"].at(sim.path("b").child("nobody")).send(Add(1))
        sim["a"].at(sim.path("c").child("nobody")).send(Add(1))
        await anyio.sleep(1)
        assert (sim["a"].dead_letters.count, sim["b"].dead_letters.count) == (1, 1)
        for name in "ab":
            assert [letter.message for letter in sim[name].inspect().letters] == ["Add"]

    simulate(main, seed=8)


def test_a_crash_runs_no_hooks_and_a_stop_does() -> None:
    log: list[str] = []

    async def main(sim: Simulation) -> None:
        await sim.start("a", lambda runtime: runtime.spawn(Counter, log))
        await sim.crash("a")
        assert log == []
        await sim.restart("a")
        await sim.stop("a")
        assert log == ["stopped: it was stopped"]

    simulate(main, seed=9)
