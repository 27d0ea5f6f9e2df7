"""References: values that cannot be changed, and that go with what they lead to."""

from __future__ import annotations

import gc
import weakref

import pytest
from btrun import Actor, Ask, Ref, Runtime, handle
from btrun.testing import Simulation, run_virtually, simulate
from btserde import U64, decode, encode


class Add(Ask[U64], frozen=True):
    """Answers the sum."""

    number: U64


class Counter(Actor):
    def __init__(self, friends: list[Ref]) -> None:
        self.friends = friends
        self.sum = 0

    @handle
    async def add(self, message: Add) -> int:
        self.sum += message.number
        return self.sum


def test_a_reference_is_a_value() -> None:
    ref = Ref("/bt1/a", 1)
    assert {ref} == {Ref("/bt1/a", 1)}
    assert ref != Ref("/bt1/a", 2)
    assert decode(encode(ref), Ref) == ref
    with pytest.raises(AttributeError, match="cannot be changed"):
        ref.path = "/bt1/b"


def test_actors_that_know_one_another_go_with_their_runtime() -> None:
    gone: list[weakref.ref[object]] = []

    async def main() -> None:
        async with Runtime() as runtime:
            friends: list[Ref] = []
            for name in ("a", "b"):
                friends.append(runtime.spawn(Counter, friends, name=name))
            far = runtime.bind(decode(encode(Ref("/bt1/elsewhere/c", 1)), Ref))  # as it comes in a message
            assert await friends[0].call(Add(number=2)) == 2
            gone.extend(map(weakref.ref, (runtime, friends[0].target, far.target)))

    run_virtually(main)
    gc.collect()
    assert [one() for one in gone] == [None] * 3


def test_a_simulated_world_ends_with_its_run() -> None:
    gone: list[weakref.ref[object]] = []

    async def main(sim: Simulation) -> None:
        gone.append(weakref.ref(sim))
        await sim.start("a", lambda runtime: runtime.spawn(Counter, [], name="counter"))
        await sim.start("b")
        assert await sim["b"].at(sim.path("a").child("counter")).call(Add(number=1)) == 1

    simulate(main, seed=1)
    gc.collect()
    assert gone[0]() is None
