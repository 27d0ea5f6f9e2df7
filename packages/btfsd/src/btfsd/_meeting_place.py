"""Where two machines meet that share a code of `bt invite --via`: a relay of bytes that it understands nothing of.

    inviter ── WAIT meeting ──▸           ◂── HELLO meeting … ── joiner
            ◂── WAITING ──     the HELLO and all that follows, both ways

Anybody may come; so nobody gets more than the limits below: a place to wait, and a few messages. What passes is sealed
under keys that only the two ends have (`docs/spec/enrolment.md`). Beside the server, and with none of its rights.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from btlib.errors import PairingError
from btlib.kinds import Kind
from btlib.pairing import MAX_PAYLOAD, Frame, FrameKind, FrameReader, Refusal, frame, meeting_of
from bttp import TcpEndpoint, parse_endpoint

from ._settings import Meetings

log = logging.getLogger("btfsd")

MAX_CONNECTIONS = 256  #: waiting, meeting, or saying why they came
MAX_PER_ADDRESS = 16
OPENING_SECONDS = 10.0  #: to say why one came
WAIT_SECONDS = 25 * 3600.0  #: an invitation lasts a day at most
MEETING_SECONDS = 3600.0  #: the longest step is to sign a large directory anew, for which the joiner waits half of it
MAX_BYTES = 2 * MAX_PAYLOAD  #: each way: one message of the largest size, and the small ones around it
READ = 16 * 1024


@contextmanager
def meeting_place(settings: Meetings) -> Iterator[str | None]:
    """Let machines meet, where that is configured, until the block ends; at which address. Raises PairingError."""
    if settings.listen is None:
        yield None
        return
    place = parse_endpoint(settings.listen)
    if not isinstance(place, TcpEndpoint):
        raise PairingError("`meetings.listen` is no host:port", kind=Kind.INVALID)
    relay = _Thread(place)
    try:
        log.info(
            "machines that share a code meet at %s", relay.listening, extra={"fields": {"meetings": relay.listening}}
        )
        yield relay.listening
    finally:
        relay.stop()


class _Thread:
    """A relay in a thread with an event loop of its own: what happens in it holds up nothing else."""

    def __init__(self, place: TcpEndpoint) -> None:
        self.listening = ""
        self._place = place
        self._failures: list[OSError] = []  # of listening, filled by the thread
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="meetings")
        self._thread.start()
        self._ready.wait()
        for failure in self._failures:
            self._thread.join()
            raise PairingError(
                f"cannot listen at {place}: {failure.strerror or failure}",
                kind=Kind.UNREACHABLE,
                hint="change `meetings.listen`",
            ) from failure

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        relay = Relay()
        try:
            server = await asyncio.start_server(relay.serve, self._place.host, self._place.port)
        except OSError as error:
            self._failures.append(error)
            self._ready.set()
            return
        self.listening = str(TcpEndpoint(*server.sockets[0].getsockname()[:2]))
        self._ready.set()
        await self._stop.wait()
        server.close()
        relay.end()
        await server.wait_closed()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False)
class _Waiting:
    """An inviting end that waits, and the joiner that meets it."""

    met: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    said: bytes = b""  #: what the joiner sent already
    joiner: Streams | None = None


class Relay:
    """Lets those who come meet. Its state is who waits under which meeting word, and how many are here."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}
        self._here: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def end(self) -> None:
        """Send everyone away."""
        for task in self._tasks:
            task.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        task, address = asyncio.current_task(), str(writer.get_extra_info("peername")[0])
        assert task is not None
        self._tasks.add(task)
        self._here[address] += 1
        try:
            await self._welcome(reader, writer, address)
        except PairingError as error:
            refusal = {Kind.BUSY: Refusal.BUSY, Kind.NO_SUCH_TARGET: Refusal.NOBODY}.get(error.kind, Refusal.DAMAGED)
            writer.write(frame(FrameKind.REFUSAL, bytes([refusal])))
        except (OSError, TimeoutError):
            log.debug("a connection to the meeting place was lost, or took too long")
        except asyncio.CancelledError:
            log.debug("a meeting ends with the server")
        finally:
            self._here[address] -= 1
            self._here += Counter()  # forgets addresses of which nobody is here
            self._tasks.discard(task)
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        said = FrameReader()
        async with asyncio.timeout(OPENING_SECONDS):
            while (first := said.next_frame()) is None:
                data = await reader.read(READ)
                if not data:
                    return
                said.feed(data)
        if self._here.total() > MAX_CONNECTIONS or self._here[address] > MAX_PER_ADDRESS:
            raise PairingError("too many are here", kind=Kind.BUSY)
        if first.kind is FrameKind.WAIT:
            await self._wait(meeting_of(first.body), (reader, writer))
        elif first.kind is FrameKind.HELLO:
            await self._meet(first, said.rest(), (reader, writer))
        else:
            raise PairingError("nobody begins like that")

    async def _meet(self, hello: Frame, rest: bytes, joiner: Streams) -> None:
        """Hand a joiner over to the inviting end that waits for it, and hold its connection until that is over."""
        waiting = self._waiting.pop(meeting_of(hello.body), None)
        if waiting is None:
            raise PairingError("nobody waits under this word", kind=Kind.NO_SUCH_TARGET)
        waiting.said, waiting.joiner = frame(hello.kind, hello.body) + rest, joiner
        waiting.met.set()
        await waiting.over.wait()

    async def _wait(self, meeting: int, inviter: Streams) -> None:
        """Hold an inviting end until a joiner has met it and gone, or it goes itself."""
        if meeting in self._waiting:
            raise PairingError("somebody waits under this word already", kind=Kind.BUSY)
        waiting = self._waiting[meeting] = _Waiting()
        try:
            inviter[1].write(frame(FrameKind.WAITING))
            await inviter[1].drain()
            async with asyncio.TaskGroup() as group:
                spoken = group.create_task(inviter[0].read(READ))
                met = group.create_task(waiting.met.wait())
                await asyncio.wait({spoken, met}, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if waiting.joiner is None:  # it has gone, or speaks out of turn, or waited too long
                    spoken.cancel()
                    met.cancel()
                    return
                await _splice(inviter, waiting.joiner, spoken, waiting.said)
        except* OSError:
            log.debug("one of two that met was lost")
        finally:
            if self._waiting.get(meeting) is waiting:
                del self._waiting[meeting]
            waiting.over.set()


async def _splice(inviter: Streams, joiner: Streams, spoken: asyncio.Task[bytes], said: bytes) -> None:
    """Pass everything on, both ways, until both ends have said their last, or a limit is reached."""
    inviter[1].write(said)
    with suppress(TimeoutError):
        async with asyncio.timeout(MEETING_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(_pump(joiner[0], inviter[1], MAX_BYTES - len(said)))
            joiner[1].write(await spoken)
            group.create_task(_pump(inviter[0], joiner[1], MAX_BYTES))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, most: int) -> None:
    while data := await source.read(READ):
        most -= len(data)
        if most < 0:
            raise ConnectionAbortedError("more than two machines have to say to each other")
        target.write(data)
        await target.drain()
    with suppress(OSError):
        target.write_eof()
