"""Calls from elsewhere that are handled in the task which the link has started for them."""

from __future__ import annotations

import math

import anyio
import anyio.abc
import pytest
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btrun import Actor, Ask, CallCycleError, CallTimeoutError, DiedError, Ref, Restart, Runtime, handle
from btrun._cell import Cell
from btrun._guests import call_from_afar
from btrun.reasons import Killed, Stopped

from .conftest import Run


class Sleep(Ask[str], frozen=True):
    name: str
    seconds: float


class Fail(Ask[None], frozen=True):
    error: Exception


class Relay(Ask[object], frozen=True):
    to: Ref
    message: object


class Sleeper(Actor):
    grace = 3.0

    def __init__(self, said: list[str]) -> None:
        self.said = said

    @handle
    async def sleep(self, message: Sleep) -> str:
        try:
            await anyio.sleep(message.seconds)
        except BaseException:
            self.said.append(f"{message.name} cancelled")
            raise
        self.said.append(message.name)
        return message.name

    @handle
    async def fail(self, message: Fail) -> None:
        raise message.error

    @handle
    async def relay(self, message: Relay) -> object:
        return await message.to.call(message.message, timeout=None)


def cell_of(ref: Ref) -> Cell:
    cell = ref.target
    assert isinstance(cell, Cell)
    return cell


async def ask(ref: Ref, message: object, timeout: float | None = 100.0) -> object:
    cell = cell_of(ref)
    deadline = math.inf if timeout is None else cell.runtime.loop.now() + timeout
    return await call_from_afar(cell, message, deadline, ())


def test_what_comes_meanwhile_waits_and_keeps_its_order(run: Run) -> None:
    async def main() -> None:
        said: list[str] = []
        async with Runtime() as rt, anyio.create_task_group() as group:
            ref = rt.spawn(Sleeper, said)
            group.start_soon(ask, ref, Sleep("a", 5))
            await anyio.sleep(1)
            ref.send(Sleep("b", 1))
            group.start_soon(ask, ref, Sleep("c", 1))
            await anyio.sleep(1)
            (view,) = rt.inspect().actors
            assert view.waiting == 2
            assert view.busy_seconds == pytest.approx(2, abs=0.1)
            assert [str(call) for call in rt.inspect().blocked] == [
                "outside waits 2.0 s for local:/sleeper-1, which handles it: Sleep",
                "outside waits 1.0 s for local:/sleeper-1, where it is queued: Sleep",
            ]
        assert said == ["a", "b", "c"]

    run(main)


def test_a_killed_actor_ends_its_guest_with_an_error_and_not_its_task(run: Run) -> None:
    async def main() -> None:
        said: list[str] = []

        async def caller() -> None:
            with pytest.raises(DiedError, match="ended while it handled Sleep: it was killed"):
                await ask(ref, Sleep("a", 50))
            await anyio.sleep(1)
            said.append("went on")

        async with Runtime() as rt, anyio.create_task_group() as group:
            ref = rt.spawn(Sleeper, said)
            group.start_soon(caller)
            await anyio.sleep(1)
            ref.kill()
            assert (await ref.wait_down()).reason == Killed()
        assert said == ["a cancelled", "went on"]

    run(main)


@pytest.mark.parametrize(("seconds", "end"), [(2.0, "a"), (50.0, "a cancelled")])
def test_a_guest_has_the_grace_of_a_stopped_actor(run: Run, seconds: float, end: str) -> None:
    async def main() -> None:
        said: list[str] = []

        async def caller() -> None:
            try:
                await ask(ref, Sleep("a", seconds))
            except DiedError:
                assert seconds > Sleeper.grace

        async with Runtime() as rt, anyio.create_task_group() as group:
            ref = rt.spawn(Sleeper, said)
            group.start_soon(caller)
            await anyio.sleep(1)
            ref.stop()
            assert (await ref.wait_down()).reason == (Stopped() if seconds < Sleeper.grace else Killed())
        assert said == [end]

    run(main)


def test_a_cancelled_guest_leaves_an_actor_that_goes_on(run: Run) -> None:
    async def main() -> None:
        said: list[str] = []
        async with Runtime() as rt:
            ref = rt.spawn(Sleeper, said)
            with anyio.move_on_after(1) as scope:
                await ask(ref, Sleep("a", 50))
            assert scope.cancelled_caught
            assert await ref.call(Sleep("b", 1)) == "b"
        assert said == ["a cancelled", "b"]

    run(main)


def test_a_refusal_is_an_answer_and_a_defect_ends_the_life(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            ref = rt.spawn(Sleeper, [], restart=Restart.TRANSIENT)
            refusal = BlocktreeError("not now", kind=Kind.BUSY)
            with pytest.raises(BlocktreeError, match="not now"):
                await ask(ref, Fail(refusal))
            assert rt.inspect().actors[0].restarts == 0
            ref.send(Sleep("waits", 0))
            with pytest.raises(DiedError, match="ended while it handled Fail: it failed with ValueError: a defect"):
                await ask(ref, Fail(ValueError("a defect")))
            assert await ref.call(Sleep("again", 0)) == "again"
            assert rt.inspect().actors[0].restarts == 1

    run(main)


def test_what_a_guest_calls_knows_its_chain_and_its_deadline(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            one, two = rt.spawn(Sleeper, [], name="one"), rt.spawn(Sleeper, [], name="two")
            with pytest.raises(CallCycleError, match="local:/one → local:/two"):
                await ask(one, Relay(two, Relay(one, Sleep("a", 0))))
            with pytest.raises(CallTimeoutError, match="no answer after 3 s"):
                await ask(one, Relay(two, Sleep("a", 50)), timeout=3)
            with pytest.raises(CallCycleError):
                await call_from_afar(cell_of(one), Sleep("a", 0), math.inf, ("far:/x", "local:/one"))

    run(main)
