"""Small calls beside a long stream (`bttp-beside`); many idle links, and many subscribers of a topic (`bttp-scale`).

The server is a process of its own, over loopback. "Theirs" is not a peer here: for `bttp-beside` it is the same link
while it does nothing else, for `bttp-scale` a quarter of the number, so that a ratio of 1 means linear.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import bttp

from packages.bttp.bench.contenders import ECHO, TOPIC, dial, serving
from tests.bench.harness import Result, spread

NAMES = ("bttp-beside", "bttp-scale")

SMALL = bytes(64)
ITEM = bytes(64 * 1024)
STREAM = 1024 * 1024 * 1024
CALLS = 3000
LINKS = (250, 1000)
SUBSCRIBERS = (2500, 10_000)
SUBSCRIBERS_A_LINK = 500
AT_ONCE = 8  # handshakes
PAGE = os.sysconf("SC_PAGE_SIZE")


def run(rounds: int, only: str | None = None) -> list[Result]:
    """The named benchmark (None: both)."""
    results: list[Result] = []
    if only in (None, "bttp-beside"):
        results += asyncio.run(_beside(max(1, rounds // 3)))
    if only in (None, "bttp-scale"):
        rounds = max(1, rounds // 5)
        results += _growth("an idle link", [asyncio.run(_idle_links(LINKS)) for _ in range(rounds)], LINKS)
        found = [asyncio.run(_subscribers(SUBSCRIBERS)) for _ in range(rounds)]
        results += _growth("a subscriber", found, SUBSCRIBERS)
    return results


# --- beside a stream


async def _beside(rounds: int) -> list[Result]:
    idle: dict[float, list[float]] = {0.5: [], 0.99: []}
    busy: dict[float, list[float]] = {0.5: [], 0.99: []}
    speeds: list[float] = []
    with serving("place") as (_, port, _):
        async with dial(port) as link:
            for _ in range(rounds):
                _note(idle, await _calls_until(link, None))
                began = time.perf_counter()
                stream = asyncio.ensure_future(_stream(link))
                _note(busy, await _calls_until(link, stream))
                speeds.append(STREAM / 1e6 / (time.perf_counter() - began))
    name = f"bttp-beside: 64 B calls beside 1 GiB at {statistics.median(speeds):.0f} MB/s"
    return [
        _result(f"{name}, {'median' if at == 0.5 else 'p99'}", "idle", busy[at], idle[at], "µs") for at in (0.5, 0.99)
    ]


def _note(series: dict[float, list[float]], times: list[float]) -> None:
    times.sort()
    for at, figures in series.items():
        figures.append(times[int(len(times) * at)] * 1e6)


async def _calls_until(link: bttp.Link, stream: asyncio.Future[None] | None) -> list[float]:
    """One call after the other, as long as the stream lasts; how long each took."""
    times: list[float] = []
    while len(times) < CALLS if stream is None else not stream.done():
        began = time.perf_counter()
        await link.call(ECHO, SMALL, timeout=30)
        times.append(time.perf_counter() - began)
    return times


async def _stream(link: bttp.Link) -> None:
    async with link.stream(ECHO) as stream:
        for _ in range(STREAM // len(ITEM)):
            await stream.send(ITEM)
        await stream.complete()


# --- many


async def _idle_links(counts: tuple[int, ...]) -> list[dict[str, float]]:
    """For each count: milliseconds to open a link, and KiB that it takes at either end."""
    found: list[dict[str, float]] = []
    with serving("place") as (server, port, _):
        async with _links(port, 1):  # what the first one loads does not count
            before = _memory(server), _memory(os.getpid())
            for count in counts:
                began = time.perf_counter()
                async with _links(port, count):
                    elapsed = time.perf_counter() - began
                    at_server, at_client = _memory(server) - before[0], _memory(os.getpid()) - before[1]
                found.append(
                    {
                        "ms": elapsed / count * 1e3,
                        "KiB at the server": at_server / count / 1024,
                        "KiB at the client": at_client / count / 1024,
                    }
                )
    return found


@asynccontextmanager
async def _links(port: int, count: int) -> AsyncIterator[list[bttp.Link]]:
    """So many links, a few handshakes at once."""
    async with AsyncExitStack() as stack:
        links: list[bttp.Link] = []
        while len(links) < count:
            dialled = [dial(port) for _ in range(min(AT_ONCE, count - len(links)))]
            links += await asyncio.gather(*map(stack.enter_async_context, dialled))
        yield links


async def _subscribers(counts: tuple[int, ...]) -> list[dict[str, float]]:
    """For each count: µs to subscribe and until a message is there, and KiB at the broker; a subscriber."""
    found: list[dict[str, float]] = []
    for count in counts:
        with serving("place") as (server, port, _):
            async with _links(port, count // SUBSCRIBERS_A_LINK) as links, AsyncExitStack() as stack:
                before, began = _memory(server), time.perf_counter()
                subscriptions = [
                    await stack.enter_async_context(bttp.subscribe(links[number % len(links)], TOPIC))
                    for number in range(count)
                ]
                subscribed, memory = time.perf_counter() - began, _memory(server) - before
                began = time.perf_counter()
                await links[0].call(TOPIC, SMALL)
                for subscription in subscriptions:
                    await anext(subscription)
                delivered = time.perf_counter() - began
        found.append(
            {
                "µs to subscribe": subscribed / count * 1e6,
                "µs a message": delivered / count * 1e6,
                "KiB at the broker": memory / count / 1024,
            }
        )
    return found


def _memory(process: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE


def _growth(what: str, runs: list[list[dict[str, float]]], counts: tuple[int, int]) -> list[Result]:
    """One result a figure: of the larger number against the smaller one."""
    few, many = counts
    return [
        _result(
            f"bttp-scale: {what} of {many}",
            f"of {few}",
            [run[1][unit] for run in runs],
            [run[0][unit] for run in runs],
            unit,
        )
        for unit in runs[0][0]
    ]


def _result(name: str, peer: str, ours: list[float], theirs: list[float], unit: str) -> Result:
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio = other / mine if mine else 0.0
    return Result(
        name=name, peer=peer, ours=mine, theirs=other, unit=unit, ratio=ratio, spread=max(spread(ours), spread(theirs))
    )
