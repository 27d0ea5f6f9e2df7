"""Sessions on a network that delays, cuts and loses, from one seed: what a protocol promises holds all the same."""

from __future__ import annotations

import anyio
import pytest
from btlib.errors import BlocktreeError
from btrun.protocol.errors import SessionEndedError, StateTimeoutError
from btrun.protocol.examples.bank import FEE, Bank, pay
from btrun.protocol.examples.transfer import Ask, Commit, Leave, Moved
from btrun.protocol.examples.transfer_handles import ClientAsked, as_bank, as_client
from btrun.testing import Simulation, simulate

START = 10_000


async def customer(sim: Simulation, bank: Bank, name: str, moved: list[Moved], until: float) -> None:
    """Pays again and again; what breaks is begun anew."""
    while anyio.current_time() < until:
        await anyio.sleep(sim.random.uniform(0, 1))
        amount = sim.random.randint(1, 9)
        try:
            channel = sim.open_channel(name, "bank", bank.serve)
            asks = [Ask(source="a", target="b", amount=amount)] * sim.random.randint(1, 3)
            moved += [
                out for out in await pay(channel, *asks, most=sim.random.choice([0, FEE])) if isinstance(out, Moved)
            ]
        except BlocktreeError as error:
            sim.log(f"{name}: {type(error).__name__}")


async def silent_customer(sim: Simulation, bank: Bank) -> None:
    """Has an amount held, and says nothing more: the state's time-out gives it back."""
    async with as_client(sim.open_channel("odd", "bank", bank.serve)) as ready:
        match await (await ready.send(Ask(source="a", target="b", amount=50))).receive():
            case ClientAsked.Held(_, held):
                await anyio.sleep(61)
                with pytest.raises(StateTimeoutError, match="the client of Transfer sent nothing in the state held"):
                    await held.send(Commit())


async def evil_customer(sim: Simulation, bank: Bank) -> None:
    """Speaks out of turn, past its own monitor."""
    channel = sim.open_channel("odd", "bank", bank.serve)
    async with as_client(channel) as ready:
        asked = await ready.send(Ask(source="a", target="b", amount=50))
        await channel.send(Leave())
        match await asked.receive():
            case ClientAsked.Held(_, held):
                committing = await held.send(Commit())
                told = "sent Leave in the state held, where the client may send Commit or Abort"
                with pytest.raises(
                    SessionEndedError, match=f"{sim.principal('odd')}, as the client of Transfer, {told}"
                ):
                    await committing.receive()


async def disturb(sim: Simulation, until: float) -> None:
    while anyio.current_time() < until:
        await anyio.sleep(sim.random.uniform(0, 2))
        name = sim.random.choice(["one", "two"])
        match sim.random.randrange(3):
            case 0:
                sim.cut(name, "bank")
            case 1:
                sim.partition(name)
            case _:
                sim.heal()


async def market(sim: Simulation) -> None:
    bank = Bank({"a": START, "b": 0})
    for name in ("bank", "one", "two", "odd"):
        await sim.start(name)
    moved, before = list[Moved](), as_bank.violations.total
    async with anyio.create_task_group() as group:
        for name in ("one", "two"):
            group.start_soon(customer, sim, bank, name, moved, 20.0)
        group.start_soon(disturb, sim, 20.0)
        group.start_soon(silent_customer, sim, bank)
        group.start_soon(evil_customer, sim, bank)
    sim.heal()
    await anyio.sleep(100)  # links notice, time-outs pass
    paid = START - bank.accounts["a"] - bank.accounts["b"]
    assert paid % FEE == 0
    assert paid // FEE >= len(moved), "whoever was told that it moved, moved"
    assert paid <= bank.accounts["b"], "an amount is at least 1: nothing is held for ever"
    assert as_bank.violations.total == before + 1, "who is cut off breaks no rule"
    again = await pay(sim.open_channel("one", "bank", bank.serve), Ask(source="a", target="b", amount=1))
    assert isinstance(again[0], Moved)


@pytest.mark.parametrize("start", range(0, 200, 100))
def test_whatever_the_network_does_no_money_is_held_for_ever_and_none_is_made(start: int) -> None:
    for seed in range(start, start + 100):
        simulate(market, seed=seed)


def test_a_run_replays_from_its_seed() -> None:
    assert simulate(market, seed=7) == simulate(market, seed=7)
    assert simulate(market, seed=7) != simulate(market, seed=8)
