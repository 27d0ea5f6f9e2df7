"""How actors start, stop, fail and watch each other."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from btrun import Actor, Ask, DiedError, Down, Ref, Runtime, handle
from btrun.errors import UsageError
from btrun.reasons import Crashed, Killed, LinkedExit, NeverLived, Reason, Stopped

from .conftest import Run


class Note(Ask[None], frozen=True):
    text: str


class Sleep(Ask[None], frozen=True):
    seconds: float


class Fail(Ask[None], frozen=True):
    pass


class Diarist(Actor):
    """Writes down all that happens to it."""

    grace = 2.0

    def __init__(self, diary: list[str], name: str = "") -> None:
        self.diary = diary
        self.prefix = f"{name} " if name else ""

    def write(self, text: str) -> None:
        self.diary.append(self.prefix + text)

    async def on_start(self) -> None:
        await anyio.sleep(0.1)
        self.write("starts")

    async def on_stop(self, reason: Reason) -> None:
        await anyio.sleep(0.1)
        self.write(f"ends: {reason}")

    @handle
    def note(self, message: Note) -> None:
        self.write(message.text)

    @handle
    async def sleep(self, message: Sleep) -> None:
        try:
            await anyio.sleep(message.seconds)
            self.write("slept")
        except BaseException:
            self.write("woken")
            raise

    @handle
    def fail(self, message: Fail) -> None:
        raise ZeroDivisionError("a defect")


class Watch(Ask[None], frozen=True):
    ref: Ref


class Link(Ask[None], frozen=True):
    ref: Ref


class Observer(Actor):
    def __init__(self, seen: list[Down]) -> None:
        self.seen = seen

    @handle
    def watch(self, message: Watch) -> None:
        message.ref.monitor()

    @handle
    def tie(self, message: Link) -> None:
        message.ref.link()

    @handle
    def down(self, message: Down) -> None:
        self.seen.append(message)


class Tolerant(Observer):
    async def on_exit(self, down: Down) -> None:
        self.seen.append(down)


def test_hooks_run_before_the_first_and_after_the_last_message(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        async with Runtime() as rt:
            diarist = rt.spawn(Diarist, diary)
            diarist.send(Note("a"))
            await diarist.call(Note("b"))
        assert diary == ["starts", "a", "b", "ends: it was stopped"]

    run(main)


def test_stop_goes_before_waiting_messages_and_drain_after_them(run: Run) -> None:
    async def main() -> None:
        for drain, handled in ((False, []), (True, ["a", "b"])):
            diary: list[str] = []
            async with Runtime() as rt:
                diarist = rt.spawn(Diarist, diary)
                await diarist.call(Sleep(0))
                diarist.send(Note("a"))
                diarist.send(Note("b"))
                diarist.stop(drain=drain)
                diarist.send(Note("c"))
                assert (await diarist.wait_down()).reason == Stopped()
                assert rt.dead_letters.count == (1 if drain else 3)
            assert diary == ["starts", "slept", *handled, "ends: it was stopped"]

    run(main)


def test_a_handler_that_outlasts_the_grace_is_cancelled(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        async with Runtime() as rt:
            diarist = rt.spawn(Diarist, diary)
            diarist.send(Sleep(100))
            await anyio.sleep(1)
            began = anyio.current_time()
            diarist.stop()
            assert (await diarist.wait_down()).reason == Killed()
            assert anyio.current_time() - began == pytest.approx(2.1)
        assert diary == ["starts", "woken", "ends: it was killed"]

    run(main)


def test_kill_cancels_at_once_and_callers_are_told(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        async with Runtime() as rt, anyio.create_task_group() as group:
            diarist = rt.spawn(Diarist, diary)
            errors: list[DiedError] = []

            async def call() -> None:
                try:
                    await diarist.call(Sleep(100))
                except DiedError as error:
                    errors.append(error)

            group.start_soon(call)
            group.start_soon(call)
            await anyio.sleep(1)
            diarist.kill()
            await diarist.wait_down()
            await anyio.sleep(0)
            assert sorted(str(error) for error in errors) == [
                "local:/diarist-1 ended before it handled Sleep: it was killed",
                "local:/diarist-1 ended while it handled Sleep: it was killed",
            ]
        assert diary == ["starts", "woken", "ends: it was killed"]

    run(main)


def test_an_actor_killed_before_its_start_never_starts(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        async with Runtime() as rt:
            diarist = rt.spawn(Diarist, diary)
            diarist.kill()
            await diarist.wait_down()
        assert diary == []

    run(main)


def test_an_actor_killed_while_it_starts_cleans_up(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        async with Runtime() as rt:
            diarist = rt.spawn(Diarist, diary)
            await anyio.sleep(0.05)
            diarist.kill()
            await diarist.wait_down()
        assert diary == ["ends: it was killed"]

    run(main)


def test_on_stop_gets_no_more_than_the_grace(run: Run) -> None:
    class Slow(Actor):
        grace = 1.0

        async def on_stop(self, reason: Reason) -> None:
            await anyio.sleep(1000)

    async def main() -> None:
        async with Runtime() as rt:
            slow = rt.spawn(Slow)
            began = anyio.current_time()
            slow.stop()
            await slow.wait_down()
            assert anyio.current_time() - began == pytest.approx(1)

    run(main)


def test_the_runtime_stops_the_youngest_first(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        async with Runtime() as rt:
            for name in "abc":
                rt.spawn(Diarist, diary, name)
            await anyio.sleep(1)
        assert diary[3:] == [f"{name} ends: it was stopped" for name in "cba"]

    run(main)


def test_cancelling_the_runtime_still_stops_its_actors_in_order(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        with anyio.move_on_after(5):
            async with Runtime() as rt:
                rt.spawn(Diarist, diary, "a")
                rt.spawn(Diarist, diary, "b").send(Sleep(100))
                await anyio.sleep_forever()
        assert diary[2:] == ["b woken", "b ends: it was killed", "a ends: it was stopped"]

    run(main)


def test_an_exception_of_the_body_passes_on_as_it_is(run: Run) -> None:
    async def main() -> None:
        diary: list[str] = []
        with pytest.raises(KeyError):  # noqa: PT012 - the whole life of the runtime is the subject
            async with Runtime() as rt:
                rt.spawn(Diarist, diary)
                await anyio.sleep(1)
                raise KeyError("mine")
        assert diary == ["starts", "ends: it was stopped"]

    run(main)


def test_a_monitor_gets_the_reason_ahead_of_waiting_messages(run: Run) -> None:
    async def main() -> None:
        seen: list[Down] = []
        async with Runtime() as rt:
            observer = rt.spawn(Observer, seen)
            ends: tuple[tuple[Callable[[Ref], object], Reason], ...] = (
                (lambda ref: ref.stop(), Stopped()),
                (lambda ref: ref.send(Fail()), Crashed("ZeroDivisionError", "a defect")),
                (lambda ref: ref.kill(), Killed()),
            )
            for end, reason in ends:
                diarist = rt.spawn(Diarist, [])
                await observer.call(Watch(diarist))
                await observer.call(Watch(diarist))
                await diarist.call(Note("ready"))
                end(diarist)
                await diarist.wait_down()
                await observer.call(Watch(observer))
                assert seen.pop() == Down(ref=diarist, reason=reason)
                assert seen == []

    run(main)


def test_monitoring_one_that_ended_tells_at_once(run: Run) -> None:
    async def main() -> None:
        seen: list[Down] = []
        async with Runtime() as rt:
            observer, diarist = rt.spawn(Observer, seen), rt.spawn(Diarist, [])
            diarist.stop()
            await diarist.wait_down()
            await observer.call(Watch(diarist))
            unknown = Ref("local:/nobody", 1)
            await observer.call(Watch(unknown))
            await observer.call(Watch(observer))
            assert [down.reason for down in seen] == [Stopped(), NeverLived()]

    run(main)


def test_linked_actors_fail_together_and_stop_apart(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            for end, together in ((Fail(), True), (None, False)):
                first, second = rt.spawn(Observer, []), rt.spawn(Diarist, [])
                await first.call(Link(second))
                if end is not None:
                    second.send(end)
                else:
                    second.stop()
                await second.wait_down()
                if together:
                    assert (await first.wait_down()).reason == LinkedExit(second.path)
                else:
                    await first.call(Watch(first))

    run(main)


def test_on_exit_takes_the_notice_of_a_link(run: Run) -> None:
    async def main() -> None:
        seen: list[Down] = []
        async with Runtime() as rt:
            first, second = rt.spawn(Tolerant, seen), rt.spawn(Diarist, [])
            await first.call(Link(second))
            second.send(Fail())
            await second.wait_down()
            await first.call(Watch(first))
            assert seen == [Down(ref=second, reason=Crashed("ZeroDivisionError", "a defect"))]
            first.kill()
            await first.wait_down()

    run(main)


def test_only_actors_can_monitor(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            with pytest.raises(UsageError, match=r"await ref\.wait_down"):
                rt.spawn(Observer, []).monitor()

    run(main)


def test_an_idle_actor_has_no_task(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            refs = [rt.spawn(Observer, []) for _ in range(500)]
            assert len(rt.pool) == 0
            for ref in refs:
                await ref.call(Watch(ref))
            assert len(rt.pool) <= 2

    run(main)


def test_handlers_that_wait_do_not_hold_up_other_actors(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            sleepers = [rt.spawn(Diarist, []) for _ in range(200)]
            began = anyio.current_time()
            for sleeper in sleepers:
                sleeper.send(Sleep(10))
            await anyio.sleep(0.2)
            for sleeper in sleepers:
                await sleeper.call(Note("after"))
            assert anyio.current_time() - began < 10.5

    run(main)
