"""Looking at a runtime."""

from __future__ import annotations

import anyio
import pytest
from btrun import Runtime
from btrun.inspection import Trace

from .conftest import Run
from .test_actor import Add, Break, Counter, Relay, Sleeper, Total, Wait


def test_it_lists_actors_with_their_mailboxes(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            counter, sleeper = rt.spawn(Counter), rt.spawn(Sleeper)
            await counter.call(Add(1))
            for _ in range(3):
                sleeper.send(Wait(10))
            await anyio.sleep(5)
            view = {actor.kind: actor for actor in rt.inspect().actors}
            assert (view["Counter"].handled, view["Counter"].waiting, view["Counter"].busy_seconds) == (1, 0, 0)
            assert (view["Sleeper"].handled, view["Sleeper"].waiting) == (0, 2)
            assert view["Sleeper"].busy_seconds == pytest.approx(5)
            assert view["Sleeper"].state == "running"

    run(main)


def test_it_says_who_waits_for_whom(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt, anyio.create_task_group() as group:
            sleeper = rt.spawn(Sleeper, name="sleeper")
            relay = rt.spawn(Relay, sleeper, name="relay")

            async def call() -> None:
                await relay.call(Wait(10), timeout=20)

            async def call_later() -> None:
                await anyio.sleep(1)
                await sleeper.call(Wait(1), timeout=None)

            group.start_soon(call)
            group.start_soon(call_later)
            await anyio.sleep(3)
            assert [str(call) for call in rt.inspect().blocked] == [
                "outside waits 3.0 s for local:/relay, which handles it: Wait",
                "local:/relay waits 3.0 s for local:/sleeper, which handles it: Wait",
                "outside waits 2.0 s for local:/sleeper, where it is queued: Wait",
            ]
            await anyio.sleep(20)
            assert rt.inspect().blocked == ()

    run(main)


def test_a_trace_tells_each_message_with_its_time_and_error(run: Run) -> None:
    async def main() -> None:
        traces: list[Trace] = []
        async with Runtime() as rt:
            sleeper, counter = rt.spawn(Sleeper), rt.spawn(Counter)
            rt.trace(traces.append)
            await sleeper.call(Wait(2))
            counter.send(Break())
            await counter.wait_down()
            rt.trace(None)
            await rt.spawn(Counter).call(Total())
        assert [(trace.message, trace.error) for trace in traces] == [(Wait(2), None), (Break(), "ZeroDivisionError")]
        assert traces[0].seconds == pytest.approx(2)

    run(main)
