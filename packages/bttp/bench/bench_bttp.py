"""bttp against a bare TLS pump with the same framing (`bttp-pump`) and against others' messages (`bttp-peers`).

Client and server are processes of their own, over loopback, on asyncio's own loop. For `bttp-pump` the handler runs
inline, as the pump's does; for `bttp-peers` it is `async def` on both sides, except for messages: there the peers take
one after the other in one task, which is what an inline handler does. A peer that is not installed is left out.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

from packages.bttp.bench.contenders import running
from packages.bttp.bench.peers import Client, missing
from tests.bench.harness import Better, Measurement, Result, compare

NAMES = ("bttp-pump", "bttp-peers")

Job = Callable[[Client], Awaitable[float]]

SMALL = bytes(64)
LARGE = bytes(1024 * 1024)


async def _calls(client: Client, count: int, in_flight: int, body: bytes) -> float:
    """Calls a second."""

    async def some() -> None:
        for _ in range(count // in_flight):
            await client.call(body)

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(in_flight)))
    return count / (time.perf_counter() - began)


async def one_in_flight(client: Client) -> float:
    return await _calls(client, 1500, 1, SMALL)


async def many_in_flight(client: Client) -> float:
    return await _calls(client, 12800, 64, SMALL)


async def few_of_many_in_flight(client: Client) -> float:
    return await _calls(client, 1280, 64, SMALL)


async def fire_and_forget(client: Client) -> float:
    return await _messages(client, 50_000)


async def _messages(client: Client, count: int) -> float:
    """Messages a second, until the last has arrived."""
    began = time.perf_counter()
    for _ in range(count):
        await client.send(SMALL)
    await client.call(SMALL)
    return count / (time.perf_counter() - began)


async def few_messages(client: Client) -> float:
    return await _messages(client, 10_000)


async def bulk(client: Client) -> float:
    """MB a second, in bodies of 1 MiB."""
    return await _calls(client, 96, 4, LARGE) * len(LARGE) / 1e6


def _processor(work: Job, count: int) -> Job:
    """The same work, measured in µs of processor time of both ends together, which other load hardly changes."""

    async def measure(client: Client) -> float:
        server = ~client.server << 3 | 2  # the clock of that process, as clock_getcpuclockid(3) gives it
        before = time.process_time() + time.clock_gettime(server)
        await work(client)
        return (time.process_time() + time.clock_gettime(server) - before) / count * 1e6

    return measure


PUMP_JOBS: dict[str, tuple[str, Job]] = {
    "64 B calls, 1 in flight": ("calls/s", one_in_flight),
    "64 B calls, 64 in flight": ("calls/s", many_in_flight),
    "64 B messages": ("messages/s", fire_and_forget),
    "1 MiB bodies": ("MB/s", bulk),
}
PROCESSOR_JOBS: dict[str, tuple[str, Job]] = {
    "64 B calls, 1 in flight, processor": ("µs/call", _processor(one_in_flight, 1500)),
    "64 B calls, 64 in flight, processor": ("µs/call", _processor(many_in_flight, 12800)),
    "64 B messages, processor": ("µs/message", _processor(fire_and_forget, 50_000)),
}
PEER_JOBS: dict[str, tuple[str, Job]] = {
    "64 B calls, 1 in flight": ("calls/s", one_in_flight),
    "64 B calls, 64 in flight": ("calls/s", few_of_many_in_flight),
    "1 MiB bodies": ("MB/s", bulk),
}
MESSAGES: dict[str, tuple[str, Job]] = {"64 B messages": ("messages/s", few_messages)}
PEERS = {"websockets": "websockets", "ZeroMQ CURVE": "zeromq", "NATS TLS": "nats"}


def run(rounds: int, only: str | None = None) -> list[Result]:
    """All jobs of the named benchmark (None: of both), contenders taking turns."""
    results: list[Result] = []
    if only in (None, "bttp-pump"):
        results += _compare("bttp-pump", "link", {"bare TLS pump": "pump"}, PUMP_JOBS, rounds)
        results += _compare("bttp-pump", "link", {"bare TLS pump": "pump"}, PROCESSOR_JOBS, rounds, "lower")
    if only in (None, "bttp-peers"):
        peers = dict(_present())
        results += _compare("bttp-peers", "link-async", {"gRPC aio": "grpc", **peers}, PEER_JOBS, rounds)
        if peers:
            results += _compare("bttp-peers", "link", peers, MESSAGES, rounds)
    return results


def _present() -> Iterator[tuple[str, str]]:
    for peer, label in PEERS.items():
        if (reason := missing(label)) is None:
            yield peer, label
        else:
            print(f"left out: {peer}: {reason}", file=sys.stderr)


def _compare(
    name: str,
    ours: str,
    peers: dict[str, str],
    jobs: dict[str, tuple[str, Job]],
    rounds: int,
    better: Better = "higher",
) -> list[Result]:
    results: list[Result] = []
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            client = runner.run(stack.enter_async_context(running(ours)))
            others = {peer: runner.run(stack.enter_async_context(running(label))) for peer, label in peers.items()}
            for job, (unit, work) in jobs.items():
                mine = _measurement(runner, work, client)
                theirs = {peer: _measurement(runner, work, other) for peer, other in others.items()}
                results += compare(f"{name}: {job}", unit, mine, theirs, rounds, better)
        finally:
            runner.run(stack.aclose())
    return results


def _measurement(runner: asyncio.Runner, work: Job, client: Client) -> Measurement:
    async def measure() -> float:
        return await work(client)

    return lambda: runner.run(measure())
