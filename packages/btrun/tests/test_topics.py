"""Topics: who gets what, what a slow subscriber does to publishers, and what others may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import anyio
import bttp
import pytest
from btlib.testing import make_domain_identities
from btrun import (
    Actor,
    Ask,
    CallTimeoutError,
    Mailbox,
    MailboxFullError,
    Ref,
    Runtime,
    WhenFull,
    handle,
)
from btrun.testing import Simulation, simulate
from btrun.topics import Lost, Subscription, Unsubscribed
from btserde import U32
from msgspec import Struct

from .conftest import Run
from .seeds import parts

Story: TypeAlias = Callable[[Runtime, Runtime, bttp.Link], Awaitable[None]]

DOMAIN = make_domain_identities("nas", "alice")
APP = DOMAIN.path.child("hosts").child("nas").child("app")
CLIENT = DOMAIN.path.child("hosts").child("laptop").child("app")
NEWS = APP.child("news")


class Goal(Struct, frozen=True):
    number: U32


class Weather(Struct, frozen=True):
    text: str


class Unsent(Struct, frozen=True):
    number: int


class Seen(Ask[list[str]], frozen=True):
    pass


class Rest(Ask[None], frozen=True):
    seconds: float


class Stop(Ask[None], frozen=True):
    pass


class Fan(Actor):
    """Subscribes when it starts, and notes what it gets."""

    def __init__(self, topic: object, below: bool = False) -> None:
        self.topic, self.below = topic, below
        self.seen: list[str] = []
        self.subscription: Subscription | None = None

    async def on_start(self) -> None:
        self.subscription = await self.subscribe(self.topic, below=self.below)  # type: ignore[arg-type]

    @handle
    def goal(self, message: Goal) -> None:
        self.seen.append(f"goal {message.number}")

    @handle
    def others(self, message: Unsubscribed | Lost) -> None:
        self.seen.append(f"{type(message).__name__} {message.topic.rpartition('/')[2]}")

    @handle
    def tell(self, message: Seen) -> list[str]:
        return self.seen

    @handle
    async def rest(self, message: Rest) -> None:
        await anyio.sleep(message.seconds)

    @handle
    def stop_listening(self, message: Stop) -> None:
        assert self.subscription is not None
        self.subscription.cancel()


class Echoing(Actor):
    """Publishes again what it gets."""

    mailbox = Mailbox(limit=1)

    async def on_start(self) -> None:
        await self.subscribe("echo")

    @handle
    async def goal(self, message: Goal) -> None:
        for _ in range(3):
            await self.runtime.publish("echo", message)


# --- in one runtime


def test_subscribers_get_the_object_itself_at_its_topic_and_above(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            exact, above = rt.spawn(Fan, "news/sport"), rt.spawn(Fan, "news", below=True)
            at_news, elsewhere = rt.spawn(Fan, "news"), rt.spawn(Fan, "new", below=True)
            for ref in (exact, above, at_news, elsewhere):
                await ref.call(Seen())
            assert await rt.publish("news/sport", Goal(1)) == 2
            assert await rt.publish("news", Goal(2)) == 2
            assert await rt.publish("nobody/here", Goal(3)) == 0
            assert await exact.call(Seen()) == ["goal 1"]
            assert await above.call(Seen()) == ["goal 1", "goal 2"]
            assert await at_news.call(Seen()) == ["goal 2"]
            assert await elsewhere.call(Seen()) == []
            assert await rt.publish("news", Unsent(1)) == 2, "nothing is encoded here"

    run(main)


def test_a_message_without_a_handler_is_a_dead_letter(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            fan = rt.spawn(Fan, "news")
            await fan.call(Seen())
            await rt.publish("news", Weather("rain"))
            assert await fan.call(Seen()) == []
            assert rt.dead_letters.last[-1].message == Weather("rain")
            assert "has no handler for Weather" in rt.dead_letters.last[-1].why

    run(main)


def test_a_subscription_ends_when_it_is_cancelled_and_with_each_life(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            fan, other = rt.spawn(Fan, "news"), rt.spawn(Fan, "news")
            await fan.call(Stop())
            await fan.call(Stop())
            await other.call(Seen())
            assert await rt.publish("news", Goal(1)) == 1
            other.stop()
            await other.wait_down()
            assert await rt.publish("news", Goal(2)) == 0
            assert await fan.call(Seen()) == []

    run(main)


def slow_fan(rt: Runtime, when_full: WhenFull, limit: int = 2) -> Ref:
    return rt.spawn(Fan, "news", mailbox=Mailbox(limit=limit, when_full=when_full))


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (WhenFull.DROP_NEW, ["goal 0", "goal 1"]),
        (WhenFull.DROP_OLD, ["goal 3", "goal 4"]),
    ],
)
def test_what_a_slow_actor_loses_its_mailbox_says_and_nobody_waits(run: Run, policy: WhenFull, seen: list[str]) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            fan = slow_fan(rt, policy)
            await fan.call(Seen())
            fan.send(Rest(10))
            await anyio.sleep(1)
            began = anyio.current_time()
            for number in range(5):
                assert await rt.publish("news", Goal(number)) == 1
            assert anyio.current_time() == began
            await anyio.sleep(10)
            assert await fan.call(Seen()) == seen
            assert rt.dead_letters.count == 3

    run(main)


def test_a_publisher_waits_for_a_slow_actor_that_loses_nothing(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt, anyio.create_task_group() as group:
            fan, quick = slow_fan(rt, WhenFull.RAISE), rt.spawn(Fan, "news")
            await fan.call(Seen())
            await quick.call(Seen())
            fan.send(Rest(10))
            await anyio.sleep(1)

            async def publish(first: int) -> None:
                for number in range(first, first + 10):
                    assert await rt.publish("news", Goal(number)) == 2

            group.start_soon(publish, 0)
            group.start_soon(publish, 100)
            await anyio.sleep(5)
            assert len(await quick.call(Seen())) == 4, "who is quick has it at once; then the publishers wait"
            await anyio.sleep(10)
            seen = [int(line.removeprefix("goal ")) for line in await fan.call(Seen())]
            assert [number for number in seen if number < 100] == list(range(10))
            assert [number for number in seen if number >= 100] == list(range(100, 110))
            assert rt.dead_letters.count == 0

    run(main)


def test_a_publisher_waits_no_longer_than_its_time_out(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            fan = slow_fan(rt, WhenFull.RAISE, limit=1)
            await fan.call(Seen())
            fan.send(Rest(10))
            await anyio.sleep(1)
            await rt.publish("news", Goal(1))
            with pytest.raises(CallTimeoutError, match="did not reach all subscribers of local:/news within 2 s"):
                await rt.publish("news", Goal(2), timeout=2)
            await anyio.sleep(10)
            assert await fan.call(Seen()) == ["goal 1"]

    run(main)


def test_publishers_that_wait_for_an_actor_go_on_when_it_ends(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt, anyio.create_task_group() as group:
            fan = slow_fan(rt, WhenFull.RAISE, limit=1)
            await fan.call(Seen())
            fan.send(Rest(100))
            await anyio.sleep(1)
            await rt.publish("news", Goal(1))
            group.start_soon(rt.publish, "news", Goal(2))
            await anyio.sleep(1)
            fan.kill()
            await fan.wait_down()
        assert rt.dead_letters.count == 2

    run(main)


def test_an_actor_that_would_wait_for_itself_is_told(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            echo = rt.spawn(Echoing)
            while not await rt.publish("echo", Goal(1)):
                await anyio.sleep(1)
            down = await echo.wait_down()
            assert "MailboxFullError" in str(down.reason)
            assert MailboxFullError.__name__ in str(down.reason)

    run(main)


async def crowd(sim: Simulation) -> None:
    """Several publishers and subscribers with small mailboxes, some slow, one killed; turns are taken at random."""
    dice = sim.random
    rt = await sim.start("a")
    patient = [rt.spawn(Fan, "news", mailbox=Mailbox(limit=dice.randint(1, 4))) for _ in range(3)]
    lossy = [
        rt.spawn(Fan, "news", mailbox=Mailbox(limit=dice.randint(1, 4), when_full=dice.choice(DROPPING)))
        for _ in range(2)
    ]
    doomed = rt.spawn(Fan, "news", mailbox=Mailbox(limit=1))
    for ref in (*patient, *lossy, doomed):
        await ref.call(Seen())

    async def publish(first: int) -> None:
        for number in range(first, first + 20):
            await rt.publish("news", Goal(number), timeout=None)
            if dice.random() < 0.3:
                await anyio.sleep(dice.uniform(0, 0.2))

    async def disturb() -> None:
        for _ in range(10):
            with suppress(MailboxFullError):
                dice.choice([*patient, *lossy, doomed]).send(Rest(dice.uniform(0, 1)))
            await anyio.sleep(dice.uniform(0, 0.5))
        doomed.kill()

    async with anyio.create_task_group() as group:
        for publisher in range(3):
            group.start_soon(publish, 100 * publisher)
        group.start_soon(disturb)
    await anyio.sleep(10)
    for ref in (*patient, *lossy):
        seen = [int(line.removeprefix("goal ")) for line in await ref.call(Seen())]
        for publisher in range(3):
            mine = [number for number in seen if number // 100 == publisher]
            assert mine == sorted(mine), "the order of each publisher holds"
        assert ref in lossy or len(seen) == 60, "who makes publishers wait loses nothing"


DROPPING = (WhenFull.DROP_NEW, WhenFull.DROP_OLD)


@pytest.mark.parametrize("start", parts(400, 100))
def test_whatever_the_order_of_turns_each_publishers_messages_stay_in_order(start: int) -> None:
    for seed in range(start, start + 100):
        simulate(crowd, seed=seed)


# --- between runtimes, over real links
