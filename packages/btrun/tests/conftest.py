"""Every test of actors runs on asyncio and on trio, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import pytest
import trio.testing
from btrun.testing import run_virtually

Run: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]


def run_on_trio(main: Callable[[], Awaitable[None]]) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an async function to its end."""
    return run_virtually if request.param == "asyncio" else run_on_trio
