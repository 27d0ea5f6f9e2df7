"""Inspection from other processes: what a runtime answers at its inspection path. bttp has checked EXECUTE there."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import bttp
from btlib.kinds import Kind
from btserde import SerdeError

from . import _inspection_wire as wire
from ._loops import Wait
from ._traces import Trace
from .errors import RunError
from .inspection import encode_inspection
from .refs import ANYBODY

if TYPE_CHECKING:
    from ._runtime import Runtime

log = logging.getLogger("btrun")

MAX_TRACES = 1000  #: that wait for one follower; an idle terminal must not hold the memory of a busy runtime


class InspectionService:
    """Its two handlers in a router."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def answer(self, request: bttp.Request) -> bytes:
        """A look, or an actor that is to end. Raises RunError for a request that does not decode."""
        try:
            asked = wire.decode_request(request.body)
        except SerdeError as error:
            raise RunError(f"this is no request to inspect: {error}", kind=Kind.INVALID) from error
        if isinstance(asked, wire.Look):
            return encode_inspection(self._runtime.inspect(asked.below, asked.most))
        return wire.encode_halted(wire.Halted(found=self._halt(asked, request.peer)))

    def _halt(self, asked: wire.Halt, peer: bttp.Peer) -> bool:
        runtime = self._runtime
        target = runtime.find_service(asked.name, ANYBODY) or runtime.find(asked.name, ANYBODY)
        if target is None:
            return False
        log.info("%s has %s end (%s)", peer, target.path, asked.how.name.lower())
        if asked.how is wire.How.KILL:
            target.kill()
        else:
            target.stop(drain=asked.how is wire.How.DRAIN)
        return True

    async def follow(self, stream: bttp.Stream) -> None:
        """Tell each message that is handled, until the follower leaves."""
        try:
            below = wire.decode_follow(stream.body).below
        except SerdeError as error:
            raise RunError(f"this is no wish to follow: {error}", kind=Kind.INVALID) from error
        follower = _Follower(self._runtime, below)
        with self._runtime.tracers.listening(follower.hear):
            await stream.send(wire.FOLLOWED)
            while True:
                await stream.send(wire.encode_handled(await follower.next()))


class _Follower:
    """What one follower has not heard yet."""

    def __init__(self, runtime: Runtime, below: str) -> None:
        self._loop = runtime.loop
        self._below = f"{runtime.prefix}/{below}".rstrip("/")
        self._traces: deque[Trace] = deque()
        self._lost = 0
        self._wait: Wait | None = None

    def hear(self, trace: Trace) -> None:
        if not wire.is_below(trace.path, self._below):
            return
        if len(self._traces) == MAX_TRACES:
            self._traces.popleft()
            self._lost += 1
        self._traces.append(trace)
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    async def next(self) -> wire.Handled:
        while not self._traces:
            self._wait = self._loop.make_wait()
            await self._wait
        trace, lost, self._lost = self._traces.popleft(), self._lost, 0
        return wire.Handled(
            path=trace.path, message=type(trace.message).__name__, seconds=trace.seconds, error=trace.error, lost=lost
        )
