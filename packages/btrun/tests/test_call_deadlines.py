"""The deadlines of many calls to one actor, which has one timer for all of them."""

from __future__ import annotations

import anyio
import pytest
from btrun import Actor, Ask, CallTimeoutError, Ref, Runtime, handle
from btrun.testing import run_virtually
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import Run


class Wait(Ask[str], frozen=True):
    seconds: float


class Sleeper(Actor):
    reentrant = True

    @handle
    async def wait(self, message: Wait) -> str:
        await anyio.sleep(message.seconds)
        return "rested"


async def ends(ref: Ref, timeout: float | None, seconds: float = 0.0) -> tuple[float, bool]:
    """When a call has ended, and whether with an answer."""
    try:
        await ref.call(Wait(seconds), timeout=timeout)
    except CallTimeoutError:
        return anyio.current_time(), False
    return anyio.current_time(), True


@settings(max_examples=30, deadline=None)
@given(timeouts=st.lists(st.one_of(st.none(), st.integers(1, 99)), max_size=20))
def test_each_call_ends_when_its_own_time_is_over(timeouts: list[int | None]) -> None:
    async def main() -> None:
        ended: list[tuple[float | None, float, bool]] = []

        async def call(ref: Ref, timeout: float | None) -> None:
            ended.append((timeout, *await ends(ref, timeout)))

        async with Runtime() as rt, anyio.create_task_group() as group:
            sleeper, began = rt.spawn(Sleeper), anyio.current_time()
            group.start_soon(ends, sleeper, None, 100.0)
            await anyio.sleep(0)
            for timeout in timeouts:
                group.start_soon(call, sleeper, timeout)
        assert len(ended) == len(timeouts)
        for asked, at, answered in ended:
            assert at - began == pytest.approx(100 if asked is None else asked, abs=0.1)
            assert answered == (asked is None)

    run_virtually(main)


def test_answered_calls_leave_one_timer_behind_and_no_more(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            sleeper = rt.spawn(Sleeper)
            for number in range(1000):
                await sleeper.call(Wait(0), timeout=1000 - number / 2)
            assert rt.inspect().timers == 1
            await anyio.sleep(1001)
            assert rt.inspect().timers == 0

    run(main)


def test_an_actor_that_ended_has_no_timer(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            sleeper = rt.spawn(Sleeper)
            await sleeper.call(Wait(0), timeout=50)
            sleeper.stop()
            await sleeper.wait_down()
            assert rt.inspect().timers == 0

    run(main)


def test_a_call_that_waits_for_the_next_life_has_its_time_out_too(run: Run) -> None:
    class Failing(Sleeper):
        async def on_start(self) -> None:
            await anyio.sleep(5)

    async def main() -> None:
        async with Runtime() as rt:
            began = anyio.current_time()
            at, answered = await ends(rt.spawn(Failing), 3)
            assert at - began == pytest.approx(3, abs=0.1)
            assert not answered

    run(main)


def test_a_call_that_comes_back_has_its_time_out_too(run: Run) -> None:
    class Through(Ask[tuple[float, bool]], frozen=True):
        ref: Ref

    class Relay(Actor):
        @handle
        async def relay(self, message: Through) -> tuple[float, bool]:
            return await ends(message.ref, 3, 10)

    class Back(Ask[tuple[float, bool]], frozen=True):
        relay: Ref

    class Calling(Sleeper):
        @handle
        async def back(self, message: Back) -> tuple[float, bool]:
            return await message.relay.call(Through(self.ref))

    async def main() -> None:
        async with Runtime() as rt:
            began = anyio.current_time()
            at, answered = await rt.spawn(Calling).call(Back(rt.spawn(Relay)), timeout=None)
            assert at - began == pytest.approx(3, abs=0.1)
            assert not answered

    run(main)
