"""Several runtimes in one process, on a network that delays, cuts and loses, from one seed.

    async def main(sim: Simulation) -> None:
        await sim.start("a", setup)
        await sim.start("b")
        ...
        sim.partition("a")
        await sim.crash("b")

    simulate(main, seed=7)

Everything that is random comes from the seed: latencies, the order in which runnable actors get their turn, the jitter
of supervisors, and whatever `main` draws from `sim.random` or from the module `random`. A run that fails carries its
seed as a note, and the same seed replays it, in other processes too. What the model leaves out: bytes (bttp has its own
tests), clocks that drift, slow handlers. What it cannot replay: `secrets`, clocks, the order of a set of texts.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
from btlib.errors import BlocktreeError
from btlib.paths import BlockPath
from btlib.principals import Principal

from .._pool import Job
from .._runtime import Runtime
from .._supervision import Supervision
from ..errors import NoLinkError
from ..protocol import Channel, Program, WireChannel
from ._clock import run_virtually
from ._network import SimulatedLink
from ._sessions import joined

ROOT = Principal(bytes(32))  #: of the simulated domain; nobody has its keys

Setup = Callable[[Runtime], object]


class Node:
    """A simulated machine with one runtime."""

    def __init__(self, name: str, setup: Setup, supervision: Supervision) -> None:
        self.name = name
        self.setup = setup
        self.supervision = supervision
        self.runtime: Runtime | None = None
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None  #: what the runtime ended with, if not in peace


class Simulation:
    """The world of one run. Made by `simulate`."""

    def __init__(self, seed: int, latency: tuple[float, float], detection: float) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.detection = detection  #: seconds until the ends of a link notice that the other is gone
        self.trace: list[str] = []  #: what happened on the network, with times: equal in every replay
        self._latency = latency
        self._nodes: dict[str, Node] = {}
        self._links: dict[tuple[str, str], SimulatedLink] = {}
        self._isolated: frozenset[str] = frozenset()
        self._group: anyio.abc.TaskGroup
        self._loop = asyncio.get_running_loop()

    # --- nodes

    def path(self, name: str) -> BlockPath:
        """The path of a node's runtime; its actors are below. A name with slashes has its place deeper in the tree."""
        return BlockPath(ROOT, ("nodes", *name.split("/")))

    def __getitem__(self, name: str) -> Runtime:
        """The runtime of a node that runs."""
        runtime = self._nodes[name].runtime
        assert runtime is not None, f"node {name} does not run"
        return runtime

    async def start(
        self,
        name: str,
        setup: Setup = lambda _runtime: None,
        supervision: Supervision = Supervision(),  # noqa: B008 - a frozen value
    ) -> Runtime:
        """Start a machine: its runtime, `setup` in it, links to all that run."""
        node = self._nodes[name] = Node(name, setup, supervision)
        await self._boot(node)
        return self[name]

    async def restart(self, name: str) -> Runtime:
        """Start a machine that crashed or stopped, with the same setup."""
        node = self._nodes[name]
        assert node.runtime is None, f"node {name} runs"
        await self._boot(node)
        return self[name]

    async def crash(self, name: str) -> None:
        """End a machine as a power cut does: nobody is told; others notice after `detection` seconds."""
        self.log(f"{name} crashes")
        for pair, link in list(self._links.items()):
            if name in pair:
                link.lose(self.detection)
        node = self._nodes[name]
        self[name].abandon()
        await node.ended.wait()

    async def stop(self, name: str) -> None:
        """End a machine in order: its services are handed over, its links answer what is under way, and it ends."""
        self.log(f"{name} stops")
        node = self._nodes[name]
        await self[name].drain()
        for pair, link in list(self._links.items()):
            if name in pair:
                await link.drain()
        self[name]._scope.cancel()
        await node.ended.wait()
        for pair, link in list(self._links.items()):
            if name in pair:
                link.close("the peer closed the link")

    # --- sessions

    def principal(self, name: str) -> Principal:
        """Who a node is to others."""
        return Principal(hashlib.sha256(name.encode()).digest())

    def open_channel(self, here: str, there: str, program: Program) -> Channel:
        """A session from one node to another, where `program` runs with the other end of it. Raises NoLinkError."""
        forth, back = self._links.get((here, there)), self._links.get((there, here))
        if forth is None or back is None or forth.closed or back.closed:
            raise NoLinkError(f"no link leads from {here} to {there}")
        ours, theirs = joined(self, forth, back)

        async def serve() -> None:
            try:
                await program(WireChannel(theirs, self.principal(here)))
            except BlocktreeError as error:
                self.log(f"{there} ended a session of {here}: {type(error).__name__}")

        self._loop.call_later(self.latency(), self[there].start_task, serve)
        return WireChannel(ours, self.principal(there))

    # --- network

    def partition(self, *names: str) -> None:
        """Separate these nodes from all others. What is on its way is lost; links close after `detection`."""
        self._isolated = frozenset(names)
        self.log(f"partition {sorted(names)}")
        for (a, b), link in list(self._links.items()):
            if not self._connected(a, b):
                link.lose(self.detection)

    def heal(self) -> None:
        """End the partition, and connect what is not connected."""
        self._isolated = frozenset()
        self.log("heal")
        self._connect_all()

    def cut(self, a: str, b: str) -> None:
        """Break the link between two nodes, noticed at once. `heal` connects anew."""
        self.log(f"cut {a} {b}")
        for pair in ((a, b), (b, a)):
            if (link := self._links.get(pair)) is not None:
                link.close("the connection was reset")

    def log(self, text: str) -> None:
        """A line in the trace of this run."""
        self.trace.append(f"{self._loop.time():.6f} {text}")

    def latency(self) -> float:
        """Of one message."""
        return self.random.uniform(*self._latency)

    # --- how

    async def _boot(self, node: Node) -> None:
        node.ended, node.failure = asyncio.Event(), None
        ready = asyncio.Event()
        self._group.start_soon(self._live, node, ready)
        await ready.wait()
        self.log(f"{node.name} starts")
        self._connect_all()

    async def _live(self, node: Node, ready: asyncio.Event) -> None:
        try:
            runtime = Runtime(path=self.path(node.name), supervision=node.supervision, random=self.random.random)
            async with runtime:
                runtime.pool.pick = self._pick
                node.runtime = runtime
                node.setup(runtime)
                ready.set()
                await anyio.sleep_forever()
        except Exception as error:  # a machine that fails is part of the story; `main` looks at it
            node.failure = error
            self.log(f"{node.name} fails: {error}")
        finally:
            node.runtime = None
            node.ended.set()
            ready.set()

    def _pick(self, queue: deque[Job]) -> Job:
        if len(queue) > 1:
            queue.rotate(-self.random.randrange(len(queue)))
        return queue.popleft()

    def _connect_all(self) -> None:
        running = [node for node in self._nodes.values() if node.runtime is not None]
        for a in running:
            for b in running:
                old = self._links.get((a.name, b.name))
                if a is b or not self._connected(a.name, b.name) or (old is not None and old.usable):
                    continue
                if old is not None:
                    old.close("the peer connected anew")
                assert a.runtime is not None
                assert b.runtime is not None
                link = self._links[a.name, b.name] = SimulatedLink(self, f"{a.name}>{b.name}", b.runtime)
                a.runtime.attach(link, self.path(b.name))

    def _connected(self, a: str, b: str) -> bool:
        return (a in self._isolated) == (b in self._isolated)

    async def _run(self, main: Callable[[Simulation], Awaitable[None]]) -> None:
        failure: Exception | None = None
        async with anyio.create_task_group() as self._group:
            try:
                await main(self)
            except Exception as error:  # it passes on, outside of the task group that would wrap it
                failure = error
            self._group.cancel_scope.cancel()
        if failure is not None:
            raise failure


def simulate(
    main: Callable[[Simulation], Awaitable[None]],
    *,
    seed: int,
    latency: tuple[float, float] = (0.0005, 0.02),
    detection: float = 3.0,
) -> list[str]:
    """Run a simulated world to the end of `main`. Gives its trace. A failure carries the seed as a note."""
    traces: list[list[str]] = []

    async def run() -> None:
        simulation = Simulation(seed, latency, detection)
        traces.append(simulation.trace)
        await simulation._run(main)

    before = random.getstate()
    random.seed(f"the module's, in simulation {seed}")  # what draws from it replays too
    try:
        run_virtually(run)
    except BaseException as error:
        error.add_note(f"simulation seed {seed}: simulate(…, seed={seed}) replays this")
        raise
    finally:
        random.setstate(before)
    return traces[0]
