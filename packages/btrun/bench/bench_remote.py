"""What actors and sessions add to a link (`btrun-remote`): an actor's call against a bare bttp call, and a message of a
session with its monitors against the same packets on the same stream without.

The server is a process of its own; all contenders share one link to it, over loopback, on asyncio's own loop. The bare
call's body has the length of the actor call's request. A session's turn is one message each way.

`python -m packages.btrun.bench.bench_remote` is the server: it prints its endpoint, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

import anyio.to_thread
import bttp
from btlib.testing import make_domain_identities
from btrun import Actor, Ask, Ref, Runtime, handle
from btrun.protocol import Channel, Handle, open_channel, serve_sessions
from btrun.protocol._streams import StreamChannel

from packages.btrun.bench.bench_protocol import (
    ACCEPTS,
    LEFT,
    PING,
    PONG,
    PRINCIPAL,
    RIGHT,
    LeftStart,
    RightStart,
    Stop,
)
from tests.bench.harness import Result, compare, spread

NAME = "btrun-remote"

ROOT = Path(__file__).resolve().parents[3]
DOMAIN = make_domain_identities("server", "client")
APP = DOMAIN.path.child("app")
BARE, SESSION, PLAIN = APP.child("bare"), APP.child("session"), APP.child("plain")
ONE, MANY, TURNS = 1500, 6400, 25
SLICES = 40  # of a session in each round, each of TURNS
IN_FLIGHT = 64
REQUEST_BYTES = 180  # about what the request of the actor's call takes, with its path and schema

Job: TypeAlias = Callable[[], Awaitable[object]]


class Echo(Ask[bytes], frozen=True):
    value: bytes


class EchoNow(Ask[bytes], frozen=True):
    value: bytes


class Echoing(Actor):
    """Has a handler that may wait, and one that cannot."""

    @handle
    async def echo(self, message: Echo) -> bytes:
        return message.value

    @handle
    def echo_now(self, message: EchoNow) -> bytes:
        return message.value


async def _bare(request: bttp.Request) -> memoryview:
    return request.body


async def _session(channel: Channel) -> None:
    async with RIGHT(channel) as start:
        at: object = start
        while isinstance(at, RightStart):
            case = await at.receive()
            at = await case.then.send(PONG) if isinstance(case, RightStart.Ping) else None


async def _plain(stream: bttp.Stream) -> None:
    channel = StreamChannel(stream, PRINCIPAL)
    while not isinstance(await channel.receive({**ACCEPTS, "Stop": Stop}), Stop):
        await channel.send(PONG)


async def _serve() -> None:
    async with Runtime(DOMAIN["server"], APP) as runtime:
        runtime.spawn(Echoing, name="echo")
        runtime.router.add(BARE, _bare)
        serve_sessions(runtime.router, SESSION, _session)
        runtime.router.add_stream(PLAIN, _plain)
        async with bttp.serve(["127.0.0.1:0"], DOMAIN["server"], runtime.router, roots=[DOMAIN.principal]) as server:
            print(server.endpoints[0], flush=True)
            await anyio.to_thread.run_sync(sys.stdin.read)


def run(rounds: int) -> list[Result]:
    command = [sys.executable, "-m", "packages.btrun.bench.bench_remote"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
        asyncio.Runner() as runner,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        client = _Client(runner, server.stdout.readline().strip())
        try:
            return client.compare(rounds)
        finally:
            client.close()
            server.stdin.close()


class _Client:
    """One link, and all that is measured on it."""

    def __init__(self, runner: asyncio.Runner, endpoint: str) -> None:
        self._runner = runner
        self._runtime = Runtime(DOMAIN["client"], DOMAIN.path.child("client"))
        self._connecting = bttp.connect(endpoint, DOMAIN["client"], root=DOMAIN.principal)
        self._done = asyncio.Event()
        self._link: bttp.Link
        self._echo: Ref
        self._life = runner.get_loop().create_task(self._live())
        while not hasattr(self, "_echo"):
            runner.run(asyncio.sleep(0.001))

    async def _live(self) -> None:
        """In one task from end to end, as task groups want it."""
        async with self._runtime, self._connecting as self._link:
            self._runtime.attach(self._link, APP)
            self._echo = self._runtime.at(APP.child("echo"))
            await self._done.wait()

    def close(self) -> None:
        async def finish() -> None:
            self._done.set()
            await self._life

        self._runner.run(finish())

    def compare(self, rounds: int) -> list[Result]:
        body, results = bytes(REQUEST_BYTES), list[Result]()
        for name, count, in_flight in (("1 in flight", ONE, 1), ("64 in flight", MANY, IN_FLIGHT)):
            bare = self._calls(lambda: self._link.call(BARE, body, timeout=30), count, in_flight)
            for handler, message in (("async def", Echo(bytes(64))), ("def", EchoNow(bytes(64)))):
                ours = self._calls(partial(self._echo.call, message), count, in_flight)
                title = f"btrun-remote: call of {handler}, {name}"
                results += compare(title, "calls/s", ours, {"bare bttp call": bare}, rounds, better="higher")
        return [*results, self._runner.run(self._monitors(rounds))]

    def _calls(self, call: Job, count: int, in_flight: int) -> Callable[[], float]:
        async def some() -> None:
            for _ in range(count // in_flight):
                await call()

        async def measure() -> float:
            began = time.perf_counter()
            await asyncio.gather(*(some() for _ in range(in_flight)))
            return count / (time.perf_counter() - began)

        return lambda: self._runner.run(measure())

    async def _monitors(self, rounds: int) -> Result:
        """Slices of one session and of one bare stream, turn about: what disturbs the machine for longer than some
        milliseconds hurts both. The ratio is the median of those of neighbours."""
        async with (
            self._link.stream(PLAIN) as stream,
            open_channel(self._link, SESSION) as channel,
            LEFT(channel) as handle,
        ):
            plain, at, pairs = StreamChannel(stream, PRINCIPAL), cast(Handle, handle), list[tuple[float, float]]()
            for number in range(rounds * SLICES + 1):
                ours, at = await _monitored(at)
                pairs += [(ours, await _unmonitored(plain))] if number else []  # the first is for warming up
            await plain.send(Stop())
            await stream.complete()
            assert isinstance(at, LeftStart)
            await channel.send(Stop())
        series = [list(each) for each in zip(*pairs, strict=True)]
        return Result(
            name="btrun-remote: a message of a session",
            peer="without monitors",
            ours=statistics.median(series[0]),
            theirs=statistics.median(series[1]),
            unit="µs",
            ratio=statistics.median(theirs / ours for ours, theirs in pairs),
            spread=max(map(spread, series)),
        )


async def _monitored(at: Handle) -> tuple[float, Handle]:
    """Microseconds a message, and where the session is then."""
    began = time.perf_counter()
    for _ in range(TURNS):
        assert isinstance(at, LeftStart)
        at = (await (await at.send(PING)).receive()).then
    return (time.perf_counter() - began) / (2 * TURNS) * 1e6, at


async def _unmonitored(channel: Channel) -> float:
    began = time.perf_counter()
    for _ in range(TURNS):
        await channel.send(PING)
        await channel.receive(ACCEPTS)
    return (time.perf_counter() - began) / (2 * TURNS) * 1e6


if __name__ == "__main__":
    asyncio.run(_serve())
