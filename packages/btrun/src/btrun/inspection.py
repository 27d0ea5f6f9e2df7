"""What a runtime looks like from outside: values to print, filter, or send. Looking changes nothing.

rt.inspect().actors        state, mailbox depth, how long busy, counters of every actor
rt.inspect().blocked       who waits for whom, for how long: where a program hangs
rt.trace(print)            each message as it is handled

`btrun.inspector` does the same from another process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from btserde import U64, Decoder, Encoder

from ._calls import Call, calls_of
from ._cell import Cell
from ._doors import Door
from ._states import State
from ._traces import Trace

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["ActorView", "BlockedCall", "Inspection", "Trace", "inspect_runtime"]


class ActorView(msgspec.Struct, frozen=True, kw_only=True):
    """One actor."""

    path: str
    kind: str  #: its class
    state: str
    waiting: U64  #: messages in its mailbox
    busy_seconds: float  #: since when it has not been idle; long and `waiting` means overload or a slow handler
    oldest_call_seconds: float  #: how long the oldest call in its mailbox waits
    handled: U64  #: messages, and requests that came through its doors
    restarts: U64
    figures: dict[str, U64] = {}  #: numbers of its own


class BlockedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call that waits for its answer."""

    caller: str  #: the actor that waits; empty for code outside of actors
    target: str
    message: str  #: its class
    seconds: float  #: how long it waits
    left: float  #: until its deadline; infinite without one
    handled: bool  #: whether a handler is at it; otherwise it waits in the mailbox

    def __str__(self) -> str:
        where = "which handles it" if self.handled else "where it is queued"
        return f"{self.caller or 'outside'} waits {self.seconds:.1f} s for {self.target}, {where}: {self.message}"


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime at one moment."""

    actors: tuple[ActorView, ...]
    blocked: tuple[BlockedCall, ...]  #: longest first
    dead_letters: U64
    workers: U64  #: tasks that run actors now, or are parked to do so
    timers: U64  #: that are set; an actor has one for the deadlines of all calls to it
    left_off: U64 = 0  #: actors that are not listed, because there are more than were asked for


encode_inspection = Encoder(Inspection).encode
decode_inspection = Decoder(Inspection).decode


def inspect_runtime(runtime: Runtime, cells: Sequence[Cell], most: int) -> Inspection:
    """See Runtime.inspect."""
    now = runtime.loop.now()
    calls = {id(call): call for call in _calls(cells)}
    left_off, cells = max(0, len(cells) - most), cells[:most]
    blocked = sorted((_blocked(call, now) for call in calls.values()), key=lambda view: (-view.seconds, view.caller))
    return Inspection(
        actors=tuple(_view(cell, now, runtime.doors.of(cell.name)) for cell in cells),
        blocked=tuple(blocked),
        dead_letters=runtime.dead_letters.count,
        workers=len(runtime.pool),
        timers=len(runtime.loop),
        left_off=left_off,
    )


def _calls(cells: Sequence[Cell]) -> Iterator[Call]:
    for cell in cells:
        yield from calls_of(cell)
        yield from cell.outgoing or ()


def _view(cell: Cell, now: float, doors: Sequence[Door]) -> ActorView:
    idle = not cell.scheduled or cell.state is State.WAITING
    oldest = min((item.began for item in cell.mailbox if isinstance(item, Call)), default=now)
    return ActorView(
        path=cell.path,
        kind=cell.actor_class.__name__,
        state=cell.state.value,
        waiting=len(cell.mailbox),
        busy_seconds=0.0 if idle else now - cell.busy_since,
        oldest_call_seconds=now - oldest,
        handled=cell.handled + sum(door.handled for door in doors),
        restarts=cell.restarts,
        figures=_figures(cell, doors),
    )


def _figures(cell: Cell, doors: Sequence[Door]) -> dict[str, int]:
    under_way = {"under way": sum(door.under_way for door in doors)} if doors else {}
    return under_way if cell.actor is None else {**under_way, **cell.actor.figures()}


def _blocked(call: Call, now: float) -> BlockedCall:
    return BlockedCall(
        caller="" if call.caller is None else call.caller.path,
        target=call.target.path,
        message=type(call.message).__name__,
        seconds=now - call.began,
        left=math.inf if call.deadline == math.inf else call.deadline - now,
        handled=call.worker is not None,
    )
