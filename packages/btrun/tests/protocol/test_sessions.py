"""Sessions over channels in memory: steps, linear handles, leaving, failing, time-outs, violations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio.testing
from btlib import Kind, Principal
from btrun.protocol import Ended, MemoryChannel, Side
from btrun.protocol._memory import QUEUE_LIMIT
from btrun.protocol.errors import (
    ConsumedHandleError,
    DeclarationError,
    LocalViolationError,
    SessionEndedError,
    StateTimeoutError,
    ViolationError,
)
from btrun.protocol.examples.transfer import Abort, Ask, Commit, Held, Leave, Moved, Refused, Transfer
from btrun.protocol.examples.transfer_handles import (
    BankHeld,
    BankReady,
    ClientAsked,
    ClientHeld,
    ClientReady,
    as_bank,
    as_client,
)

Run = Callable[[Callable[[], Any]], None]
Pair = tuple[MemoryChannel, MemoryChannel]

ASK = Ask(source="a", target="b", amount=3)


async def both(first: Callable[[], Any], second: Callable[[], Any]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        tasks.start_soon(second)


def test_a_session_goes_from_handle_to_handle_to_its_end(run: Run, pair: Pair) -> None:
    async def client() -> None:
        async with as_client(pair[0]) as ready:
            asked = await ready.send(ASK)
            match await asked.receive():
                case ClientAsked.Held(offer, held):
                    assert offer.fee == 2
                    moved, ready = await (await held.send(Commit())).receive()
                    assert moved.balance == 5
                    assert isinstance(await ready.send(Leave()), Ended)
                case ClientAsked.Refused():
                    pytest.fail("it was held")

    async def bank() -> None:
        async with as_bank(pair[1]) as ready:
            match await ready.receive():
                case BankReady.Ask(ask, asked):
                    assert ask is ASK, "in memory the object itself is delivered"
                    commit = await (await asked.send(Held(fee=2))).receive()
                    assert isinstance(commit, BankHeld.Commit)
                    last = await (await commit.then.send(Moved(balance=5))).receive()
                    assert isinstance(last, BankReady.Leave)
                case BankReady.Leave():
                    pytest.fail("it asked")

    run(lambda: both(client, bank))


def test_a_handle_is_consumed_by_its_step(run: Run, pair: Pair) -> None:
    async def client() -> None:
        async with as_client(pair[0]) as ready:
            await ready.send(ASK)
            with pytest.raises(ConsumedHandleError, match="this ClientReady was used already"):
                await ready.send(Leave())

    async def bank() -> None:
        async with as_bank(pair[1]) as ready:
            received = await ready.receive()
            assert isinstance(received, BankReady.Ask)
            with pytest.raises(ConsumedHandleError, match="this BankReady was used already"):
                await ready.receive()

    run(lambda: both(client, bank))


def test_what_a_state_does_not_allow_never_leaves(run: Run, pair: Pair) -> None:
    before = as_client.violations.total

    async def client() -> None:
        async with as_client(pair[0]) as ready:
            with pytest.raises(LocalViolationError, match="may send Ask or Leave"):
                await ready._send(Commit())
            await ready.send(Leave())  # the session is where it was

    async def bank() -> None:
        async with as_bank(pair[1]) as ready:
            assert isinstance(await ready.receive(), BankReady.Leave)

    run(lambda: both(client, bank))
    assert as_client.violations.total == before + 1


def test_a_violation_ends_the_session_on_both_sides_and_is_counted(run: Run, pair: Pair, alice: Principal) -> None:
    before = as_bank.violations.by_role_and_state().get(("client", "ready"), 0)

    async def evil() -> None:
        async with as_client(pair[0]):
            await pair[0].send(Commit())  # past the handles and the monitor
            with pytest.raises(SessionEndedError, match="sent Commit in the state ready") as error:
                await pair[0].receive({})
            assert error.value.kind == Kind.PROTOCOL

    async def bank() -> None:
        with pytest.raises(ViolationError) as error:
            async with as_bank(pair[1]) as ready:
                await ready.receive()
        violation = error.value.violation
        assert (violation.role, violation.state, violation.got, violation.number) == ("client", "ready", "Commit", 1)
        assert violation.expected == ("Ask", "Leave")
        assert violation.principal == alice

    run(lambda: both(evil, bank))
    assert as_bank.violations.by_role_and_state()["client", "ready"] == before + 1


def test_an_exception_in_a_session_tells_the_other_side(run: Run, pair: Pair) -> None:
    async def client() -> None:
        with pytest.raises(RuntimeError, match="out of ink"):
            async with as_client(pair[0]):
                raise RuntimeError("out of ink")

    async def bank() -> None:
        with pytest.raises(SessionEndedError, match="the client failed in its state ready") as error:
            async with as_bank(pair[1]) as ready:
                await ready.receive()
        assert error.value.kind == Kind.INTERNAL
        assert "ink" not in str(error.value)

    run(lambda: both(client, bank))


def test_cancelling_one_side_frees_the_other_at_once(run: Run, pair: Pair) -> None:
    scopes: list[anyio.CancelScope] = []

    async def client() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            async with as_client(pair[0]) as ready:
                asked = await ready.send(ASK)
                await asked.receive()

    async def bank() -> None:
        async with as_bank(pair[1]) as ready:
            received = await ready.receive()
            assert isinstance(received, BankReady.Ask)
            scopes[0].cancel()
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(SessionEndedError, match="the client left in its state asked") as error:
                await received.then.send(Refused(reason="no"))
            assert error.value.kind == Kind.CANCELLED

    run(lambda: both(client, bank))


def test_after_the_end_nothing_is_said_and_the_last_message_still_arrives(run: Run, pair: Pair) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client)
        received = await pair[1].receive({})  # the client's versions
        received = await pair[1].receive({})
        assert isinstance(received, Leave)
        with pytest.raises(SessionEndedError, match="the other side has closed the channel"):
            await pair[1].receive({})

    async def client() -> None:
        from btrun.protocol._versions import Versions

        await pair[1].send(Versions(fingerprints=(Transfer.fingerprint,)))
        async with as_client(pair[0]) as ready:
            await ready.send(Leave())

    run(main)


def test_a_full_queue_makes_the_sender_wait_and_a_closing_receiver_frees_it(run: Run, pair: Pair) -> None:
    async def main() -> None:
        for _ in range(QUEUE_LIMIT):
            await pair[0].send(Leave())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one_more)
            await anyio.wait_all_tasks_blocked()
            await pair[1].receive({})
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(refused)
            await anyio.wait_all_tasks_blocked()
            pair[1].close(Kind.BUSY, "enough")

    async def one_more() -> None:
        await pair[0].send(Leave())

    async def refused() -> None:
        with pytest.raises(SessionEndedError, match="enough") as error:
            await pair[0].send(Leave())
        assert error.value.kind == Kind.BUSY

    run(main)


def test_an_end_that_closed_itself_neither_sends_nor_receives(run: Run, pair: Pair) -> None:
    async def main() -> None:
        pair[0].close()
        pair[0].close(Kind.BUSY, "a second word is not said")
        with pytest.raises(SessionEndedError, match="this side has closed"):
            await pair[0].send(Leave())
        with pytest.raises(SessionEndedError, match="this side has closed"):
            await pair[0].receive({})

    run(main)


def on_virtual_time(main: Callable[[], Any]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_state_with_a_time_out_ends_the_session_when_the_message_does_not_come(pair: Pair) -> None:
    async def client() -> None:
        async with as_client(pair[0]) as ready:
            received = await (await ready.send(ASK)).receive()
            assert isinstance(received, ClientAsked.Held)
            await anyio.sleep(61)
            with pytest.raises(StateTimeoutError, match="the client of Transfer sent nothing in the state held"):
                await received.then.send(Abort())

    async def bank() -> None:
        started = anyio.current_time()
        async with as_bank(pair[1]) as ready:
            received = await ready.receive()
            assert isinstance(received, BankReady.Ask)
            held = await received.then.send(Held(fee=1))
            with pytest.raises(StateTimeoutError, match="within 60 seconds") as error:
                await held.receive()
        assert error.value.kind == Kind.DEADLINE
        assert anyio.current_time() - started == 60

    on_virtual_time(lambda: both(client, bank))


def test_a_message_within_the_time_out_is_taken_and_the_next_state_has_none(pair: Pair) -> None:
    async def client() -> None:
        async with as_client(pair[0]) as ready:
            received = await (await ready.send(ASK)).receive()
            assert isinstance(received, ClientAsked.Held)
            await anyio.sleep(59)
            committing = await received.then.send(Commit())
            _, ready = await committing.receive()
            await ready.send(Leave())

    async def bank() -> None:
        async with as_bank(pair[1]) as ready:
            received = await ready.receive()
            assert isinstance(received, BankReady.Ask)
            commit = await (await received.then.send(Held(fee=1))).receive()
            assert isinstance(commit, BankHeld.Commit)
            await anyio.sleep(1000)
            await (await commit.then.send(Moved(balance=0))).receive()

    on_virtual_time(lambda: both(client, bank))


def test_handles_of_another_version_are_refused_when_they_are_imported() -> None:
    with pytest.raises(DeclarationError, match="its handles were generated from another version"):
        Side(Transfer, "client", ClientReady, (ClientAsked, ClientHeld), fingerprint=1)


def test_a_side_without_a_handle_for_a_state_is_refused() -> None:
    with pytest.raises(DeclarationError, match="the client has no handle for its state committing"):
        Side(Transfer, "client", ClientReady, (ClientAsked, ClientHeld), fingerprint=Transfer.fingerprint)


def test_channels_are_given_for_exactly_the_other_roles(pair: Pair) -> None:
    with pytest.raises(LookupError, match="the client needs channels to bank; got broker"):
        as_client({"broker": pair[0]})
