"""The simulation itself, and supervised actors under it: many seeds, each a different world."""

from __future__ import annotations

import random

import anyio
import pytest
from btrun import Actor, Ask, Backoff, Ref, RunError, Runtime, Strategy, Supervision, UnavailableError, handle
from btrun.testing import HangError, Simulation, run_virtually, simulate
from btserde import U64

from .seeds import parts

#: Each takes some 20 ms; thousands were run while this was written.
SEEDS = parts(40, 1)


class Put(Ask[U64], frozen=True):
    """Keep a number; answers how many are kept. Now and then the actor fails."""

    number: U64


class Keeper(Actor):
    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.kept: list[int] = []

    @handle
    async def put(self, message: Put) -> int:
        if self.dice.random() < 0.1:
            raise ZeroDivisionError("a defect")
        if self.dice.random() < 0.3:
            await anyio.sleep(self.dice.random() / 10)
        self.kept.append(message.number)
        assert self.kept == sorted(self.kept), "order was lost"
        return len(self.kept)


def test_the_clock_jumps_and_a_program_that_hangs_is_told() -> None:
    async def sleep() -> float:
        began = anyio.current_time()
        await anyio.sleep(3600)
        return anyio.current_time() - began

    async def hang() -> None:
        await anyio.Event().wait()

    assert run_virtually(sleep) == 3600
    with pytest.raises(HangError, match="would hang for ever"):
        run_virtually(hang)


def test_a_failing_run_names_its_seed() -> None:
    async def main(sim: Simulation) -> None:
        raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed") as caught:
        simulate(main, seed=77)
    assert caught.value.__notes__ == ["simulation seed 77: simulate(…, seed=77) replays this"]


async def storm(sim: Simulation) -> None:
    """Clients call supervised keepers on other nodes while machines crash and the network breaks."""
    dice = sim.random
    policy = Supervision(strategy=dice.choice(list(Strategy)), intensity=1000, backoff=Backoff(first=0.01, most=1.0))

    def setup(runtime: Runtime) -> None:
        pool = runtime.supervisor("pool", policy)
        for name in ("x", "y", "z"):
            pool.spawn(Keeper, dice, name=name)

    nodes = ("a", "b", "c")
    for node in nodes:
        await sim.start(node, setup)
    outcomes = {"answered": 0, "failed": 0}

    async def client(number: int) -> None:
        for turn in range(20):
            here, there = dice.sample(nodes, 2)
            keeper: Ref = sim[here].at(sim.path(there).child("pool").child(dice.choice("xyz")))
            try:
                assert await keeper.call(Put(number=round(anyio.current_time() * 1e6)), timeout=5) > 0
                outcomes["answered"] += 1
            except RunError as error:
                outcomes["failed"] += 1
                sim.log(f"client {number} turn {turn}: {type(error).__name__}")
            await anyio.sleep(dice.random() / 2)

    async def trouble() -> None:
        for _ in range(6):
            await anyio.sleep(dice.uniform(0.5, 2))
            match dice.randrange(3):
                case 0:
                    sim.partition(dice.choice(nodes))
                case 1:
                    sim.cut(*dice.sample(nodes, 2))
                case _:
                    sim.heal()
        sim.heal()

    with anyio.fail_after(600):
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(client, number)
            group.start_soon(trouble)
    assert outcomes["answered"] > 0
    for here in nodes:
        inspection = sim[here].inspect()
        assert inspection.blocked == ()
        assert len(inspection.actors) == 3
        for there in nodes:
            if here != there:
                await survives(sim[here].at(sim.path(there).child("pool").child("x")))


async def survives(keeper: Ref) -> None:
    """After the storm it answers again, whatever failures its own dice bring."""
    for _ in range(50):
        try:
            await keeper.call(Put(number=round(anyio.current_time() * 1e6)), timeout=30)
        except UnavailableError:
            raise
        except RunError:
            await anyio.sleep(0.5)
        else:
            return
    raise AssertionError("the keeper did not come back")


@pytest.mark.parametrize("seed", SEEDS)
def test_supervised_actors_come_back_after_every_storm(seed: int) -> None:
    simulate(storm, seed=seed)


def test_a_seed_replays_exactly() -> None:
    first, again, other = simulate(storm, seed=5), simulate(storm, seed=5), simulate(storm, seed=6)
    assert first == again
    assert first != other
    assert len(first) > 50


async def crashes(sim: Simulation) -> None:
    """Machines lose power and come back while others call them."""
    dice = sim.random

    def setup(runtime: Runtime) -> None:
        runtime.supervisor("pool", Supervision(intensity=1000)).spawn(Keeper, dice, name="x")

    nodes = ("a", "b")
    for node in nodes:
        await sim.start(node, setup)
    for _ in range(8):
        keeper = sim["a"].at(sim.path("b").child("pool").child("x"))
        try:
            await keeper.call(Put(number=round(anyio.current_time() * 1e6)), timeout=dice.uniform(0.01, 5))
        except RunError as error:
            sim.log(type(error).__name__)
        if dice.random() < 0.5:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(quietly, keeper)
                await anyio.sleep(dice.random() / 20)
                await sim.crash("b")
                await anyio.sleep(dice.uniform(0, 6))
                await sim.restart("b")
    await survives(sim["a"].at(sim.path("b").child("pool").child("x")))
    assert sim["a"].inspect().blocked == ()


async def quietly(keeper: Ref) -> None:
    try:
        await keeper.call(Put(number=round(anyio.current_time() * 1e6)), timeout=20)
    except RunError:
        return


@pytest.mark.parametrize("seed", SEEDS)
def test_callers_survive_the_crashes_of_others(seed: int) -> None:
    simulate(crashes, seed=seed)
