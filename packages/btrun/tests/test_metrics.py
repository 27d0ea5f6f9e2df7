"""A runtime's numbers as Prometheus reads them."""

from __future__ import annotations

import anyio
import pytest
from btlib import Principal
from btrun import Ref, Runtime
from btrun.leases import MemoryLeases
from btrun.metrics import prometheus_text
from btrun.protocol import channel_pair
from btrun.protocol.errors import ViolationError
from btrun.protocol.examples.transfer import Commit
from btrun.protocol.examples.transfer_handles import as_bank, as_client
from btrun.services import Single

from .conftest import Run
from .test_actor import Add, Counter, Sleeper, Total, Wait
from .test_services import Leader, Who


def test_actors_are_told_by_class_and_services_by_path(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt, anyio.create_task_group() as group:
            rt.spawn(Counter)
            gone = rt.spawn(Counter)
            for waiting in (2, 5):
                sleeper = rt.spawn(Sleeper)
                for _ in range(waiting + 1):
                    sleeper.send(Wait(10))
            rt.service("leader", Leader, [], set(), single=Single(MemoryLeases(anyio.current_time)))
            await rt.ref("leader").call(Who())
            gone.stop()
            await gone.wait_down()
            gone.send(Add(1))

            async def call(ref: Ref = sleeper) -> None:
                await ref.call(Wait(0))

            group.start_soon(call)
            await anyio.sleep(3)
            lines = prometheus_text(rt.inspect(), labels={"host": "nas"}).splitlines()
            for line in (
                "# TYPE btrun_actors gauge",
                'btrun_actors{host="nas",class="Counter",state="running"} 1',
                'btrun_actors{host="nas",class="Sleeper",state="running"} 2',
                'btrun_mailbox_messages{host="nas",class="Sleeper"} 8',
                'btrun_mailbox_messages_most{host="nas",class="Sleeper"} 6',
                'btrun_service_workers{host="nas",service="local:/leader"} 1',
                'btrun_service_fence{host="nas",service="local:/leader"} 1',
                'btrun_blocked_calls{host="nas"} 1',
                'btrun_blocked_seconds{host="nas"} 3.0',
                "# TYPE btrun_dead_letters_total counter",
                'btrun_dead_letters_total{host="nas"} 1',
            ):
                assert line in lines
            group.cancel_scope.cancel()

    run(main)


def test_every_metric_has_its_help_and_type_and_no_name_twice(run: Run) -> None:
    async def main() -> None:
        async with Runtime() as rt:
            await rt.spawn(Counter).call(Total())
            lines = prometheus_text(rt.inspect(), as_bank, as_client).splitlines()
            heads = [line.split()[2] for line in lines if line.startswith("# HELP")]
            assert len(heads) == len(set(heads))
            assert heads == [line.split()[2] for line in lines if line.startswith("# TYPE")]
            for line in lines:
                if not line.startswith("#"):
                    assert line.partition("{")[0].partition(" ")[0] in heads

    run(main)


def test_broken_protocols_are_counted_by_role_and_state(run: Run) -> None:
    async def main() -> None:
        evil, ours = channel_pair(Principal(b"e" * 32), Principal(b"b" * 32))
        sample = 'btrun_violations_total{protocol="Transfer",role="client",state="ready"} '

        async def misbehave() -> None:
            async with as_client(evil):
                await evil.send(Commit())

        async with Runtime() as rt, anyio.create_task_group() as group:
            before = as_bank.violations.by_role_and_state().get(("client", "ready"), 0)
            group.start_soon(misbehave)
            with pytest.raises(ViolationError):
                async with as_bank(ours) as ready:
                    await ready.receive()
            assert f"{sample}{before + 1}" in prometheus_text(rt.inspect(), as_bank).splitlines()

    run(main)
