"""Timers of actors."""

from __future__ import annotations

import anyio
import pytest
from btrun import Actor, Ask, Runtime, handle

from .conftest import Run
from .test_life import Note


class Tick(Ask[None], frozen=True):
    pass


class Clockwork(Actor):
    def __init__(self) -> None:
        self.times: list[float] = []
        self.timer = self.send_every(1.0, Tick())
        self.send_after(2.5, Note("once"))

    @handle
    def tick(self, message: Tick) -> None:
        self.times.append(anyio.current_time())

    @handle
    def once(self, message: Note) -> None:
        self.times.append(-anyio.current_time())

    @handle(str)
    def command(self, text: str) -> list[float]:
        if text == "cancel":
            self.timer.cancel()
        return self.times


def test_timers_send_until_they_are_cancelled(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            began = anyio.current_time()
            clockwork = rt.spawn(Clockwork)
            await anyio.sleep(3.2)
            await clockwork.call("cancel")
            await anyio.sleep(10)
            times = await clockwork.call("?")
            assert isinstance(times, list)
            assert times == [pytest.approx(t) for t in (began + 1, began + 2, -(began + 2.5), began + 3)]

    run(main)


def test_timers_end_with_their_actor(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            clockwork = rt.spawn(Clockwork)
            await anyio.sleep(1.5)
            clockwork.stop()
            await anyio.sleep(10)
            assert rt.dead_letters.count == 0
            assert len(rt.loop) == 0

    run(main)
