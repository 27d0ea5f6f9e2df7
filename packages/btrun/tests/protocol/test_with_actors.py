"""Sessions in actors: a handler runs a session to its end, and supervision sees how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from btlib import BlocktreeError, Principal
from btrun import Actor, Ask, Runtime, handle
from btrun.protocol import MemoryChannel, channel_pair
from btrun.protocol._versions import Versions
from btrun.protocol.examples import transfer
from btrun.protocol.examples.bank import Bank, pay
from btrun.protocol.examples.transfer_handles import ClientAsked, as_client

Run = Callable[[Callable[[], Any]], None]

ALICE, BOB = Principal(b"a" * 32), Principal(b"b" * 32)


class Serve(Ask[None], frozen=True):
    """Run a session over this channel; within a process a channel is passed like any value."""

    channel: MemoryChannel


class Teller(Actor):
    """Serves one session at a time; more tellers share one bank."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    @handle
    async def serve(self, message: Serve) -> None:
        await self.bank.serve(message.channel)


def test_an_actor_serves_a_session_in_a_handler(run: Run) -> None:
    async def main() -> None:
        bank = Bank({"a": 10, "b": 0})
        async with Runtime() as rt:
            teller = rt.spawn(Teller, bank)
            ours, theirs = channel_pair(ALICE, BOB)
            teller.send(Serve(theirs))
            assert await pay(ours, transfer.Ask(source="a", target="b", amount=4)) == [transfer.Moved(balance=5)]
        assert bank.accounts == {"a": 5, "b": 4}

    run(main)


def test_two_tellers_serve_two_sessions_at_once(run: Run) -> None:
    async def main() -> None:
        bank = Bank({"a": 10, "b": 10})
        async with Runtime() as rt:
            first, second = channel_pair(ALICE, BOB), channel_pair(ALICE, BOB)
            for pair in (first, second):
                rt.spawn(Teller, bank).send(Serve(pair.second))
            async with as_client(first.first) as ready:
                asked = await ready.send(transfer.Ask(source="a", target="b", amount=5))
                held = await asked.receive()
                assert isinstance(held, ClientAsked.Held)
                refused = await pay(second.first, transfer.Ask(source="a", target="b", amount=5))
                assert refused == [transfer.Refused(reason="there is not enough")]
                _, ready = await (await held.then.send(transfer.Abort())).receive()
                await ready.send(transfer.Leave())

    run(main)


def test_a_session_that_is_broken_is_the_answer_to_the_call_that_began_it(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            teller = rt.spawn(Teller, Bank({}))
            ours, theirs = channel_pair(ALICE, BOB)
            await ours.send(Versions(fingerprints=(transfer.Transfer.fingerprint,)))
            await ours.send(transfer.Commit())
            with pytest.raises(BlocktreeError, match="sent Commit in the state ready"):
                await teller.call(Serve(theirs))

    run(main)
