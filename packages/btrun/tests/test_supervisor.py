"""Supervisors at work: actors that fail and come back."""

from __future__ import annotations

import anyio
import pytest
from btrun import (
    Actor,
    Ask,
    Backoff,
    DiedError,
    Down,
    EscalationError,
    Ref,
    Restart,
    Runtime,
    Strategy,
    Supervision,
    handle,
)
from btrun.errors import NameTakenError, UsageError
from btrun.reasons import Crashed, Killed, Reason, Stopped

from .conftest import Run

QUICK = Backoff(first=1.0, factor=2.0, most=8.0, jitter=0.0)


class Fail(Ask[None], frozen=True):
    pass


class Count(Ask[int], frozen=True):
    pass


class Worker(Actor):
    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.label = name
        self.count = 0
        log.append(f"+{name}")

    async def on_stop(self, reason: Reason) -> None:
        self.log.append(f"-{self.label}")

    @handle
    def increase(self, message: Count) -> int:
        self.count += 1
        return self.count

    @handle
    def fail(self, message: Fail) -> None:
        raise ZeroDivisionError("a defect")


class Restless(Worker):
    """Fails as often as told when it starts."""

    def __init__(self, log: list[str], name: str, failures: list[int]) -> None:
        super().__init__(log, name)
        if failures[0]:
            failures[0] -= 1
            raise OSError("not yet")


def test_a_permanent_child_comes_back_without_its_state_under_the_same_reference(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(backoff=QUICK))
            worker = pool.spawn(Worker, log, "w", name="w")
            assert await worker.call(Count()) == 1
            assert await worker.call(Count()) == 2
            worker.send(Fail())
            began = anyio.current_time()
            assert await worker.call(Count()) == 1
            assert anyio.current_time() - began == pytest.approx(1)
            assert worker.path == "local:/pool/w"
        assert log == ["+w", "-w", "+w", "-w"]

    run(main)


def test_only_the_failed_message_is_lost(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            worker = rt.spawn(Worker, [], "w", restart=Restart.TRANSIENT)
            for message in (Count(), Fail(), Count(), Count()):
                worker.send(message)
            assert await worker.call(Count()) == 3
            with pytest.raises(DiedError):
                await worker.call(Fail())
            assert await worker.call(Count()) == 1
            assert rt.dead_letters.count == 0

    run(main)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["-b", "+b"]),
        (Strategy.ONE_FOR_ALL, ["-b", "-c", "-a", "+a", "+b", "+c"]),
        (Strategy.REST_FOR_ONE, ["-b", "-c", "+b", "+c"]),
    ],
)
def test_strategies_stop_the_youngest_first_and_start_the_oldest_first(
    run: Run, strategy: Strategy, expected: list[str]
) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(strategy=strategy, backoff=QUICK))
            refs = {name: pool.spawn(Worker, log, name, name=name) for name in "abc"}
            log.clear()
            refs["b"].send(Fail())
            await anyio.sleep(2)
            assert log == expected
            assert [await refs[name].call(Count()) for name in "abc"] == [1, 1, 1]

    run(main)


def test_a_temporary_sibling_does_not_come_back_with_the_others(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(strategy=Strategy.ONE_FOR_ALL, backoff=QUICK))
            guest = pool.spawn(Worker, log, "t", name="t", restart=Restart.TEMPORARY)
            worker = pool.spawn(Worker, log, "w", name="w")
            worker.send(Fail())
            assert (await guest.wait_down()).reason == Stopped()
            assert await worker.call(Count()) == 1
            assert log == ["+t", "+w", "-w", "-t", "+w"]
            pool.spawn(Worker, log, "t", name="t")

    run(main)


def test_a_constructor_that_fails_at_a_restart_counts_as_a_failure(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        failures = [0]
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(backoff=QUICK))
            worker = pool.spawn(Restless, log, "w", failures)
            failures[0] = 2
            worker.send(Fail())
            began = anyio.current_time()
            assert await worker.call(Count()) == 1
            assert anyio.current_time() - began == pytest.approx(1 + 2 + 4)

    run(main)


def test_giving_up_at_the_top_raises_out_of_the_runtime(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        says = r"3 failures .*within 10 s \(its intensity is 2\).*local:/w"
        with pytest.raises(EscalationError, match=says):  # noqa: PT012 - the whole life of the runtime is the subject
            async with Runtime(supervision=Supervision(intensity=2, backoff=QUICK)) as rt:
                rt.spawn(Worker, log, "other")
                worker = rt.spawn(Worker, log, "w", name="w", restart=Restart.PERMANENT)
                for _ in range(3):
                    worker.send(Fail())
                await anyio.sleep_forever()
        assert log == ["+other", "+w", "-w", "+w", "-w", "+w", "-w", "-other"]

    run(main)


def test_a_branch_that_gives_up_is_started_anew_by_the_one_above(run: Run) -> None:
    async def main() -> None:
        log: list[str] = []
        async with Runtime(supervision=Supervision(intensity=1, backoff=QUICK)) as rt:
            pool = rt.supervisor("pool", Supervision(intensity=0, backoff=QUICK))
            a, b = (pool.spawn(Worker, log, name, name=name) for name in "ab")
            a.send(Fail())
            assert await b.call(Count()) == 1
            assert await a.call(Count()) == 1
            assert log == ["+a", "+b", "-a", "-b", "+a", "+b"]

    run(main)


def test_a_temporary_branch_that_gives_up_is_gone(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(intensity=0), restart=Restart.TEMPORARY)
            a, b = (pool.spawn(Worker, [], name, name=name) for name in "ab")
            a.send(Fail())
            down = await b.wait_down()
            assert isinstance(down.reason, Crashed)
            assert down.reason.error == "EscalationError"
            with pytest.raises(DiedError):
                await a.call(Count())
            with pytest.raises(UsageError, match="local:/pool does not run"):
                pool.spawn(Worker, [], "c")
            rt.supervisor("pool")

    run(main)


def test_a_monitor_is_told_of_each_restart_and_of_the_end(run: Run) -> None:
    class Observer(Actor):
        def __init__(self, seen: list[Down]) -> None:
            self.seen = seen

        @handle
        def watch(self, ref: Ref) -> None:
            ref.monitor()

        @handle
        def down(self, down: Down) -> None:
            self.seen.append(down)

    async def main() -> None:
        seen: list[Down] = []
        async with Runtime() as rt:
            observer = rt.spawn(Observer, seen)
            worker = rt.spawn(Worker, [], "w", restart=Restart.TRANSIENT)
            await observer.call(worker)
            worker.send(Fail())
            assert await worker.call(Count()) == 1
            worker.stop()
            await worker.wait_down()
            await observer.call(observer)
            assert [(down.restarting, type(down.reason)) for down in seen] == [(True, Crashed), (False, Stopped)]

    run(main)


def test_stopping_one_that_waits_for_its_next_life_ends_it(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(backoff=QUICK))
            worker = pool.spawn(Worker, [], "w", name="w")
            worker.send(Fail())
            await anyio.sleep(0.5)
            with pytest.raises(NameTakenError):
                pool.spawn(Worker, [], "w", name="w")
            worker.stop()
            assert (await worker.wait_down()).reason == Stopped()
            pool.spawn(Worker, [], "w", name="w")
            await anyio.sleep(5)

    run(main)


def test_the_runtime_can_end_while_children_wait_for_their_next_life(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(backoff=QUICK))
            worker = pool.spawn(Worker, [], "w")
            worker.send(Fail())
            worker.send(Count())
            await anyio.sleep(0.5)
        assert rt.dead_letters.count == 1

    run(main)


@pytest.mark.parametrize("how", ["stop", "drain", "kill"])
def test_one_that_is_stopped_from_outside_does_not_come_back(run: Run, how: str) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(backoff=QUICK))
            worker = pool.spawn(Worker, [], "w", name="w", restart=Restart.PERMANENT)
            await worker.call(Count())
            if how == "kill":
                worker.kill()
            else:
                worker.stop(drain=how == "drain")
            assert (await worker.wait_down()).reason == (Killed() if how == "kill" else Stopped())
            pool.spawn(Worker, [], "w", name="w")

    run(main)


def test_a_permanent_child_that_ends_by_itself_comes_back(run: Run) -> None:
    class Tired(Worker):
        @handle(str)
        def rest(self, text: str) -> None:
            self.stop()

    async def main() -> None:
        async with Runtime() as rt:
            pool = rt.supervisor("pool", Supervision(backoff=QUICK))
            worker = pool.spawn(Tired, [], "w")
            await worker.call("now")
            assert await worker.call(Count()) == 1
            assert rt.inspect().actors[0].restarts == 1

    run(main)
