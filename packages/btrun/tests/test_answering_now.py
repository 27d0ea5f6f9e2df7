"""Handlers that cannot wait run in the task of their caller when the actor is idle: nobody may notice."""

from __future__ import annotations

import random

import anyio
import pytest
from btlib.errors import BlocktreeError
from btrun import Actor, Ask, DiedError, Down, Ref, Restart, Runtime, handle
from btrun.errors import NotHereError
from btrun.inspection import Trace
from btserde import U32

from .conftest import Run


class Put(Ask[tuple[U32, ...]], frozen=True):
    number: int


class PutLater(Ask[tuple[U32, ...]], frozen=True):
    number: int


class Fail(Ask[None], frozen=True):
    error: type[Exception]


class End(Ask[str], frozen=True):
    how: str


class Watch(Ask[None], frozen=True):
    ref: Ref


class Again(Ask[None], frozen=True):
    times: int


class Log(Actor):
    """Has handlers of both kinds."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.running = False
        self.downs: list[Down] = []

    @handle
    def put(self, message: Put) -> tuple[int, ...]:
        assert not self.running, "two handlers at once"
        self.numbers.append(message.number)
        return tuple(self.numbers)

    @handle
    async def put_later(self, message: PutLater) -> tuple[int, ...]:
        assert not self.running, "two handlers at once"
        self.running = True
        await anyio.sleep(0.01)
        self.running = False
        self.numbers.append(message.number)
        return tuple(self.numbers)

    @handle
    def fail(self, message: Fail) -> None:
        raise message.error("no")

    @handle
    def end(self, message: End) -> str:
        getattr(self.ref, message.how)()
        return "ending"

    @handle
    def watch(self, message: Watch) -> None:
        message.ref.monitor()

    @handle
    def down(self, message: Down) -> None:
        self.downs.append(message)

    @handle
    def again(self, message: Again) -> None:
        self.numbers.append(message.times)
        if message.times:
            self.ref.send(Again(message.times - 1))


class Asker(Actor):
    """Calls another from a handler that waits."""

    def __init__(self, log: Ref) -> None:
        self.log = log

    @handle
    async def put(self, message: Put) -> tuple[int, ...]:
        return await self.log.call(message)


def test_a_call_of_an_idle_actor_needs_no_other_task(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            log, others = rt.spawn(Log), 0

            async def count() -> None:
                nonlocal others
                while others < 1000:
                    others += 1
                    await anyio.sleep(0)

            async with anyio.create_task_group() as group:
                group.start_soon(count)
                await anyio.sleep(0)
                before = others
                for number in range(100):
                    assert len(await log.call(Put(number))) == number + 1
                assert others == before
                for number in range(2000):
                    await log.call(Put(number))
                assert others > before, "others get their turn all the same"

    run(main)


@pytest.mark.parametrize("seed", range(50))
def test_the_order_of_one_sender_holds_whatever_kinds_of_handlers_it_mixes(run: Run, seed: int) -> None:
    dice = random.Random(seed)

    async def main() -> None:
        async with Runtime() as rt:
            log = rt.spawn(Log)
            for number in range(30):
                message = dice.choice([Put, PutLater])(number)
                match dice.randrange(3):
                    case 0:
                        log.send(message)
                    case 1:
                        assert await log.call(message) == tuple(range(number + 1))
                    case _:
                        log.send(message)
                        await anyio.sleep(dice.choice([0, 0.005, 0.05]))
            assert await log.call(Put(30)) == tuple(range(31))

    run(main)


def test_what_a_handler_sends_to_its_own_actor_comes_after_it(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            log = rt.spawn(Log)
            await log.call(Again(3))
            assert await log.call(Put(9)) == (3, 2, 9), "before what a later handler sends"

    run(main)


def test_an_error_that_is_an_answer_leaves_the_actor_alive(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            log = rt.spawn(Log)
            with pytest.raises(BlocktreeError, match="no"):
                await log.call(Fail(BlocktreeError))
            with pytest.raises(NotHereError) as caught:
                await log.call(Fail(NotHereError))
            assert not caught.value.untouched
            assert await log.call(Put(1)) == (1,)

    run(main)


def test_another_error_ends_the_life_and_the_supervisor_starts_the_next(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            log = rt.spawn(Log, restart=Restart.TRANSIENT)
            await log.call(Put(1))
            with pytest.raises(DiedError, match=r"ended while it handled Fail: .*ZeroDivisionError") as caught:
                await log.call(Fail(ZeroDivisionError))
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            assert await log.call(Put(2)) == (2,)
            assert rt.inspect().actors[0].restarts == 1

    run(main)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_handler_may_end_its_own_actor_and_still_answers(run: Run, how: str) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            log = rt.spawn(Log)
            assert await log.call(End(how)) == "ending"
            await log.wait_down()
            with pytest.raises(DiedError):
                await log.call(Put(1))

    run(main)


def test_inside_of_such_a_handler_one_is_its_actor_and_afterwards_the_caller_again(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            log, other = rt.spawn(Log), rt.spawn(Log)
            asker = rt.spawn(Asker, log)
            await log.call(Watch(other))
            assert await asker.call(Put(1)) == (1,)
            other.stop()
            await other.wait_down()
            await log.call(Put(2))
            cell = log.target
            assert [down.ref for down in cell.actor.downs] == [other]  # type: ignore[attr-defined]

    run(main)


def test_a_trace_tells_of_these_too(run: Run) -> None:
    async def main() -> None:
        traces: list[Trace] = []
        async with Runtime() as rt:
            log = rt.spawn(Log)
            rt.trace(traces.append)
            assert await log.call(Put(1)) == (1,)
            with pytest.raises(BlocktreeError):
                await log.call(Fail(BlocktreeError))
        assert [(type(trace.message), trace.error) for trace in traces] == [(Put, None), (Fail, "BlocktreeError")]

    run(main)
