"""Fixtures: two principals, a pair of channels, and a runner on each event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from btlib import Principal
from btrun.protocol import MemoryChannel, Protocol, channel_pair
from btrun.protocol.examples.chat import Chat
from btrun.protocol.examples.files import Files
from btrun.protocol.examples.news import News
from btrun.protocol.examples.transfer import Transfer
from btrun.protocol.examples.two_phase import TwoPhase

ALICE = Principal(b"alice".ljust(32, b"\0"))
BOB = Principal(b"bob".ljust(32, b"\0"))

EXAMPLES = (Chat, Files, News, Transfer, TwoPhase)

Main = Callable[[], Awaitable[Any]]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs the main function of a test on asyncio and on trio; a hang ends as an error."""

    def runner(main: Main) -> None:
        async def bounded() -> None:
            with anyio.fail_after(10):
                await main()

        anyio.run(bounded, backend=request.param)

    return runner


@pytest.fixture
def pair() -> tuple[MemoryChannel, MemoryChannel]:
    """Alice's end and Bob's end."""
    return channel_pair(ALICE, BOB)


@pytest.fixture
def alice() -> Principal:
    return ALICE


@pytest.fixture
def bob() -> Principal:
    return BOB


@pytest.fixture
def examples() -> tuple[type[Protocol], ...]:
    """All worked examples."""
    return EXAMPLES
