"""Calls: time-outs, cancellation, deadlines that travel, and chains that come back."""

from __future__ import annotations

import anyio
import pytest
from btrun import (
    Actor,
    Ask,
    CallCycleError,
    CallTimeoutError,
    Ref,
    Runtime,
    handle,
)

from .conftest import Run
from .test_actor import Relay, Sleeper, Wait, WaitShielded


def test_a_time_out_cancels_the_handler(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            sleeper = rt.spawn(Sleeper, log)
            with pytest.raises(CallTimeoutError, match="no answer after 2 s: local:/sleeper-1 still handles Wait"):
                await sleeper.call(Wait(100), timeout=2)
            assert await sleeper.call(Wait(1), timeout=2) == "rested"
        assert log == ["cancelled", "done"]

    run(main)


def test_a_time_out_in_the_mailbox_says_so_and_the_message_is_never_handled(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            sleeper = rt.spawn(Sleeper, log)
            sleeper.send(Wait(10))
            await anyio.lowlevel.checkpoint()
            with pytest.raises(CallTimeoutError, match=r"Wait still waits behind .* messages in the mailbox"):
                await sleeper.call(Wait(1), timeout=5)
            assert await sleeper.call(Wait(3)) == "rested"
        assert log == ["done", "done"]

    run(main)


@pytest.mark.parametrize("declared", [True, False])
def test_a_shielded_handler_goes_on_after_a_time_out(run: Run, declared: bool) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            sleeper = rt.spawn(Sleeper, log)
            message = WaitShielded(10) if declared else Wait(10)
            with pytest.raises(CallTimeoutError):
                await sleeper.call(message, timeout=2, shielded=not declared)
            assert await sleeper.call(Wait(0.5)) == "rested"
        assert log == ["done", "done"]

    run(main)


def test_cancelling_the_caller_cancels_the_handler_and_does_not_wait_for_it(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            sleeper = rt.spawn(Sleeper, log)
            with anyio.move_on_after(1) as scope:
                await sleeper.call(Wait(100))
            assert scope.cancelled_caught
            assert await sleeper.call(Wait(1)) == "rested"
        assert log == ["cancelled", "done"]

    run(main)


def test_the_deadline_travels_with_the_call_chain(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            relay = rt.spawn(Relay, rt.spawn(Sleeper, log))
            with pytest.raises(CallTimeoutError):
                await relay.call(Wait(100), timeout=3)
            assert await relay.call("?") == 3
        assert log == ["cancelled"]

    run(main)


class Meet(Ask[str], frozen=True):
    way: tuple[Ref, ...]


class Caller(Actor):
    @handle
    async def meet(self, message: Meet) -> str:
        if not message.way:
            return "met"
        return await message.way[0].call(Meet(message.way[1:]), timeout=None)


class OpenCaller(Caller):
    reentrant = True


def test_a_call_that_comes_back_fails_at_once_and_names_the_way(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            a, b, c = (rt.spawn(Caller, name=name) for name in "abc")
            with pytest.raises(CallCycleError, match=r"local:/c calls local:/a .*: local:/a → local:/b → local:/c"):
                await a.call(Meet((b, c, a)))
            with pytest.raises(CallCycleError):
                await a.call(Meet((a,)))
            assert await a.call(Meet((b, c))) == "met"

    run(main)


def test_calls_that_cross_without_a_common_chain_are_found_too(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt, anyio.create_task_group() as group:
            a, b = rt.spawn(Caller, name="a"), rt.spawn(Caller, name="b")
            outcomes: list[str] = []

            async def call(first: Ref, second: Ref) -> None:
                try:
                    outcomes.append(await first.call(Meet((second,))))
                except CallCycleError:
                    outcomes.append("cycle")

            group.start_soon(call, a, b)
            group.start_soon(call, b, a)
            await rt.spawn(Sleeper).call(Wait(1))
            assert sorted(outcomes) in (["cycle", "met"], ["met", "met"])

    run(main)


def test_a_reentrant_actor_handles_the_call_that_comes_back(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            a, b = rt.spawn(OpenCaller, name="a"), rt.spawn(Caller, name="b")
            assert await a.call(Meet((b, a))) == "met"
            assert await a.call(Meet((b, a, a))) == "met"
            with pytest.raises(CallCycleError):
                await a.call(Meet((b, a, b)))

    run(main)
