"""btrun against code by hand (`btrun-hand`), against other libraries (`btrun-peers`), and in number (`btrun-scale`).

Everything runs in one process on asyncio's own loop. Against code by hand, handlers are `async def` on both sides.
Against other libraries each side is used as its manual says: their handlers are plain functions, and so are ours.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, Protocol

from btrun import Actor, Ask, Mailbox, Ref, Runtime, handle

from packages.btrun.bench.by_hand import HandActor
from tests.bench.harness import Measurement, Result, compare

NAMES = ("btrun-hand", "btrun-peers", "btrun-scale")

TELLS = 20_000
SLOW_TELLS = 2_000  # of a peer that takes a hundred times as long
CALLS = 4_000
SLICE = 500  # tells between two calls, so that every contender's mailbox stays small
IN_FLIGHT = 64
SPAWNS = 100_000
SPAWNS_TRACED = 5_000  # tracing makes spawning slow; memory is in proportion


class Increase(Ask[None], frozen=True):
    pass


class Echo(Ask[object], frozen=True):
    value: object


class Counter(Actor):
    mailbox = Mailbox(limit=2 * SLICE)

    def __init__(self) -> None:
        self.total = 0

    @handle
    async def increase(self, message: Increase) -> None:
        self.total += 1

    @handle
    async def echo(self, message: Echo) -> object:
        return message.value


class PlainCounter(Actor):
    """Has handlers that cannot wait, as those of the peers."""

    mailbox = Mailbox(limit=2 * SLICE)

    def __init__(self) -> None:
        self.total = 0

    @handle
    def increase(self, message: Increase) -> None:
        self.total += 1

    @handle
    def echo(self, message: Echo) -> object:
        return message.value


class HandCounter(HandActor):
    async def receive(self, message: object) -> object:
        if type(message) is Increase:
            self.total += 1
            return None
        if type(message) is Echo:
            return message.value
        raise TypeError(type(message))


class Contender(Protocol):
    """An actor that counts and echoes."""

    def send(self, message: object) -> object: ...

    def call(self, message: object) -> Awaitable[object]: ...


Job = Callable[[Contender], Awaitable[float]]


async def tell(actor: Contender) -> float:
    """Messages a second, until all are handled."""
    began, message, echo = time.perf_counter(), Increase(), Echo(1)
    for _ in range(TELLS // SLICE):
        for _ in range(SLICE):
            actor.send(message)
        await actor.call(echo)
    return TELLS / (time.perf_counter() - began)


async def ping_pong(actor: Contender) -> float:
    """Calls a second, one at a time."""
    began, echo = time.perf_counter(), Echo(1)
    for _ in range(CALLS):
        await actor.call(echo)
    return CALLS / (time.perf_counter() - began)


async def many(actor: Contender) -> float:
    """Calls a second, 64 in flight."""
    began, echo = time.perf_counter(), Echo(1)

    async def some() -> None:
        for _ in range(CALLS // IN_FLIGHT):
            await actor.call(echo)

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
    return CALLS / (time.perf_counter() - began)


JOBS: dict[str, tuple[str, Job]] = {
    "tell": ("messages/s", tell),
    "call, 1 in flight": ("calls/s", ping_pong),
    "call, 64 in flight": ("calls/s", many),
}


def run(rounds: int, only: str | None = None) -> list[Result]:
    """All jobs of the named benchmark (None: of all), contenders taking turns."""
    results: list[Result] = []
    if only in (None, "btrun-hand"):
        results += _by_hand(rounds)
    if only in (None, "btrun-peers"):
        results += _peers(rounds)
    if only in (None, "btrun-scale"):
        results += _scale(min(rounds, 5))
    return results


def _by_hand(rounds: int) -> list[Result]:
    results: list[Result] = []
    with asyncio.Runner() as runner:
        for job, (unit, work) in JOBS.items():
            mine, theirs = _ours(runner, work, Counter), _hand(runner, work)
            results += compare(f"btrun-hand: {job}", unit, mine, {"by hand": theirs}, rounds, better="higher")
    return results


def _ours(runner: asyncio.Runner, work: Job, actor: type[Actor]) -> Measurement:
    async def measure() -> float:
        async with Runtime() as runtime:
            return await work(runtime.spawn(actor))

    return lambda: runner.run(measure())


def _hand(runner: asyncio.Runner, work: Job) -> Measurement:
    async def measure() -> float:
        actor = HandCounter()
        try:
            return await work(actor)
        finally:
            await _end([actor])

    return lambda: runner.run(measure())


# --- other libraries, used as their manuals say: from a thread, blocking


def _peers(rounds: int) -> list[Result]:
    results: list[Result] = []
    makers: dict[str, Callable[[ModuleType], tuple[Measurement, Measurement, Callable[[], None]]]] = {
        "pykka": _pykka,
        "thespian.actors": _thespian,
        "xoscar": _xoscar,
    }
    peers: dict[str, tuple[Measurement, Measurement, Callable[[], None]]] = {}
    for module, make in makers.items():
        try:
            peers[module.partition(".")[0]] = make(importlib.import_module(module))
        except ImportError as error:
            print(f"btrun-peers: {module} is left out: {error}", file=sys.stderr)
    try:
        if peers:
            results = _against(peers, rounds)
    finally:
        for _, _, stop in peers.values():
            stop()
    return results


def _against(peers: dict[str, tuple[Measurement, Measurement, Callable[[], None]]], rounds: int) -> list[Result]:
    results: list[Result] = []
    with asyncio.Runner() as runner:
        for place, job in enumerate(("tell", "call, 1 in flight")):
            unit, work = JOBS[job]
            theirs = {name: (told, called)[place] for name, (told, called, _) in peers.items()}
            results += compare(
                f"btrun-peers: {job}", unit, _ours(runner, work, PlainCounter), theirs, rounds, better="higher"
            )
    return results


def _pykka(pykka: ModuleType) -> tuple[Measurement, Measurement, Callable[[], None]]:
    def on_receive(self: object, message: object) -> object:
        return message.value if isinstance(message, Echo) else None

    kind: Any = type("PykkaCounter", (pykka.ThreadingActor,), {"on_receive": on_receive})
    actor = kind.start()
    return _tell_blocking(actor.tell, actor.ask), _call_blocking(actor.ask), pykka.ActorRegistry.stop_all


def _thespian(thespian: ModuleType) -> tuple[Measurement, Measurement, Callable[[], None]]:
    def receive(self: object, message: object, sender: object) -> None:
        if isinstance(message, Echo):
            self.send(sender, message.value)  # type: ignore[attr-defined]

    system = thespian.ActorSystem("simpleSystemBase")
    actor = system.createActor(type("ThespianCounter", (thespian.ActorTypeDispatcher,), {"receiveMessage": receive}))

    def send(message: object) -> None:
        system.tell(actor, message)

    def ask(message: object) -> object:
        return system.ask(actor, message)

    return _tell_blocking(send, ask), _call_blocking(ask), system.shutdown


def _xoscar(xoscar: ModuleType) -> tuple[Measurement, Measurement, Callable[[], None]]:
    """It is asynchronous, too, so it gets a loop of its own."""
    runner = asyncio.Runner()
    runner.get_loop().set_exception_handler(lambda loop, context: None)  # its pool leaves futures behind when it stops
    kind = type("XoscarCounter", (xoscar.Actor,), {"increase": lambda self: None, "echo": lambda self, value: value})
    pool = runner.run(xoscar.create_actor_pool("127.0.0.1:0", n_process=0))
    actor = runner.run(xoscar.create_actor(kind, address=pool.external_address, uid="counter"))

    async def tells() -> float:
        began = time.perf_counter()
        for _ in range(SLOW_TELLS // SLICE):
            for _ in range(SLICE):
                await actor.increase.tell()
            await actor.echo(1)
        return SLOW_TELLS / (time.perf_counter() - began)

    async def calls() -> float:
        began = time.perf_counter()
        for _ in range(CALLS):
            await actor.echo(1)
        return CALLS / (time.perf_counter() - began)

    def stop() -> None:
        runner.run(pool.stop())
        runner.close()

    return lambda: runner.run(tells()), lambda: runner.run(calls()), stop


def _tell_blocking(send: Callable[[object], object], ask: Callable[[object], object]) -> Measurement:
    def measure() -> float:
        began, message, echo = time.perf_counter(), Increase(), Echo(1)
        for _ in range(TELLS // SLICE):
            for _ in range(SLICE):
                send(message)
            ask(echo)
        return TELLS / (time.perf_counter() - began)

    return measure


def _call_blocking(ask: Callable[[object], object]) -> Measurement:
    def measure() -> float:
        began, echo = time.perf_counter(), Echo(1)
        for _ in range(CALLS):
            ask(echo)
        return CALLS / (time.perf_counter() - began)

    return measure


# --- many actors


def _scale(rounds: int) -> list[Result]:
    with asyncio.Runner() as runner:
        times = compare(
            f"btrun-scale: spawn {SPAWNS:,}",
            "µs/actor",
            lambda: runner.run(_spawn_seconds()) / SPAWNS * 1e6,
            {"by hand, a task each": lambda: runner.run(_spawn_seconds_by_hand()) / SPAWNS * 1e6},
            rounds,
        )
        sizes = compare(
            "btrun-scale: memory",
            "bytes/actor",
            lambda: runner.run(_spawn_bytes()) / SPAWNS_TRACED,
            {"by hand, a task each": lambda: runner.run(_spawn_bytes_by_hand()) / SPAWNS_TRACED},
            min(rounds, 2),
        )
    return times + sizes


async def _spawn_seconds() -> float:
    async with Runtime() as runtime:
        began = time.perf_counter()
        for _ in range(SPAWNS):
            runtime.spawn(Counter)
        return time.perf_counter() - began


async def _spawn_seconds_by_hand() -> float:
    began = time.perf_counter()
    actors = [HandCounter() for _ in range(SPAWNS)]
    await asyncio.sleep(0)
    taken = time.perf_counter() - began
    await _end(actors)
    return taken


async def _spawn_bytes() -> float:
    async with Runtime() as runtime:
        refs: list[Ref] = []
        before = _begin_tracing()
        refs += [runtime.spawn(Counter) for _ in range(SPAWNS_TRACED)]
        return _end_tracing(before)


async def _spawn_bytes_by_hand() -> float:
    before = _begin_tracing()
    actors = [HandCounter() for _ in range(SPAWNS_TRACED)]
    await asyncio.sleep(0)
    taken = _end_tracing(before)
    await _end(actors)
    return taken


async def _end(actors: list[HandCounter]) -> None:
    for actor in actors:
        actor.task.cancel()
    await asyncio.gather(*(actor.task for actor in actors), return_exceptions=True)


def _begin_tracing() -> int:
    gc.collect()
    tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


def _end_tracing(before: int) -> float:
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken
