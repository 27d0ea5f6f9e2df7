"""Mailboxes have a limit, and say what happens to one message more."""

from __future__ import annotations

import anyio
import pytest
from btrun import (
    Mailbox,
    MailboxFullError,
    Runtime,
    WhenFull,
)

from .conftest import Run
from .test_actor import Add, Counter, Total


def test_a_full_mailbox_raises_an_error_that_names_the_limit_and_its_setting(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter, mailbox=Mailbox(limit=2))
            assert counter.send(Add(1))
            assert counter.send(Add(1))
            with pytest.raises(MailboxFullError, match=r"2 messages wait .*Mailbox\(limit=…\)"):
                counter.send(Add(1))
            with pytest.raises(MailboxFullError):
                await counter.call(Total())
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            assert await counter.call(Total()) == 2

    run(main)


@pytest.mark.parametrize(("policy", "total"), [(WhenFull.DROP_NEW, 3), (WhenFull.DROP_OLD, 6)])
def test_dropped_messages_are_dead_letters(run: Run, policy: WhenFull, total: int) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter = rt.spawn(Counter, mailbox=Mailbox(limit=2, when_full=policy))
            outcomes = [counter.send(Add(amount)) for amount in (1, 2, 4)]
            assert outcomes == [True, True, policy is WhenFull.DROP_OLD]
            for _ in range(4):
                await anyio.lowlevel.checkpoint()
            assert await counter.call(Total()) == total
            assert rt.dead_letters.count == 1
            assert rt.dead_letters.by_path["local:/counter-1"] == 1

    run(main)
