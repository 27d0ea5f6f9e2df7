"""Calls and messages of an open link: who waits for what, what is being served, credit and limits. Pure.

Streams of the client are odd, those of the server even; a number returns only after two thousand million others. A call
lives from its CALL frame to the first of REPLY, ERROR, CANCEL (each side forgets it at once; what comes late is dropped
and counted). Small bodies travel in the frame that announces them, larger ones in DATA frames.

This module is what this side says; `_receiver` is what the peer's frames do. Both run some hundred thousand times a
second: they spare calls that elsewhere would be made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil, inf

from btlib.kinds import Kind
from btlib.paths import BlockPath

from . import _frames as wire
from ._auth import Role
from ._bodies import Bodies
from ._deadlines import Deadlines
from ._events import CallCancelled, CallFailed, CallReceived, Event, Route, Writable
from ._fields import Fields, extended
from ._frames import CHUNK, Buffer, FrameKind, Hello, flatten, frame
from ._limits import MAX_ROUTES, SEND_COST, Limits
from ._outbox import Outbox
from ._statistics import LinkStatistics
from ._streams import Streams
from .errors import BttpError, ConnectionLostError, DeadlineError, LimitError, NotSentError

_MANY = CHUNK + 1  # the size of what is not looked at yet
_CALL, _SEND, _REPLY = wire.HEAD_CALL.pack, wire.HEAD_SEND.pack, wire.HEAD_REPLY.pack
_LAST_STREAM = 0xFFFFFFF0
_MAX_TIMEOUT = 0xFFFFFFFF  # ms; longer ones count as this: 49 days


class Exchange:
    """The talking part of a link's core."""

    def __init__(self, role: Role, limits: Limits, statistics: LinkStatistics, events: deque[Event]) -> None:
        self.now = 0.0
        self.outbox = Outbox()
        self.bodies = Bodies(limits.max_receiving)
        self.deadlines = Deadlines()
        self._dues, self._add_deadline = self.deadlines.live, self.deadlines.add
        self._frames = self.outbox.frames
        self._limits = limits
        self._max_calls, self._max_queued = limits.max_calls, limits.max_queued
        self._statistics = statistics
        self._events = events
        self._first = 1 if role is Role.CLIENT else 2
        self._stream = self._first
        self.calling: dict[int, object] = {}  #: calls of this side that wait for their answers: the caller's tokens
        self._serving: set[int] = set()
        self.streams = Streams(
            limits, statistics, events, self.outbox, self.bodies, self.deadlines, self._answer, self._stream_over
        )
        self._routes_out: dict[BlockPath | str, int] = {}
        self._routes_in: dict[int, Route] = {}
        self._parked: deque[CallReceived] = deque()
        self._fields: Fields | None = None  # of the frame that is being taken in
        self._peer_calls = self._peer_body = 0
        self._credit = 0  # what this side may still send
        self._window = limits.send_window  # what the peer may still send
        self._handled = 0  # to be given back to the peer
        self._closed: Callable[[], BttpError] | None = _not_open  # why nothing can be sent
        self._backlog = 0  # bytes that waited when the network last brought or took something
        self._timeout = 0.0, 1  # the last one in seconds, and as it travels: most are like the one before
        self._blocked = False  # a `send` was refused and waits for Writable

    def begin(self, hello: Hello) -> None:
        """The peer accepted; these are its limits."""
        self._closed = None
        self._peer_calls, self._peer_body, self._credit = hello.max_calls, hello.max_body, hello.send_window
        self.streams.begin(hello)

    def stop(self, why: Callable[[], BttpError]) -> None:
        """Nothing new can be sent from now on; `why` makes the error."""
        self._closed = why

    @property
    def idle(self) -> bool:
        return not (self.calling or self._serving or self.streams.live or len(self.bodies) or self.outbox)

    @property
    def held(self) -> int:
        """Bytes that wait to leave, or of bodies that are arriving."""
        return self.outbox.queued + self.outbox.streaming + self.bodies.held

    # --- this side originates

    def call(
        self,
        path: BlockPath | str,
        body: Buffer | Sequence[Buffer],
        token: object,
        timeout: float | None = None,
        now: float = 0.0,
        fields: bytes = b"",
    ) -> int:
        """Send a request; `token` comes back with ReplyReceived or CallFailed. The number is for `cancel`.

        `timeout` in seconds from `now`; `fields` as `encode_fields` makes them.

        Raises LimitError where the body or the number of calls is beyond what the peer takes, PathError for a bad path,
        ConnectionLostError or UnreachableError where the link is not open.
        """
        if self._closed is not None:
            raise self._closed()
        if len(self.calling) >= self._peer_calls:
            raise self._too_many_calls()
        route = self._routes_out.get(path) or self._new_route(path)
        stream = self._stream
        self._stream = stream + 2
        if stream >= _LAST_STREAM or stream in self.calling or stream in self.streams.live:
            stream = self._free_stream()
        milliseconds = 0 if timeout is None else self._watch(stream, timeout, now)
        if type(body) is bytes and (size := len(body)) <= CHUNK and not fields:
            self._frames.append(_CALL(size + 12 << 8 | 17, stream, route, milliseconds, size) + body)
        else:
            self._announce(wire.call_frame, stream, (route, milliseconds), body, fields)
        self.calling[stream] = token
        self._statistics.calls_sent += 1
        return stream

    def send(self, path: BlockPath | str, body: Buffer | Sequence[Buffer], fields: bytes = b"") -> bool:
        """Send a message without an answer. False: there is no room now; wait for Writable. Raises as `call`."""
        if self._closed is not None:
            raise self._closed()
        if self._credit <= 0:
            self._blocked = True
            return False
        route = self._routes_out.get(path) or self._new_route(path)
        if type(body) is bytes and (size := len(body)) <= CHUNK and not fields:
            self._frames.append(_SEND(size + 8 << 8 | 18, 0, route, size) + body)
            self._credit -= size + SEND_COST
        else:
            parts, size = flatten(body)
            stream = self._free_stream() if size > CHUNK else 0
            self._announce(wire.send_frame, stream, (route,), parts, fields)
            self._credit -= size + SEND_COST
        self._statistics.sends_sent += 1
        return True

    def open(
        self,
        path: BlockPath | str,
        body: Buffer,
        token: object,
        timeout: float | None = None,
        now: float = 0.0,
        fields: bytes = b"",
    ) -> int:
        """Open a stream with some first words; its events carry `token`. Raises as `call`.

        The number is for `streams`: `write`, `finish`, `reset`, `taken`.
        """
        if self._closed is not None:
            raise self._closed()
        if self._peer_calls <= len(self.calling):
            raise self._too_many_calls()
        if (size := memoryview(body).nbytes) > CHUNK:
            raise LimitError(f"a stream opens with at most {CHUNK} bytes, not {size}", hint="send the rest as items")
        route = self._routes_out.get(path) or self._new_route(path)
        stream = self._free_stream()
        milliseconds = 0 if timeout is None else self._watch(stream, timeout, now)
        opening = wire.open_frame(stream, route, milliseconds, body)
        self._frames.append(extended(opening, fields) if fields else opening)
        self._peer_calls -= 1  # a stream takes the place of a call until it is over
        self.streams.add(stream, token, own=True)
        self._statistics.streams_sent += 1
        return stream

    def limit_stream(self, number: int, seconds: float | None) -> None:
        """The peer's right to a stream that it opened ends then (None: never); so does the stream."""
        stream = self.streams.live.get(number)
        if stream is None:
            return
        ends = inf if seconds is None else self.now + seconds
        own = inf if stream.due is None else stream.due
        stream.right_ends = ends < own
        if min(ends, own) < inf:
            self.deadlines.add(number, min(ends, own))
        else:
            self.deadlines.discard(number)

    def judge_anew(self) -> None:
        """What was found out about the peer's rights counts no more."""
        for route in self._routes_in.values():
            route.target = None

    def _stream_over(self, number: int, own: bool) -> None:
        if own:
            self._peer_calls += 1
        else:
            self._serving.discard(number)

    def cancel(self, number: int) -> None:
        """Stop waiting for a call of this side; the peer is told to stop working on it. No event follows."""
        if number in self.calling:
            self._give_up(number)

    def _give_up(self, number: int) -> object:
        self._frames.append(frame(FrameKind.CANCEL, number))
        return self._forget_call(number)

    def _announce(
        self,
        make: Callable[..., bytes],
        stream: int,
        fixed: tuple[int, ...],
        body: Buffer | Sequence[Buffer],
        fields: bytes = b"",
    ) -> None:
        """Queue a body of any shape and size: in its frame, or behind it."""
        parts, size = flatten(body)
        if size > self._peer_body:
            self.deadlines.discard(stream)
            raise LimitError(f"a body of {size} bytes is longer than the {self._peer_body} of the peer (max_body)")
        held = b"" if size > CHUNK else parts[0] if len(parts) == 1 else b"".join(parts)
        plain = make(stream, *fixed, size, held)
        self._frames.append(extended(plain, fields) if fields else plain)
        if size > CHUNK:
            self.outbox.put_body(stream, parts, size)

    def _too_many_calls(self) -> LimitError:
        return LimitError(
            f"{len(self.calling)} calls are under way, beside streams all that the peer takes (max_calls)",
            hint="wait for some, or open another link",
        )

    def _watch(self, number: int, timeout: float, now: float) -> int:
        """Keep the deadline of a call or stream; the time-out as it travels."""
        self._add_deadline(number, now + timeout)
        known, milliseconds = self._timeout
        if timeout != known:
            milliseconds = min(max(1, ceil(timeout * 1000)), _MAX_TIMEOUT)
            self._timeout = timeout, milliseconds
        return milliseconds

    def _free_stream(self) -> int:
        """A number that no call of this side has; they start again when all were used."""
        stream = self._stream
        while stream in self.calling or stream in self.streams.live or stream > _LAST_STREAM:
            stream = stream + 2 if stream < _LAST_STREAM else self._first
        self._stream = stream + 2
        return stream

    def _new_route(self, path: BlockPath | str) -> int:
        """Tell the peer a number (from 1 on) for the path; the oldest number is used again when all are taken."""
        text = str(path if isinstance(path, BlockPath) else BlockPath.parse(path))
        if len(self._routes_out) < MAX_ROUTES:
            number = len(self._routes_out) + 1
        else:
            oldest = next(iter(self._routes_out))
            number = self._routes_out.pop(oldest)
        self._routes_out[path] = number
        self._frames.append(frame(FrameKind.ROUTE, number, text.encode()))
        return number

    def _forget_call(self, number: int) -> object:
        token = self.calling.pop(number)
        self.deadlines.discard(number)
        self.bodies.drop(number)
        self.outbox.drop_body(number)
        return token

    # --- this side answers

    def hold(self, call: CallReceived) -> None:
        """The answer takes a while: from now on the call's deadline is watched (CallCancelled)."""
        if call.deadline is not None:
            self.deadlines.add(call.number, call.deadline)

    def park(self, call: CallReceived) -> None:
        """The answers to those before it do not leave: it comes again as an event when there is room."""
        self._parked.append(call)
        self.hold(call)

    def reply(self, number: int, body: Buffer | Sequence[Buffer]) -> None:
        """Answer a received call. An answer that nobody waits for any more is dropped."""
        if number not in self._serving:
            return
        if (kind := type(body)) is bytes:
            size = len(body)
        elif kind is memoryview:
            size = body.nbytes  # type: ignore[union-attr]
        else:
            size = _MANY
        if size <= CHUNK:
            self._frames.append(_REPLY(size + 4 << 8 | 19, number, size) + body)  # type: ignore[operator]
        else:
            try:
                self._announce(wire.reply_frame, number, (), body)
            except LimitError as error:
                self.fail(number, Kind.TOO_LARGE, f"the answer cannot be sent: {error.message}")
                return
        self._serving.discard(number)
        if self._dues:
            self._dues.pop(number, None)

    def fail(self, number: int, kind: Kind, text: str) -> None:
        """Answer a received call with an error."""
        if number in self._serving:
            self._forget_served(number)
            self._frames.append(wire.text_frame(FrameKind.ERROR, number, kind, text))

    def consumed(self, cost: int) -> None:
        """A received `send` was handled."""
        self._handled += cost
        if self._handled * 4 >= self._limits.send_window:
            self._frames.append(wire.credit_frame(self._handled))
            self._window += self._handled
            self._handled = 0

    def _forget_served(self, number: int) -> None:
        self._serving.discard(number)
        self.deadlines.discard(number)
        self.bodies.drop(number)

    # --- time and the network

    def expire(self, now: float) -> None:
        """Calls whose deadline passed: ours fail and are cancelled there, those we serve are stopped."""
        for number in self.deadlines.expired(now):
            if number in self.streams.live:
                self.streams.expire(number)
            elif number in self.calling:
                self._statistics.deadlines_passed += 1
                error = DeadlineError("no answer before the deadline")
                self._events.append(CallFailed(self._give_up(number), error))
            else:
                self._forget_served(number)  # silently: the caller keeps the same time
                self._events.append(CallCancelled(number))

    def take(self, limit: int) -> bytes:
        """Plaintext to send. Wakes what waited for room."""
        outbox, frames = self.outbox, self._frames
        if outbox.lined_up:
            plaintext = outbox.take(limit)
        else:  # mostly
            plaintext = b"".join(frames)
            frames.clear()
        if self._parked:
            self._backlog = self.outbox.bulk
            self._make_room()
        if self.streams.waiting:
            self.streams.wake()
        return plaintext

    def arriving(self, now: float) -> None:
        """Frames of the peer follow. What waits now, waits because the network does not take it."""
        self.now = now
        self._backlog = self.outbox.queued if self._frames else self.outbox.bulk

    def _make_room(self) -> None:
        while self._parked and self._backlog <= self._max_queued:
            call = self._parked.popleft()
            if call.number in self._serving:
                self._events.append(call)
        if self._blocked and self._credit > 0:
            self._blocked = False
            self._events.append(Writable())

    def put_pong(self, payload: bytes) -> None:
        self._answer(frame(FrameKind.PONG, 0, payload))

    def _answer(self, answer: bytes) -> None:
        """Queue a small answer that the peer provoked; a peer that provokes many and reads none is cut off."""
        if self._backlog > 2 * self._max_queued:
            raise LimitError("the peer lets answers pile up and does not read them (max_queued)")
        self._frames.append(answer)

    def end(self, error: BttpError | None) -> int:
        """The link is closed: everything under way fails. How many messages never left."""
        text = "the link was closed" if error is None else error.message
        lost = ConnectionLostError(f"no answer: {text}", kind=None if error is None else error.kind)
        self._serving.difference_update(self.streams.live)
        self.streams.end(ConnectionLostError(f"the stream was cut off: {text}", kind=lost.kind))
        self._events.extend(CallFailed(token, lost) for token in self.calling.values())
        self._events.extend(CallCancelled(number) for number in sorted(self._serving))
        self.calling.clear()
        self._serving.clear()
        return self.outbox.messages


def _not_open() -> BttpError:
    return NotSentError("the link is not open yet")
