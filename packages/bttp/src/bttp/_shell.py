"""What all shells share: a core, those who wait for it, and the handlers that it feeds. No I/O of its own.

A shell reads from its network into `core.receive_data`, then calls `handle_events`, then writes what `data_to_send`
gives. All three run under one owner at a time: the event loop, or the lock of a blocking link.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Protocol

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.verification import Decision

from ._access import Access
from ._callbacks import Callbacks
from ._core import LinkCore
from ._events import (
    CallCancelled,
    CallFailed,
    CallReceived,
    ItemReceived,
    LinkClosed,
    LinkOpened,
    PeerDraining,
    PeerProven,
    ReplyReceived,
    Route,
    SendReceived,
    StreamEnded,
    StreamReceived,
    StreamReset,
    StreamWritable,
    Target,
    Writable,
)
from ._fields import Fields
from ._keyed import begin_keyed, keep_answer, keep_failure
from ._peer import Peer
from ._policy import Policy
from ._replay import Record
from ._router import Answer, Destination, Mode, Request, Router, StreamDestination
from ._states import State
from ._statistics import LinkStatistics
from ._stream_end import StreamEnd
from .errors import BttpError, LocalProtocolError

log = logging.getLogger("bttp")

#: What a handler failed with that was cancelled.
CANCELLED = BttpError("the handler was cancelled", kind=Kind.CANCELLED)

_INLINE = Mode.INLINE  # looking a member up costs as much as the rest of a message's way here

_numbers = itertools.count(1)
_shells: weakref.WeakSet[Shell] = weakref.WeakSet()


class Waiter(Protocol):
    """Somebody who waits for the answer to a call. An asyncio future is one."""

    def set_result(self, result: memoryview, /) -> None: ...

    def set_exception(self, error: BaseException, /) -> None: ...

    def done(self) -> bool: ...


class Work(msgspec.Struct):
    """A received message on its way through a handler. `number` is 0 for a `send`, whose `cost` is to be given back."""

    request: Request
    destination: Destination
    number: int
    cost: int
    record: Record | None = None  #: of a call with an idempotency key


class Shell:
    """One end of a link over some network. Subclasses give it one, and the waiters and workers that fit it."""

    def __init__(
        self,
        core: LinkCore,
        admit: Callable[[Peer, int], Decision],
        router: Router | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.id = next(_numbers)
        self._core = core
        self._admit = admit
        self._router = router
        self._access = Access(router, policy)
        self._working: dict[int, Work] = {}
        self._closing = Callbacks(self._notify)
        self._leaving = Callbacks(self._notify)
        self._ended = False
        self._wall = 0.0  # unix time at which these events are handled
        self._forked = False
        self._handlers: dict[type, Callable[..., None]] = {
            CallReceived: self._on_call,
            SendReceived: self._on_send,
            CallFailed: self._on_failed,
            StreamReceived: self._on_stream,
            ItemReceived: self._on_item,
            StreamEnded: self._on_stream_ended,
            StreamReset: self._on_stream_reset,
            StreamWritable: self._on_stream_writable,
            CallCancelled: self._on_cancelled,
            Writable: self._on_writable,
            PeerProven: self._on_proven,
            LinkOpened: self._on_opened,
            PeerDraining: self._on_draining,
            LinkClosed: self._on_closed,
        }
        _shells.add(self)

    # --- what users see

    @property
    def peer(self) -> Peer:
        """Who is at the other end. Anonymous until the link is open."""
        return self._core.peer

    @property
    def closed(self) -> bool:
        """Whether the link has ended; `reason` then says why."""
        return self._ended

    @property
    def reason(self) -> BttpError | None:
        """The error that ended the link; None while it lives and after an orderly end."""
        return self._core.reason

    @property
    def statistics(self) -> LinkStatistics:
        """Counters, as they are now."""
        return self._core.statistics.snapshot()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call it once, when the link ends (at once if it has). In the link's own thread: it must not block."""
        self._closing.add(callback)

    @property
    def draining(self) -> bool:
        """Whether one side has said that it goes away: what is under way finishes, nothing new begins."""
        return self._leaving.told

    @property
    def peer_instance(self) -> int:
        """What remembers idempotency keys at the other end; for a `Repeat` on another link."""
        return self._core.peer_instance

    def on_drain(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call it once, when either side goes away (at once if one does); as `on_close`. The result forgets it."""
        return self._leaving.add(callback)

    def _start_draining(self) -> None:
        self._core.drain()
        self._leaving.tell()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._core.state.name.lower()} to {self.peer}>"

    # --- what subclasses give

    def _begin(self, work: Work) -> None:
        """Run the handler of `work` as a task or in a thread; call `_finish` or `_finish_failed` under the owner."""
        raise NotImplementedError

    def _stop(self, number: int) -> None:
        """The task of this call, if there is one, is to be cancelled."""

    def _make_stream(self, path: BlockPath, body: memoryview, deadline: float | None) -> StreamEnd:
        """This side's end of a stream, for those who wait as this shell lets them."""
        raise NotImplementedError

    def _begin_stream(self, stream: StreamEnd, destination: StreamDestination) -> None:
        """Run the handler of a stream; afterwards say `stream.close()`, or `_fail_stream`, under the owner."""
        raise NotImplementedError

    def _poke(self) -> None:
        """There may be something to send."""
        raise NotImplementedError

    def _on_writable(self, event: Writable) -> None:
        """There is room for `send` again."""

    def _on_opened(self, event: LinkOpened) -> None:
        """Both sides accepted."""

    def _ended_now(self, error: BttpError | None) -> None:
        """The link closed: wake whoever waits for its opening or its room; the network is to be closed when flushed."""

    # --- events

    def handle_events(self) -> None:
        """Act on everything that the core tells."""
        events = self._core.events
        if not events:
            return
        self._wall = time.time()
        handlers, next_event = self._handlers, events.popleft
        while events:
            event = next_event()
            if type(event) is ReplyReceived:
                waiter: Waiter = event.token  # type: ignore[assignment]
                if not waiter.done():
                    waiter.set_result(event.body)
            else:
                handlers[type(event)](event)

    def _on_call(self, event: CallReceived) -> None:
        route = event.route
        target = route.target
        if target is None or self._wall > target.until:
            target = self._resolve(route)
        destination = target.destination
        if destination is None:
            self._core.fail(event.number, target.kind, target.reason)
            return
        request = Request(route.path, event.body, self._core.peer, self, event.deadline)
        if event.fields is not None:
            self._on_extended_call(event, event.fields, request, destination)
        elif destination.mode is _INLINE:
            try:
                answer = destination.handler(request)
                self._core.reply(event.number, b"" if answer is None else answer)  # type: ignore[arg-type]
            except Exception as error:  # a handler's fault must not end the link of its caller
                self._finish_failed(Work(request, destination, event.number, 0), error)
        else:
            self._core.hold(event)
            work = self._working[event.number] = Work(request, destination, event.number, 0)
            self._begin(work)

    def _on_extended_call(
        self, event: CallReceived, fields: Fields, request: Request, destination: Destination
    ) -> None:
        request.key, request.trace = fields.key, fields.trace
        work = Work(request, destination, event.number, 0)
        if fields.key is not None:
            assert self._router is not None
            work.record = begin_keyed(self._core, self._router.replays, event)
            if work.record is None:
                return
        if destination.mode is _INLINE:
            try:
                self._finish(work, destination.handler(request))  # type: ignore[arg-type]
            except Exception as error:  # as above
                self._finish_failed(work, error)
        else:
            self._core.hold(event)
            self._working[event.number] = work
            self._begin(work)

    def _on_send(self, event: SendReceived) -> None:
        route = event.route
        target = route.target
        if target is None or self._wall > target.until:
            target = self._resolve(route)
        destination = target.destination
        if destination is None:
            self._core.statistics.dropped_sends += 1
            self._core.consumed(event.cost)
            return
        request = Request(route.path, event.body, self._core.peer, self, None)
        if event.fields is not None:
            request.trace = event.fields.trace
        if destination.mode is _INLINE:
            try:
                destination.handler(request)
                self._core.consumed(event.cost)
            except Exception as error:  # as above
                self._finish_failed(Work(request, destination, 0, event.cost), error)
        else:
            self._begin(Work(request, destination, 0, event.cost))

    def _finish(self, work: Work, answer: Answer) -> None:
        if work.number:
            self._working.pop(work.number, None)
            try:
                if work.record is not None and self._router is not None:
                    keep_answer(self._router.replays, work.record, answer)
                self._core.reply(work.number, b"" if answer is None else answer)
            except TypeError as error:  # what the handler returned is no body
                self._finish_failed(work, error)
        else:
            self._core.consumed(work.cost)

    def _finish_failed(self, work: Work, error: BaseException) -> None:
        kind, text = self._told(work.request.path, error)
        if work.number:
            self._working.pop(work.number, None)
            if work.record is not None and self._router is not None:
                keep_failure(self._router.replays, work.record, kind, text)
            self._core.fail(work.number, kind, text)
        else:
            self._core.statistics.dropped_sends += 1
            self._core.consumed(work.cost)

    def _on_cancelled(self, event: CallCancelled) -> None:
        work = self._working.pop(event.number, None)
        if work is not None and not (work.record is not None and self._core.state is State.CLOSED):
            # a keyed call outlives its link: who repeats it on another wants its outcome
            work.request.cancelled = True
            self._stop(event.number)

    def _on_failed(self, event: CallFailed) -> None:
        waiter: Waiter = event.token  # type: ignore[assignment]
        if not waiter.done():
            waiter.set_exception(event.error)

    def _on_stream(self, event: StreamReceived) -> None:
        """Streams are rarer than calls and last: rights and handler are looked up each time."""
        path, now = event.route.path, time.time()
        destination, known = self._access.stream_target(self.peer, path, now)
        if isinstance(destination, Kind):
            self._refuse_stream(event, destination, str(known))
            return
        stream = event.stream.token = self._make_stream(path, event.body, event.deadline)
        stream.number = event.number
        stream.trace = None if event.fields is None else event.fields.trace
        if isinstance(known, int | float):
            self._core.limit_stream(event.number, known - now)
        self._begin_stream(stream, destination)

    def _refuse_stream(self, event: StreamReceived, kind: Kind, reason: str) -> None:
        log.warning("link %d: %s may not open a stream to %s: %s", self.id, self.peer, event.route.path, reason)
        self._core.streams.reset(event.number, kind, reason)

    def _on_item(self, event: ItemReceived) -> None:
        if (stream := event.stream.token) is None:  # it was refused
            self._core.streams.taken(event.number, event.cost)
        else:
            stream.take_in(event.body, event.cost)  # type: ignore[attr-defined]

    def _on_stream_ended(self, event: StreamEnded) -> None:
        if event.stream.token is not None:
            event.stream.token.end()  # type: ignore[attr-defined]

    def _on_stream_reset(self, event: StreamReset) -> None:
        if event.stream.token is not None:
            event.stream.token.break_off(event.error)  # type: ignore[attr-defined]

    def _on_stream_writable(self, event: StreamWritable) -> None:
        event.stream.token.wake()  # type: ignore[attr-defined]

    def _fail_stream(self, stream: StreamEnd, error: BaseException) -> None:
        if error is stream.reason:
            return
        stream.cancel(*self._told(stream.path, error))

    def _told(self, path: BlockPath, error: BaseException) -> tuple[Kind, str]:
        """What the peer hears of a handler's failure: nothing of a defect."""
        if isinstance(error, BlocktreeError):
            return error.kind, str(error)
        log.error("link %d: the handler of %s failed", self.id, path, exc_info=error)
        return Kind.INTERNAL, "the handler failed; its log has the details"

    def _on_proven(self, event: PeerProven) -> None:
        decision = self._admit(event.peer, int(time.time()))
        if decision.allowed:
            self._core.admit()
        else:
            log.warning("link %d: refused %s: %s", self.id, event.peer, decision.reason)
            self._core.refuse(decision.kind, decision.reason)

    def _on_draining(self, event: PeerDraining) -> None:
        log.info("link %d to %s: the peer goes away: %s", self.id, self.peer, event.text)
        self._leaving.tell()

    def _on_closed(self, event: LinkClosed) -> None:
        self._ended = True
        if event.error is not None:
            log.info("link %d to %s ended: %s", self.id, self.peer, event.error)
        self._closing.tell()
        self._ended_now(event.error)

    def _notify(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # somebody else's callback must not keep the others from theirs
            log.exception("link %d: a callback failed", self.id)

    def _resolve(self, route: Route) -> Target:
        target = route.target = self._access.target(self.peer, route.path, time.time())
        if target.destination is None:
            log.warning("link %d: %s may not reach %s: %s", self.id, self.peer, route.path, target.reason)
        return target

    def _check_process(self) -> None:
        if self._forked:
            raise LocalProtocolError(
                "this link was opened before a fork and belongs to the parent process", hint="connect anew in the child"
            )


def _after_fork() -> None:
    for shell in list(_shells):
        shell._forked = True


os.register_at_fork(after_in_child=_after_fork)
