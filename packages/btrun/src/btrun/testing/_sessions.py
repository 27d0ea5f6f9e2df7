"""Sessions of protocols over a simulated link: packets with its latency, in order, lost with it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from bttp.errors import ConnectionLostError

from ._network import TICK, SimulatedLink

if TYPE_CHECKING:
    from ._simulation import Simulation

QUEUE_LIMIT = 64  #: packets under way and not taken, before their sender waits


class SimulatedPackets:
    """One end; see `btrun.protocol.Packets`. `way`: the link by which its packets leave."""

    def __init__(self, simulation: Simulation, way: SimulatedLink) -> None:
        self.other: SimulatedPackets
        self._simulation = simulation
        self._way = way
        self._loop = asyncio.get_running_loop()
        self._incoming: deque[bytes] = deque()
        self._under_way = 0
        self._there = 0.0  # when the last packet arrives: none overtakes another
        self._broken = False
        self._closed = False
        self._news = asyncio.Event()
        way.on_close(self._break)

    async def send(self, packet: bytes) -> None:
        while self._under_way + len(self.other._incoming) >= QUEUE_LIMIT and not self._broken:
            await self._wait()
        self._check()
        self._deliver(packet)

    async def receive(self) -> bytes:
        while not self._incoming:
            self._check()
            await self._wait()
        packet = self._incoming.popleft()
        self.other._news.set()
        return packet

    def close(self, last: bytes) -> None:
        if not self._closed and not self._broken:
            self._deliver(last)
        self._closed = True

    def _check(self) -> None:
        if self._broken:
            raise ConnectionLostError("the link of the session ended")

    def _break(self) -> None:
        self._broken = True
        self._news.set()

    def _deliver(self, packet: bytes) -> None:
        there = self._loop.time() + self._simulation.latency()
        self._there = there = max(there, self._there + TICK)
        self._under_way += 1

        def arrive() -> None:
            self._under_way -= 1
            if self._way.usable:
                self.other._incoming.append(packet)
                self.other._news.set()

        self._loop.call_at(there, arrive)

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


def joined(
    simulation: Simulation, forth: SimulatedLink, back: SimulatedLink
) -> tuple[SimulatedPackets, SimulatedPackets]:
    """Both ends of one session."""
    ours, theirs = SimulatedPackets(simulation, forth), SimulatedPackets(simulation, back)
    ours.other, theirs.other = theirs, ours
    return ours, theirs
