"""The worked examples, run: each with its programs on both sides, on both event loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import pytest
from btlib import Principal
from btrun.protocol import channel_pair
from btrun.protocol.examples.bank import Bank, pay
from btrun.protocol.examples.newsroom import BACKLOG, Broker, subscribe
from btrun.protocol.examples.room import Room, listen, speak
from btrun.protocol.examples.shelf import FileFailedError, Shelf, append, read_file
from btrun.protocol.examples.transfer import Ask, Moved, Refused, Released
from btrun.protocol.examples.transfer_handles import as_client
from btrun.protocol.examples.votes import Participant, coordinate

Run = Callable[[Callable[[], Any]], None]

ALICE, BOB, CAROL = (Principal(name.ljust(32, b"\0")) for name in (b"alice", b"bob", b"carol"))


async def against(serve: Callable[..., Coroutine[Any, Any, None]], client: Callable[..., Awaitable[Any]]) -> Any:
    """Run one client against one server, each at its end of a channel; what the client returns."""
    ours, theirs = channel_pair(ALICE, BOB)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, theirs)
        return await client(ours)


def test_the_bank_moves_refuses_and_releases(run: Run) -> None:
    async def main() -> None:
        bank = Bank({"a": 10, "b": 0})
        assert await against(
            bank.serve,
            lambda channel: pay(
                channel,
                Ask(source="a", target="b", amount=4),
                Ask(source="a", target="b", amount=400),
                Ask(source="a", target="nobody", amount=1),
            ),
        ) == [
            Moved(balance=5),
            Refused(reason="there is not enough"),
            Refused(reason="there is no such account"),
        ]
        refused = await against(bank.serve, lambda channel: pay(channel, Ask(source="a", target="b", amount=1), most=0))
        assert refused == [Released()]
        assert bank.accounts == {"a": 5, "b": 4}

    run(main)


def test_what_the_bank_holds_goes_back_when_the_client_disappears(run: Run) -> None:
    async def main() -> None:
        bank = Bank({"a": 10, "b": 0})
        with pytest.raises(ExceptionGroup):
            await against(bank.serve, disappear)
        assert bank.accounts == {"a": 10, "b": 0}

    async def disappear(channel: Any) -> None:
        async with as_client(channel) as ready:
            asked = await ready.send(Ask(source="a", target="b", amount=4))
            await asked.receive()

    run(main)


def test_subscribers_take_events_at_their_own_pace_and_learn_what_they_lost(run: Run) -> None:
    async def main() -> None:
        broker = Broker("weather")

        async def read(channel: Any) -> tuple[list[bytes], int]:
            async with subscribe(channel, "weather") as subscription:
                for number in range(BACKLOG + 3):
                    broker.publish("weather", str(number).encode())
                broker.end("weather")
                return [event async for event in subscription], subscription.lost

        events, lost = await against(broker.serve, read)
        assert events == [b"3", b"4", b"5", b"6"]
        assert lost == 3

    run(main)


def test_a_subscriber_may_stop_at_any_time(run: Run) -> None:
    async def main() -> None:
        broker = Broker("weather")

        async def read_one(channel: Any) -> bytes:
            async with subscribe(channel, "weather", at_once=1) as subscription:
                broker.publish("weather", b"rain")
                broker.publish("weather", b"sun")
                return await anext(subscription)

        assert await against(broker.serve, read_one) == b"rain"

    run(main)


def test_an_unknown_topic_is_denied(run: Run) -> None:
    async def main() -> None:
        async def read(channel: Any) -> None:
            async with subscribe(channel, "secrets"):
                pytest.fail("it was denied")

        with pytest.raises(ExceptionGroup) as error:
            await against(Broker("weather").serve, read)
        assert error.group_contains(LookupError, match="there is no topic secrets")

    run(main)


def test_everyone_in_the_room_hears_the_same_lines_in_the_same_order(run: Run) -> None:
    async def main() -> None:
        room = Room()
        heard: dict[str, list[str]] = {}

        async def hear(name: str, principal: Principal) -> None:
            ours, theirs = channel_pair(principal, BOB)
            tasks.start_soon(room.serve, theirs)
            heard[name] = [f"{line.number} {line.name}: {line.text}" for line in await listen(ours, name, lines=4)]

        async def say(name: str, principal: Principal, *texts: str) -> None:
            ours, theirs = channel_pair(principal, BOB)
            tasks.start_soon(room.serve, theirs)
            await speak(ours, name, *texts)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, "alice", ALICE)
            tasks.start_soon(hear, "carol", CAROL)
            tasks.start_soon(say, "alice", ALICE, "hello", "is anyone here?")
            tasks.start_soon(say, "carol", CAROL, "yes", "I am")
        assert len(heard["alice"]) == 4
        assert heard["alice"] == heard["carol"]
        assert next(line for line in heard["alice"] if "alice" in line).endswith("alice: hello")

    run(main)


def test_a_name_in_the_room_belongs_to_one_principal(run: Run) -> None:
    async def main() -> None:
        room = Room()
        room.members["alice"] = str(CAROL)
        with pytest.raises(ExceptionGroup) as error:
            await against(room.serve, lambda channel: speak(channel, "alice", "it is me"))
        assert error.group_contains(LookupError, match="the name is taken")
        assert room.lines == []

    run(main)


def test_a_silent_room_says_so_and_the_listener_asks_again(run: Run) -> None:
    async def main() -> None:
        room = Room(patience=0)

        async def later(channel: Any) -> Any:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(put)
                return await listen(channel, "alice", lines=1)

        async def put() -> None:
            await anyio.sleep(0)
            room._put("carol", "at last")

        assert [line.text for line in await against(room.serve, later)] == ["at last"]

    run(main)


def test_files_are_read_in_pieces_and_written_at_their_end(run: Run) -> None:
    async def main() -> None:
        shelf = Shelf({"/notes": b"0123456789"})
        assert await against(shelf.serve, partial(read_file, path="/notes")) == b"0123456789"
        assert await against(shelf.serve, partial(append, path="/notes", content=b"ab")) == 12
        assert shelf.files["/notes"] == b"0123456789ab"

    run(main)


@pytest.mark.parametrize(
    ("client", "text"),
    [
        (partial(read_file, path="/nothing"), "no file /nothing"),
        (partial(append, path="/notes", content=b"x", writing=False), "/notes is open to read only"),
    ],
)
def test_a_failed_file_operation_leaves_the_session_sound(
    run: Run, client: Callable[..., Awaitable[Any]], text: str
) -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as error:
            await against(Shelf({"/notes": b""}).serve, client)
        assert error.group_contains(FileFailedError, match=text)
        assert not error.group_contains(BaseException, match="ended the session")

    run(main)


@pytest.mark.parametrize(("able", "committed"), [((True, True), True), ((False, True), False), ((True, False), False)])
def test_two_phase_commit_is_all_or_nothing(run: Run, able: tuple[bool, bool], committed: bool) -> None:
    async def main() -> None:
        first, second = (Participant(able=one) for one in able)
        to_first, at_first = channel_pair(ALICE, BOB)
        to_second, at_second = channel_pair(ALICE, CAROL)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.serve_first, at_first)
            tasks.start_soon(second.serve_second, at_second)
            assert await coordinate(to_first, to_second, b"x = 1") == committed
        assert first.committed == second.committed == ([b"x = 1"] if committed else [])

    run(main)
