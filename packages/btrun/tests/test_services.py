"""Services: activation on demand, several workers, and one alone under a fence."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import anyio
import pytest
from btrun import Actor, Ask, Mailbox, MailboxFullError, Ref, RunError, Runtime, UnavailableError, handle
from btrun.errors import NotHereError
from btrun.leases import Lease, MemoryLeases
from btrun.services import Providers, Single
from btrun.testing import Simulation, simulate
from btserde import U64

from .conftest import Run
from .seeds import parts


class Work(Ask[U64], frozen=True):
    seconds: float


class Worker(Actor):
    numbers = itertools.count()

    def __init__(self) -> None:
        self.number = next(self.numbers)

    @handle
    async def work(self, message: Work) -> int:
        await anyio.sleep(message.seconds)
        return self.number


def test_workers_start_when_messages_come_and_stop_when_they_are_idle(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            service = rt.service("work", Worker, workers=3, idle=10)
            assert service.active == 0
            await rt.ref("work").call(Work(0))
            assert service.active == 1
            await anyio.sleep(25)
            assert service.active == 0
            await rt.ref("work").call(Work(0))
            assert service.active == 1

    run(main)


def test_messages_go_to_the_least_loaded_of_several_workers(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt, anyio.create_task_group() as group:
            service = rt.service("work", Worker, workers=3)
            ref = rt.ref("work")
            numbers: list[int] = []

            async def call() -> None:
                numbers.append(await ref.call(Work(1)))

            began = anyio.current_time()
            for _ in range(6):
                group.start_soon(call)
            await anyio.sleep(2.5)
            assert sorted(numbers) == sorted(2 * list(set(numbers)))
            assert (service.active, len(numbers)) == (3, 6)
            assert anyio.current_time() - began == pytest.approx(2.5)

    run(main)


class Who(Ask[U64], frozen=True):
    pass


class Leader(Actor):
    """Writes its fence to a place that refuses old ones, and notes who else was active meanwhile."""

    def __init__(self, place: list[int], active: set[int], *, fence: int) -> None:
        self.place, self.active, self.fence = place, active, fence

    @handle
    async def who(self, message: Who) -> int:
        assert not self.active, "two are active"
        assert not self.place or self.place[-1] <= self.fence, "an old fence after a newer one"
        self.active.add(self.fence)
        try:
            await anyio.sleep(0.05)
        finally:
            self.active.discard(self.fence)
        self.place.append(self.fence)
        return self.fence


def test_what_waits_for_a_lease_is_bounded_like_a_mailbox(run: Run) -> None:
    class Small(Leader):
        mailbox = Mailbox(limit=3)

    class Never:
        """A granter that does not answer."""

        async def acquire(self, key: bytes, holder: bytes, seconds: float) -> Lease | None:
            await anyio.sleep(60)
            raise UnavailableError("nobody answers")

        async def release(self, key: bytes, holder: bytes) -> None:
            raise AssertionError("nothing was held")

    async def main() -> None:
        async with Runtime() as rt:
            service = rt.service("leader", Small, [], set(), single=Single(Never()))
            for _ in range(3):
                assert rt.ref("leader").send(Who())
            with pytest.raises(MailboxFullError, match="3 messages for local:/leader wait until it has its lease"):
                rt.ref("leader").send(Who())
            assert service.waiting == 3
            await anyio.sleep(200)
            assert rt.dead_letters.count == 3
            assert "cannot get its lease here" in rt.inspect().letters[0].why

    run(main)


class Cut:
    """Leases that some machines cannot reach."""

    def __init__(self, sim: Simulation, inner: MemoryLeases, here: str, unreachable: set[str]) -> None:
        self.inner, self.here, self.unreachable, self.sim = inner, here, unreachable, sim

    async def acquire(self, key: bytes, holder: bytes, seconds: float) -> Lease | None:
        await anyio.sleep(self.sim.latency())
        self.check()
        return await self.inner.acquire(key, holder, seconds)

    async def release(self, key: bytes, holder: bytes) -> None:
        self.check()
        await self.inner.release(key, holder)

    def check(self) -> None:
        if self.here in self.unreachable:
            raise UnavailableError("the lease granter cannot be reached")


class World:
    """Two machines that offer one single service, and a client."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.place: list[int] = []
        self.active: set[int] = set()
        self.unreachable: set[str] = set()
        self.leases = MemoryLeases(anyio.current_time)

    async def start(self) -> Providers:
        for name in "ab":
            await self.sim.start(name, self.setup(name))
        client = await self.sim.start("client")
        return Providers([client.at(self.sim.path(name).child("leader")) for name in "ab"])

    def setup(self, name: str) -> Callable[[Runtime], None]:
        def offer(runtime: Runtime) -> None:
            single = Single(Cut(self.sim, self.leases, name, self.unreachable), seconds=3.0)
            runtime.service("leader", Leader, self.place, self.active, single=single, idle=1000)

        return offer

    def ref(self, name: str) -> Ref:
        return self.sim["client"].at(self.sim.path(name).child("leader"))


def test_one_alone_is_active_and_the_others_say_so() -> None:
    async def main(sim: Simulation) -> None:
        world = World(sim)
        await world.start()
        assert await world.ref("a").call(Who()) == 1
        with pytest.raises(NotHereError, match="active in another runtime"):
            await world.ref("b").call(Who())
        await anyio.sleep(60)
        assert await world.ref("a").call(Who()) == 1, "the lease is renewed while it is held"

    simulate(main, seed=1)


def test_another_takes_over_when_a_machine_dies_and_at_once_when_it_drains() -> None:
    async def main(sim: Simulation) -> None:
        world = World(sim)
        providers = await world.start()
        assert await providers.call(Who()) == 1
        await sim.stop("a")
        assert await providers.call(Who()) == 2
        await sim.restart("a")
        await sim.crash("b")
        await anyio.sleep(3.5)
        assert await providers.call(Who()) == 3

    simulate(main, seed=2)


def test_a_holder_that_cannot_renew_ends_before_its_lease_does() -> None:
    async def main(sim: Simulation) -> None:
        world = World(sim)
        await world.start()
        assert await world.ref("a").call(Who()) == 1
        world.unreachable.add("a")
        await anyio.sleep(3.1)
        assert sim["a"].inspect().actors == ()
        assert await world.ref("b").call(Who()) == 2

    simulate(main, seed=3)


async def contest(sim: Simulation) -> None:
    """Machines die, come back, and lose sight of the granter; never are two active, never does a fence go back."""
    world, dice = World(sim), sim.random
    providers = await world.start()
    answered = 0
    for _ in range(40):
        match dice.randrange(6):
            case 0:
                name = dice.choice("ab")
                await sim.crash(name)
                await anyio.sleep(dice.uniform(0, 4))
                await sim.restart(name)
            case 1:
                world.unreachable ^= {dice.choice("ab")}
            case _:
                await anyio.sleep(dice.uniform(0, 2))
        try:
            await providers.call(Who(), timeout=2)
            answered += 1
        except RunError as error:
            sim.log(type(error).__name__)
    assert answered > 0
    assert world.place == sorted(world.place)


@pytest.mark.parametrize("seed", parts(30, 1))
def test_never_are_two_active(seed: int) -> None:
    simulate(contest, seed=seed)
