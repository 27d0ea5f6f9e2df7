"""Services that several runtimes offer: the nearest living one is asked, and a hand-over loses and doubles nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import pytest
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btrun import Actor, Ask, Mailbox, MailboxFullError, Runtime, UnavailableError, handle
from btrun._nearness import nearest_first, steps_between
from btrun.errors import NoLinkError, NoSuchActorError, NotHereError
from btrun.leases import MemoryLeases
from btrun.services import Providers, Single
from btrun.testing import Simulation, simulate
from bttp import RemoteError
from hypothesis import given
from hypothesis import strategies as st

from .seeds import parts

ROOT = Principal(bytes(32))
NAMES = st.lists(st.sampled_from("abc"), max_size=4).map(lambda names: BlockPath(ROOT, tuple(names)))


def path(text: str) -> BlockPath:
    return BlockPath(ROOT, tuple(text.split("/")))


@pytest.mark.parametrize(
    ("here", "there", "steps"), [("a/b", "a/b", 0), ("a/b", "a", 1), ("a/b", "a/c", 2), ("a/b/c", "d", 4)]
)
def test_steps_go_up_to_what_two_paths_have_in_common_and_down_again(here: str, there: str, steps: int) -> None:
    assert steps_between(path(here), path(there)) == steps


@given(a=NAMES, b=NAMES, c=NAMES)
def test_steps_are_a_distance(a: BlockPath, b: BlockPath, c: BlockPath) -> None:
    assert (steps_between(a, b) == 0) == (a == b)
    assert steps_between(a, b) == steps_between(b, a)
    assert steps_between(a, c) <= steps_between(a, b) + steps_between(b, c)


def test_another_domain_is_farther_than_anything() -> None:
    other = BlockPath(Principal(b"\1" * 32), ("a",))
    assert nearest_first(path("a/b"), [other, path("z/z/z/z"), path("a")]) == [[path("a")], [path("z/z/z/z")], [other]]


@given(here=NAMES, places=st.sets(NAMES))
def test_those_that_are_as_near_are_together(here: BlockPath, places: set[BlockPath]) -> None:
    groups = nearest_first(here, places)
    assert [place for group in groups for place in group] == sorted(
        places, key=lambda place: (steps_between(here, place), str(place))
    )
    steps = [{steps_between(here, place) for place in group} for group in groups]
    assert all(len(group) == 1 for group in steps)
    assert len({step for group in steps for step in group}) == len(groups)


class Where(Ask[str], frozen=True):
    pass


class Do(Ask[str], frozen=True):
    number: str


class Worker(Actor):
    def __init__(self, name: str, done: list[str], fence: int = 0) -> None:
        self.name, self.done = name, done

    @handle
    def where(self, message: Where) -> str:
        return self.name

    @handle
    async def do(self, message: Do) -> str:
        await anyio.sleep(0.03)
        self.done.append(message.number)
        return self.name


def offering(name: str, done: list[str], leases: MemoryLeases | None = None) -> object:
    def setup(runtime: Runtime) -> None:
        single = None if leases is None else Single(leases, seconds=3.0)
        runtime.service("work", Worker, name, done, single=single, workers=2)

    return setup


async def start(sim: Simulation, done: list[str], *names: str, leases: MemoryLeases | None = None) -> None:
    for name in names:
        await sim.start(name, offering(name, done, leases))  # type: ignore[arg-type]


def test_a_call_goes_to_the_nearest_living_runtime_that_offers_the_service() -> None:
    async def main(sim: Simulation) -> None:
        await start(sim, [], "rack/two", "rack/three", "far/away/it/is")
        await sim.start("rack/one")
        client = sim["rack/one"]
        nearest = client.nearest("work")
        answers = {await nearest.call(Where()) for _ in range(30)}
        assert answers == {"rack/two", "rack/three"}, "two that are as near share the load"
        await sim.stop("rack/three")
        assert await nearest.call(Where()) == "rack/two"
        await sim.crash("rack/two")
        with pytest.raises(UnavailableError):  # nobody knows yet that it is gone: the call may have acted
            await nearest.call(Where(), timeout=10)
        assert await nearest.call(Where()) == "far/away/it/is"
        await sim.restart("rack/two")
        assert await nearest.call(Where()) == "rack/two", "it is nearer, and back"
        client.service("work", Worker, "here", [])
        assert await nearest.call(Where()) == "here"
        among = client.nearest("work", among=[sim.path("far/away/it/is")])
        assert await among.call(Where()) == "far/away/it/is"

    simulate(main, seed=1)


def test_nobody_who_offers_it_is_an_error_at_once() -> None:
    async def main(sim: Simulation) -> None:
        await sim.start("a")
        await sim.start("b")
        with pytest.raises(NoSuchActorError, match="b/work does not exist"):
            await sim["a"].nearest("work").call(Where())
        with pytest.raises(NoLinkError, match="no link leads to"):
            await sim["a"].nearest("work", among=[sim.path("c")]).call(Where())
        with pytest.raises(NoLinkError, match="no runtime offers the service"):
            await Providers([]).call(Where())

    simulate(main, seed=1)


class Slow(Actor):
    """Takes a second for each message, and no more than two of them."""

    mailbox = Mailbox(limit=1)

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done = name, done

    @handle
    async def where(self, message: Where) -> str:
        await anyio.sleep(1)
        self.done.append(self.name)
        return self.name


async def ask_at_once(nearest: Providers, calls: int) -> list[str]:
    """That many calls beside each other: who answered."""
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await nearest.call(Where()))

    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(ask)
    return answers


def test_runtimes_that_are_as_near_share_what_comes_at_once_evenly() -> None:
    async def main(sim: Simulation) -> None:
        for name in ("a", "b", "c", "far/away"):
            await sim.start(name, lambda runtime, name=name: runtime.service("work", Slow, name, [], workers=10))  # type: ignore[misc]
        await sim.start("client")
        answers = await ask_at_once(sim["client"].nearest("work"), 30)
        assert Counter(answers) == {"a": 10, "b": 10, "c": 10}

    simulate(main, seed=1)


def test_a_call_that_found_no_room_goes_on_and_one_that_finds_none_anywhere_says_so() -> None:
    async def main(sim: Simulation) -> None:
        done: list[str] = []
        for name in ("near", "far/away"):
            await sim.start(name, lambda runtime, name=name: runtime.service("work", Slow, name, done))  # type: ignore[misc]
        await sim.start("client")
        nearest = sim["client"].nearest("work")
        assert Counter(await ask_at_once(nearest, 4)) == {"near": 2, "far/away": 2}
        with pytest.raises(ExceptionGroup) as caught:
            await ask_at_once(nearest, 5)
        assert caught.group_contains(MailboxFullError, match="1 messages wait")

    simulate(main, seed=1)


def test_whoever_has_not_the_service_is_asked_last_for_a_while() -> None:
    async def main(sim: Simulation) -> None:
        leases = MemoryLeases(anyio.current_time)
        await start(sim, [], "a", "b", "c", leases=leases)
        await sim.start("d")  # offers nothing
        await sim.start("client")
        nearest = sim["client"].nearest("work")
        active = await nearest.call(Where())
        for _ in range(20):  # at last it knows of all but one
            await nearest.call(Where())
        before = len(questions(sim))
        for _ in range(10):
            assert await nearest.call(Where()) == active
        assert questions(sim)[before:] == 10 * [f"client>{active}"]
        await sim.stop(active)
        assert await nearest.call(Where()) != active

    simulate(main, seed=1)


def questions(sim: Simulation) -> list[str]:
    """The links by which the service was asked."""
    return [line.split()[1] for line in sim.trace if line.endswith("for work")]


class Asking(Actor):
    """Its handler fails because of somebody else, after it acted."""

    def __init__(self, acted: list[str], error: type[Exception]) -> None:
        self.acted, self.error = acted, error

    @handle
    def do(self, message: Do) -> str:
        self.acted.append(message.number)
        raise self.error("somebody else is not there")


@pytest.mark.parametrize("error", [NotHereError, NoLinkError, NoSuchActorError, MailboxFullError])
def test_a_call_that_has_acted_is_not_repeated_elsewhere_whatever_its_handler_raised(error: type[Exception]) -> None:
    async def main(sim: Simulation) -> None:
        acted: list[str] = []
        for name in "ab":
            await sim.start(name, lambda runtime: runtime.service("work", Asking, acted, error))
        await sim.start("client")
        with pytest.raises(RemoteError, match="somebody else is not there") as caught:
            await sim["client"].nearest("work").call(Do("1"))
        assert caught.value.kind in (Kind.UNREACHABLE, Kind.NO_SUCH_TARGET, Kind.LIMIT)
        with pytest.raises(error, match="somebody else is not there"):
            await sim["a"].nearest("work").call(Do("2"))
        assert acted == ["1", "2"]

    simulate(main, seed=1)


async def handing_over(sim: Simulation, single: bool) -> None:
    """Runtimes are drained, stopped and started again, one after the other, while clients call."""
    dice, done = sim.random, list[str]()
    leases = MemoryLeases(anyio.current_time) if single else None
    names = ["a", "b", "c"]
    await start(sim, done, *names, leases=leases)
    await sim.start("client")
    over = [False]
    sent: list[str] = []

    async def call(client: int) -> None:
        nearest = sim["client"].nearest("work")
        while not over[0]:
            sent.append(f"{client}-{len(sent)}")
            assert await nearest.call(Do(sent[-1])) in names
            await anyio.sleep(dice.uniform(0, 0.1))

    async with anyio.create_task_group() as group:
        for client in range(3):
            group.start_soon(call, client)
        for _ in range(6):
            await anyio.sleep(dice.uniform(0, 0.5))
            name = dice.choice(names)
            await sim.stop(name)
            await anyio.sleep(dice.uniform(0, 0.5))
            await sim.restart(name)
        over[0] = True
    assert sorted(done) == sorted(sent), "each was done, and done once"


async def handing_over_many(sim: Simulation) -> None:
    await handing_over(sim, single=False)


async def handing_over_one(sim: Simulation) -> None:
    await handing_over(sim, single=True)


@pytest.mark.parametrize("world", [handing_over_many, handing_over_one], ids=["many", "single"])
@pytest.mark.parametrize("start_seed", parts(100, 25))
def test_a_hand_over_loses_no_call_and_repeats_none(
    start_seed: int, world: Callable[[Simulation], Awaitable[None]]
) -> None:
    for seed in range(start_seed, start_seed + 25):
        simulate(world, seed=seed)


def test_leaving_the_context_finishes_what_waits_and_gives_the_lease_back() -> None:
    async def main(sim: Simulation) -> None:
        done: list[str] = []
        leases = MemoryLeases(anyio.current_time)
        await start(sim, done, "a", "b", leases=leases)
        ref = sim["a"].ref("work")
        await ref.call(Do("first"))
        for number in range(20):
            ref.send(Do(str(number)))
        await anyio.sleep(0.01)
        sim["a"]._scope.cancel()
        await anyio.sleep(5)
        assert done == ["first", *map(str, range(20))]
        assert await sim["b"].ref("work").call(Where()) == "b"

    simulate(main, seed=1)
