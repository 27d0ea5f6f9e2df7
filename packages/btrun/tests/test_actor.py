"""Actors that are sent to and called, in one process."""

from __future__ import annotations

import anyio
import pytest
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btrun import (
    Actor,
    Ask,
    DiedError,
    Ref,
    Runtime,
    UnhandledMessageError,
    handle,
)
from btrun.errors import DeclarationError, NameTakenError, NoSuchActorError, UsageError
from btrun.messages import Envelope
from btrun.reasons import Stopped

from .conftest import Run


class Add(Ask[int], frozen=True):
    amount: int


class Total(Ask[int], frozen=True):
    pass


class Refuse(Ask[None], frozen=True):
    pass


class Break(Ask[None], frozen=True):
    pass


class Counter(Actor):
    def __init__(self, total: int = 0) -> None:
        self.total = total

    @handle
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total

    @handle
    async def tell(self, message: Total) -> int:
        return self.total

    @handle
    def refuse(self, message: Refuse) -> None:
        raise BlocktreeError("not today", kind=Kind.BUSY)

    @handle
    def fail(self, message: Break) -> None:
        raise ZeroDivisionError("a defect")


class Wait(Ask[str], frozen=True):
    seconds: float


class WaitShielded(Ask[str], frozen=True):
    seconds: float


class Sleeper(Actor):
    log: list[str]

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log

    @handle
    async def wait(self, message: Wait) -> str:
        try:
            await anyio.sleep(message.seconds)
        except BaseException:
            self.log.append("cancelled")
            raise
        self.log.append("done")
        return "rested"

    @handle(shielded=True)
    async def wait_shielded(self, message: WaitShielded) -> str:
        return await self.wait(Wait(message.seconds))


def test_messages_are_handled_in_the_order_in_which_they_were_sent(run: Run) -> None:
    class Recorder(Actor):
        def __init__(self) -> None:
            self.seen: list[int] = []

        @handle(int)
        async def take(self, number: int) -> None:
            if number % 3 == 0:
                await anyio.lowlevel.checkpoint()
            self.seen.append(number)

        @handle(str)
        def tell(self, question: str) -> list[int]:
            return self.seen

    async def main() -> None:
        async with Runtime() as rt:
            recorder = rt.spawn(Recorder)
            for number in range(700):
                assert recorder.send(number)
            assert await recorder.call("?") == list(range(700))

    run(main)


def test_a_call_returns_what_the_handler_returns(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter, 5, name="counter")
            total: int = await counter.call(Add(3))
            assert total == 8
            assert await counter.call(Total()) == 8
            assert str(counter) == "local:/counter"
            assert counter.name == "counter"

    run(main)


def test_a_blocktree_error_is_an_answer_and_the_actor_lives(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter, 5)
            with pytest.raises(BlocktreeError, match="not today"):
                await counter.call(Refuse())
            assert await counter.call(Total()) == 5

    run(main)


def test_another_exception_ends_the_actor_and_the_caller_is_told(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter)
            with pytest.raises(DiedError, match=r"ended while it handled Break.*ZeroDivisionError: a defect") as caught:
                await counter.call(Break())
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            with pytest.raises(DiedError):
                await counter.call(Total())
            assert counter.send(Add(1)) is False
            assert [letter.why for letter in rt.dead_letters.last][-1].startswith("the actor ended: it failed")

    run(main)


def test_calls_that_wait_behind_a_failure_fail_too(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt, anyio.create_task_group() as group:
            counter = rt.spawn(Counter)
            outcomes: list[str] = []

            async def call() -> None:
                try:
                    await counter.call(Total())
                except DiedError as error:
                    outcomes.append(str(error))

            counter.send(Break())
            for _ in range(3):
                group.start_soon(call)
            with anyio.fail_after(1):
                await counter.wait_down()
                while len(outcomes) < 3:
                    await anyio.lowlevel.checkpoint()

    run(main)


def test_a_message_without_a_handler_is_refused_at_the_sender(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter)
            with pytest.raises(UnhandledMessageError, match=r"Counter\) has no handler for str; it takes Add, Break"):
                counter.send("hello")
            with pytest.raises(UnhandledMessageError):
                await counter.call("hello")
            assert await counter.call(Total()) == 0

    run(main)


class Relay(Actor):
    """Passes a call on, with no time-out of its own."""

    def __init__(self, to: Ref) -> None:
        self.to = to
        self.elapsed = -1.0

    @handle
    async def wait(self, message: Wait) -> str:
        began = anyio.current_time()
        try:
            return await self.to.call(message, timeout=None, shielded=False)
        finally:
            self.elapsed = anyio.current_time() - began

    @handle(str)
    def tell(self, question: str) -> float:
        return self.elapsed


def test_a_message_of_a_subclass_reaches_the_handler_of_its_base(run: Run) -> None:
    class Double(Add, frozen=True):
        pass

    async def main() -> None:
        async with Runtime() as rt:
            assert await rt.spawn(Counter).call(Double(4)) == 4

    run(main)


def test_a_subclass_of_an_actor_overrides_and_adds_handlers(run: Run) -> None:
    class Loud(Counter):
        def add(self, message: Add) -> int:
            return 10 * super().add(message)

        @handle(str)
        def shout(self, text: str) -> str:
            return text.upper()

    async def main() -> None:
        async with Runtime() as rt:
            loud = rt.spawn(Loud)
            assert await loud.call(Add(4)) == 40
            assert await loud.call("hey") == "HEY"
            assert await loud.call(Total()) == 4

    run(main)


def test_two_handlers_for_one_type_are_refused() -> None:
    with pytest.raises(DeclarationError, match="two handlers for Add: one and two"):

        class Torn(Actor):
            @handle
            def one(self, message: Add) -> None: ...

            @handle
            def two(self, message: Add | Total) -> None: ...


def test_a_handler_without_an_annotation_is_refused() -> None:
    with pytest.raises(DeclarationError, match="does not say which messages it takes"):

        class Vague(Actor):
            @handle
            def one(self, message): ...  # type: ignore[no-untyped-def]


class Sealed(Envelope):
    def __init__(self, message: object, allowed: bool) -> None:
        self.message = message
        self.allowed = allowed

    def open(self, receiver: object) -> object:
        assert isinstance(receiver, Counter)
        if not self.allowed:
            raise BlocktreeError("not in this state", kind=Kind.PROTOCOL)
        return self.message


def test_an_envelope_is_checked_before_the_handler_sees_its_message(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter)
            counter.send(Sealed(Add(1), True))
            counter.send(Sealed(Add(2), False))
            assert await counter.call(Sealed(Add(4), True)) == 5
            with pytest.raises(BlocktreeError, match="not in this state"):
                await counter.call(Sealed(Add(8), False))
            with pytest.raises(UnhandledMessageError):
                await counter.call(Sealed("what", True))
            assert await counter.call(Total()) == 5
            assert [letter.why for letter in rt.dead_letters.last] == ["not in this state"]

    run(main)


def test_a_name_is_taken_until_its_actor_ends(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            first = rt.spawn(Counter, name="one")
            with pytest.raises(NameTakenError, match="local:/one lives already"):
                rt.spawn(Counter, name="one")
            assert rt.ref("one") == first
            first.stop()
            assert (await first.wait_down()).reason == Stopped()
            with pytest.raises(NoSuchActorError):
                rt.ref("one")
            second = rt.spawn(Counter, name="one")
            assert second != first
            with pytest.raises(DiedError):
                await first.call(Total())

    run(main)


def test_a_reference_that_was_received_works_where_it_is_bound_or_used(run: Run) -> None:
    class Use(Ask[int], frozen=True):
        ref: Ref

    class User(Actor):
        @handle
        async def use(self, message: Use) -> int:
            return await message.ref.call(Add(1))

    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter)
            copy = Ref(counter.path, counter.incarnation)
            assert copy == counter
            with pytest.raises(UsageError, match=r"use runtime\.bind"):
                copy.send(Add(1))
            assert await rt.spawn(User).call(Use(copy)) == 1
            assert await rt.bind(Ref(counter.path, counter.incarnation)).call(Add(1)) == 2
            stale = rt.bind(Ref(counter.path, counter.incarnation + 7))
            with pytest.raises(DiedError, match="there is no such actor"):
                await stale.call(Add(1))
            assert stale.send(Add(1)) is False

    run(main)


@pytest.mark.parametrize("name", ["", "a/b", ".."])
def test_a_name_must_be_a_path_component(run: Run, name: str) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            with pytest.raises(UsageError, match="no actor can have this name"):
                rt.spawn(Counter, name=name)

    run(main)


def test_nothing_is_spawned_outside_of_the_context(run: Run) -> None:
    async def main() -> None:
        rt = Runtime()
        with pytest.raises(UsageError, match="the runtime does not run"):
            rt.spawn(Counter)
        async with rt:
            pass
        with pytest.raises(UsageError):
            rt.spawn(Counter)
        with pytest.raises(UsageError, match="entered once"):
            await rt.__aenter__()

    run(main)


def test_a_constructor_that_fails_raises_at_spawn(run: Run) -> None:
    class Picky(Actor):
        def __init__(self) -> None:
            self.send_after(1, "never")
            raise ValueError("no")

        @handle(str)
        def take(self, text: str) -> None: ...

    async def main() -> None:
        async with Runtime() as rt:
            with pytest.raises(ValueError, match="no"):
                rt.spawn(Picky, name="picky")
            with pytest.raises(NoSuchActorError):
                rt.ref("picky")

    run(main)
