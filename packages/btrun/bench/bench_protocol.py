"""What the monitor costs: the same messages over the same channels, with a session's handles and without.

Each turn is one message each way between two ends in one task, so that no event loop is measured. The bare contender
does what the session does with the channel, and checks nothing. The figures are microseconds a message, both ends
together; the cost is the difference. The second row is the monitor alone: the step at the sender and at the receiver.
The third is a message over a socket between two tasks, encoded, with a session and with a bare channel; a link would
add encryption to both.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, NamedTuple

from btlib import Principal
from btrun.protocol import END, Channel, Handle, Protocol, Role, Side, State, Taking, WireChannel, channel_pair
from btrun.protocol._monitor import Monitor
from msgspec import Struct

from tests.bench.harness import Measurement, Result, compare, timed

NAME = "protocol-monitor"

#: Messages in one measurement: long against the price of opening a session.
TURNS = 2000


class Ping(Struct, frozen=True):
    text: str


class Pong(Struct, frozen=True):
    text: str


class Stop(Struct, frozen=True): ...


class PingPong(Protocol):
    """The smallest cycle."""

    left = Role("pings")
    right = Role("pongs")
    start = State("left pings, or stops")
    answer = State("right pongs")
    start.lets(left, {Ping: answer, Stop: END})
    answer.lets(right, {Pong: start})


class LeftStart(Handle):
    state: ClassVar[str] = "start"
    __slots__ = ()

    def send(self, message: Ping) -> Taking[LeftAnswer]:
        return self._send(message)


class LeftAnswer(Handle):
    state: ClassVar[str] = "answer"
    __slots__ = ()

    class Pong(NamedTuple):
        message: Pong
        then: LeftStart

    def receive(self) -> Taking[Pong]:
        return self._receive()


class RightStart(Handle):
    state: ClassVar[str] = "start"
    __slots__ = ()

    class Ping(NamedTuple):
        message: Ping
        then: RightAnswer

    class Stop(NamedTuple):
        message: Stop
        then: Handle

    def receive(self) -> Taking[Ping]:
        return self._receive()


class RightAnswer(Handle):
    state: ClassVar[str] = "answer"
    __slots__ = ()

    def send(self, message: Pong) -> Taking[RightStart]:
        return self._send(message)


LEFT = Side(PingPong, "left", LeftStart, (LeftAnswer,), fingerprint=PingPong.fingerprint)
RIGHT = Side(PingPong, "right", RightStart, (RightAnswer,), fingerprint=PingPong.fingerprint)
PRINCIPAL = Principal(bytes(32))
PING, PONG = Ping(text="ping"), Pong(text="pong")
ACCEPTS: dict[str, type[Struct]] = {"Ping": Ping, "Pong": Pong}


def run(rounds: int) -> list[Result]:
    return [
        *compare("protocol-monitor a message", "µs", _sessions(), {"bare channel": _bare()}, rounds),
        *compare("protocol-monitor both checks", "µs", _monitors(), {"one bare dict hop": _hop()}, rounds),
        *compare("protocol-monitor over a socket", "µs", _remote(True), {"bare channel": _remote(False)}, rounds),
    ]


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits: each message is there before it is taken."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def _sessions() -> Measurement:
    def operation() -> None:
        first, second = channel_pair(PRINCIPAL, PRINCIPAL)
        left = LEFT.begin({"right": first}).handle()
        right = RIGHT.begin({"left": second}).handle()
        _finish(_monitored(left, right))

    return timed(operation, scale=1e6 / (2 * TURNS))


async def _monitored(left: Handle, right: Handle) -> None:
    assert isinstance(left, LeftStart)
    assert isinstance(right, RightStart)
    for _ in range(TURNS):
        waiting = await left.send(PING)
        _, answering = await right.receive()
        right = await answering.send(PONG)
        _, left = await waiting.receive()


def _bare() -> Measurement:
    def operation() -> None:
        _finish(_unmonitored(*channel_pair(PRINCIPAL, PRINCIPAL)))

    return timed(operation, scale=1e6 / (2 * TURNS))


async def _unmonitored(left: Channel, right: Channel) -> None:
    for _ in range(TURNS):
        await left.send(PING)
        await right.receive(ACCEPTS)
        await right.send(PONG)
        await left.receive(ACCEPTS)


def _monitors() -> Measurement:
    def operation() -> None:
        left = Monitor(PingPong.tables["left"], {"right": PRINCIPAL})
        right = Monitor(PingPong.tables["right"], {"left": PRINCIPAL})
        for _ in range(TURNS):
            left.sending(PING)
            right.received(PING)
            right.sending(PONG)
            left.received(PONG)

    return timed(operation, scale=1e6 / (2 * TURNS))


def _hop() -> Measurement:
    table = {Ping: 1, Pong: 2}

    def operation() -> None:
        for _ in range(TURNS):
            table[PING.__class__]
            table[PONG.__class__]

    return timed(operation, scale=1e6 / (2 * TURNS))


class SocketPackets:
    """Packets with their length before them, over one end of a socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, packet: bytes) -> None:
        self._writer.write(struct.pack("<I", len(packet)) + packet)

    async def receive(self) -> bytes:
        (length,) = struct.unpack("<I", await self._reader.readexactly(4))
        return await self._reader.readexactly(length)

    def close(self, last: bytes) -> None:
        self._writer.close()


def _remote(monitored: bool) -> Measurement:
    """Microseconds a message of a ping-pong between two tasks over a socket pair."""
    both = _session_tasks if monitored else _bare_tasks

    def measure() -> float:
        return asyncio.run(_over_socket(both)) / (2 * TURNS) * 1e6

    return measure


async def _over_socket(both: Callable[[Channel, Channel], tuple[Coroutine[Any, Any, None], ...]]) -> float:
    ends = [SocketPackets(*await asyncio.open_connection(sock=end)) for end in socket.socketpair()]
    tasks = both(*(WireChannel(end, PRINCIPAL) for end in ends))
    started = time.perf_counter()
    await asyncio.gather(*tasks)
    taken = time.perf_counter() - started
    for end in ends:
        end.close(b"")
    return taken


def _session_tasks(first: Channel, second: Channel) -> tuple[Coroutine[Any, Any, None], ...]:
    async def left(handle: Handle) -> None:
        for _ in range(TURNS):
            assert isinstance(handle, LeftStart)
            handle = (await (await handle.send(PING)).receive()).then

    async def right(handle: Handle) -> None:
        for _ in range(TURNS):
            assert isinstance(handle, RightStart)
            _, answering = await handle.receive()
            handle = await answering.send(PONG)

    return left(LEFT.begin({"right": first}).handle()), right(RIGHT.begin({"left": second}).handle())


def _bare_tasks(first: Channel, second: Channel) -> tuple[Coroutine[Any, Any, None], ...]:
    async def left() -> None:
        for _ in range(TURNS):
            await first.send(PING)
            await first.receive(ACCEPTS)

    async def right() -> None:
        for _ in range(TURNS):
            await second.receive(ACCEPTS)
            await second.send(PONG)

    return left(), right()
