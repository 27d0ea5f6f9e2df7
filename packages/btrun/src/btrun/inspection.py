"""What a runtime looks like from outside: values to print, filter, or send. Looking changes nothing.

rt.inspect().actors        state, mailbox depth, how long busy, counters of every actor
rt.inspect().blocked       who waits for whom, for how long: where a program hangs
rt.inspect().services      which are offered, with how many workers, under which fence
rt.inspect().letters       the last dead letters: to whom, of which class, and why nobody has them
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
from ._wire import Request, decode_request
from .dead_letters import DeadLetter

if TYPE_CHECKING:
    from ._runtime import Runtime
    from .services import Service

__all__ = ["ActorView", "BlockedCall", "Inspection", "LetterView", "ServiceView", "Trace", "inspect_runtime"]


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


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """One service. Its workers are actors, too."""

    path: str
    kind: str  #: the class of its workers
    state: str  #: `idle` without workers, `active`, `handed over` once it takes no new messages
    workers: U64
    most: U64  #: workers that it may have
    waiting: U64  #: messages in their mailboxes, and those that wait for the lease
    fence: U64 | None = None  #: of the lease that it holds; None where it holds none


class LetterView(msgspec.Struct, frozen=True, kw_only=True):
    """One message that reached nobody. What is in it is not told."""

    path: str  #: to whom
    message: str  #: its class
    why: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime at one moment."""

    actors: tuple[ActorView, ...]
    blocked: tuple[BlockedCall, ...]  #: longest first
    dead_letters: U64
    workers: U64  #: tasks that run actors now, or are parked to do so
    timers: U64  #: that are set; an actor has one for the deadlines of all calls to it
    left_off: U64 = 0  #: actors that are not listed, because there are more than were asked for
    services: tuple[ServiceView, ...] = ()
    letters: tuple[LetterView, ...] = ()  #: the last dead letters, the newest last


encode_inspection = Encoder(Inspection).encode
decode_inspection = Decoder(Inspection).decode


def inspect_runtime(
    runtime: Runtime, cells: Sequence[Cell], services: Sequence[Service], letters: Sequence[DeadLetter], most: int
) -> Inspection:
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
        services=tuple(_service(service) for service in services),
        letters=tuple(_letter(letter) for letter in letters),
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


def _service(service: Service) -> ServiceView:
    workers = service.active
    return ServiceView(
        path=service.path,
        kind=service.actor_class.__name__,
        state="handed over" if service.draining else "active" if workers else "idle",
        workers=workers,
        most=service.limit,
        waiting=service.waiting,
        fence=None if service.lease is None else service.lease.fence,
    )


def _letter(letter: DeadLetter) -> LetterView:
    message = letter.message
    if isinstance(message, bytes):  # it waited for a link
        message = decode_request(message)
    name = type(message).__name__ if not isinstance(message, Request) else message.name or message.verb.name.lower()
    return LetterView(path=letter.path, message=name, why=letter.why)


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
