"""What all shells share: a core, those who wait for it, and the handlers that it feeds. No I/O of its own.

A shell reads from its network into `core.receive_data`, then calls `handle_events`, then writes what `data_to_send`
gives. All three run under one owner at a time: the event loop, or the lock of a blocking link.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec
from btlib.kinds import Kind
from btlib.verification import Decision

from ._core import LinkCore
from ._events import (
    AdmissionDue,
    CallCancelled,
    CallFailed,
    CallReceived,
    ItemReceived,
    LinkClosed,
    LinkOpened,
    PeerDraining,
    PeerOffered,
    PeerProven,
    ProofAnswered,
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
from ._router import Answer, Destination, Mode, Request, Router
from ._shell_streams import StreamShell, Waiter
from ._states import TALKING, State
from .errors import BttpError

#: What a handler failed with that was cancelled.
CANCELLED = BttpError("the handler was cancelled", kind=Kind.CANCELLED)

_INLINE = Mode.INLINE  # looking a member up costs as much as the rest of a message's way here


class Work(msgspec.Struct):
    """A received message on its way through a handler. `number` is 0 for a `send`, whose `cost` is to be given back."""

    request: Request
    destination: Destination
    number: int
    cost: int
    begun: bool = False  #: it counts among those that run
    record: Record | None = None  #: of a call with an idempotency key


class Shell(StreamShell):
    """One end of a link over some network. Subclasses give it one, and the waiters and workers that fit it."""

    def __init__(
        self,
        core: LinkCore,
        admit: Callable[[Peer, int], Decision],
        router: Router | None = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__(core, admit, router, policy)
        self._working: dict[int, Work] = {}
        self._outbox, self._max_queued = core.outbox, core.max_queued
        self._wall = 0.0  # unix time at which these events are handled
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
            PeerOffered: self._on_offered,
            ProofAnswered: self._on_proof_answered,
            AdmissionDue: self._on_admission_due,
            LinkOpened: self._on_opened,
            PeerDraining: self._on_draining,
            LinkClosed: self._on_closed,
        }

    # --- what subclasses give

    def _begin(self, work: Work) -> None:
        """Run the handler of `work` as a task or in a thread; call `_finish` or `_finish_failed` under the owner."""
        raise NotImplementedError

    def _stop(self, number: int) -> None:
        """The task of this call, if there is one, is to be cancelled."""

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
        if self._outbox.bulk and self._outbox.bulk > self._max_queued:
            self._core.park(event)
            return
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
        elif not (self._tally.running and self._is_full(event)):
            self._begin_call(event, request, destination)

    def _begin_call(self, event: CallReceived, request: Request, destination: Destination) -> None:
        """Run a handler that may wait."""
        self._start(event, Work(request, destination, event.number, 0))

    def _is_full(self, event: CallReceived) -> bool:
        """Whether too many handlers run already; then the call was answered."""
        full = self._too_many_handlers()
        if full is not None:
            self._core.fail(event.number, Kind.LIMIT, full)
        return full is not None

    def _start(self, event: CallReceived, work: Work) -> None:
        """Begin with a call that does not run inline."""
        self._book(event, work)
        self._begin(work)

    def _book(self, event: CallReceived, work: Work) -> None:
        """From now on this handler counts among those that run, and can be stopped."""
        self._handler_begins()
        work.begun = True
        self._core.hold(event)
        self._working[event.number] = work

    def _on_extended_call(
        self, event: CallReceived, fields: Fields, request: Request, destination: Destination
    ) -> None:
        request.key, request.trace = fields.key, fields.trace
        if destination.mode is not _INLINE and self._is_full(event):
            return
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
            self._start(event, work)

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
            self._settle(work)
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
            self._settle(work)
            if work.record is not None and self._router is not None:
                keep_failure(self._router.replays, work.record, kind, text)
            self._core.fail(work.number, kind, text)
        else:
            self._core.statistics.dropped_sends += 1
            self._core.consumed(work.cost)

    def _settle(self, work: Work) -> None:
        """The handler of a call has ended."""
        self._working.pop(work.number, None)
        if work.begun:
            work.begun = False
            self._handler_ends()

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

    def _on_admission_due(self, event: AdmissionDue) -> None:
        self._recheck()

    def _recheck(self) -> None:
        """Judge the peer and all that it has under way anew."""
        if self._core.state in TALKING:
            self._core.set_time(self._now())
            under_way = [(number, work.request.path) for number, work in self._working.items()]
            for number in self._standing.recheck(under_way, time.time()):
                self._on_cancelled(CallCancelled(number))
            self._recheck_streams()

    def _on_draining(self, event: PeerDraining) -> None:
        self._log(logging.INFO, "peer goes away", f"the peer goes away: {event.text}", kind=event.kind.name)
        self._leaving.tell()

    def _on_closed(self, event: LinkClosed) -> None:
        self._ended = True
        if event.error is not None:
            self._log(logging.INFO, "link ended", f"ended: {event.error}", kind=event.error.kind.name)
        self._closing.tell()
        self._ended_now(event.error)

    def _resolve(self, route: Route) -> Target:
        target = route.target = self._access.target(self.peer, route.path, time.time())
        if target.destination is None:
            text = f"{route.path} is out of reach: {target.reason}"
            self._log(logging.WARNING, "path refused", text, path=route.path, kind=target.kind.name)
        return target
