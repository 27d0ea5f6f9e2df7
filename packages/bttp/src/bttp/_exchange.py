"""Calls and messages of an open link: who waits for what, what is being served, credit and limits. Pure.

Streams of the client are odd, those of the server even; a number returns only after two thousand million others. A call
lives from its CALL frame to the first of REPLY, ERROR, CANCEL (each side forgets it at once; what comes late is dropped
and counted). Small bodies travel in the frame that announces them, larger ones in DATA frames.

The methods in `handlers` take one received frame each: its stream, a buffer, and where in that its payload starts and
stops. They raise RemoteProtocolError for what the peer may not do. Calls, messages and replies pass here a hundred
thousand times a second, so their methods spare calls that elsewhere would be made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from typing import TypeAlias

from btlib.errors import PathError
from btlib.kinds import Kind
from btlib.paths import BlockPath

from . import _frames as wire
from ._auth import Role
from ._bodies import Bodies
from ._deadlines import Deadlines
from ._events import CallCancelled, CallFailed, CallReceived, Event, ReplyReceived, Route, SendReceived, Writable
from ._frames import CHUNK, Buffer, FrameKind, Hello, frame
from ._limits import MAX_ROUTES, SEND_COST, Limits
from ._outbox import Outbox
from ._statistics import LinkStatistics
from .errors import BttpError, ConnectionLostError, DeadlineError, LimitError, RemoteError, RemoteProtocolError

Handler: TypeAlias = Callable[[int, bytearray, int, int], None]

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
        self._dues = self.deadlines.live
        self._frames = self.outbox.frames
        self.handlers: dict[int, Handler] = {
            FrameKind.ROUTE.value: self._on_route,
            FrameKind.CALL.value: self._on_call,
            FrameKind.SEND.value: self._on_send,
            FrameKind.REPLY.value: self._on_reply,
            FrameKind.DATA.value: self._on_data,
            wire.PLACED: self._on_placed,
            FrameKind.ERROR.value: self._on_error,
            FrameKind.CANCEL.value: self._on_cancel,
            FrameKind.CREDIT.value: self._on_credit,
        }
        self._limits = limits
        self._max_calls = limits.max_calls
        self._statistics = statistics
        self._events = events
        self._first = 1 if role is Role.CLIENT else 2
        self._stream = self._first
        self._calling: dict[int, object] = {}  # by stream: the caller's token
        self._serving: set[int] = set()
        self._routes_out: dict[BlockPath | str, int] = {}
        self._routes_in: dict[int, Route] = {}
        self._parked: deque[CallReceived] = deque()
        self._peer_calls = self._peer_body = 0
        self._credit = 0  # what this side may still send
        self._window = limits.send_window  # what the peer may still send
        self._handled = 0  # to be given back to the peer
        self._closed: Callable[[], BttpError] | None = _not_open  # why nothing can be sent
        self._backlog = 0  # bytes that waited when the network last brought or took something
        self._blocked = False  # a `send` was refused and waits for Writable

    def begin(self, hello: Hello) -> None:
        """The peer accepted; these are its limits."""
        self._closed = None
        self._peer_calls, self._peer_body, self._credit = hello.max_calls, hello.max_body, hello.send_window

    def stop(self, why: Callable[[], BttpError]) -> None:
        """Nothing new can be sent from now on; `why` makes the error."""
        self._closed = why

    @property
    def idle(self) -> bool:
        return not (self._calling or self._serving or len(self.bodies) or self.outbox)

    # --- this side originates

    def call(
        self,
        path: BlockPath | str,
        body: Buffer | Sequence[Buffer],
        token: object,
        timeout: float | None = None,
        now: float = 0.0,
    ) -> int:
        """Send a request; `token` comes back with ReplyReceived or CallFailed. The number is for `cancel`.

        `timeout` in seconds from `now`.

        Raises LimitError where the body or the number of calls is beyond what the peer takes, PathError for a bad path,
        ConnectionLostError or UnreachableError where the link is not open.
        """
        if self._closed is not None:
            raise self._closed()
        if len(self._calling) >= self._peer_calls:
            raise self._too_many_calls()
        route = self._routes_out.get(path) or self._new_route(path)
        stream = self._stream
        self._stream = stream + 2
        if stream >= _LAST_STREAM or stream in self._calling:
            stream = self._free_stream()
        milliseconds = 0
        if timeout is not None:
            milliseconds = min(max(1, ceil(timeout * 1000)), _MAX_TIMEOUT)
            self.deadlines.add(stream, now + timeout)
        if type(body) is bytes and (size := len(body)) <= CHUNK:
            self._frames.append(_CALL(size + 12 << 8 | 17, stream, route, milliseconds, size) + body)
        else:
            self._announce(wire.call_frame, stream, (route, milliseconds), body)
        self._calling[stream] = token
        self._statistics.calls_sent += 1
        return stream

    def send(self, path: BlockPath | str, body: Buffer | Sequence[Buffer]) -> bool:
        """Send a message without an answer. False: there is no room now; wait for Writable. Raises as `call`."""
        if self._closed is not None:
            raise self._closed()
        if self._credit <= 0:
            self._blocked = True
            return False
        route = self._routes_out.get(path) or self._new_route(path)
        if type(body) is bytes and (size := len(body)) <= CHUNK:
            self._frames.append(_SEND(size + 8 << 8 | 18, 0, route, size) + body)
            self._credit -= size + SEND_COST
        else:
            parts, size = flatten(body)
            stream = self._free_stream() if size > CHUNK else 0
            self._announce(wire.send_frame, stream, (route,), parts)
            self._credit -= size + SEND_COST
        self._statistics.sends_sent += 1
        return True

    def cancel(self, number: int) -> None:
        """Stop waiting for a call of this side; the peer is told to stop working on it. No event follows."""
        if number in self._calling:
            self._give_up(number)

    def _give_up(self, number: int) -> object:
        self._frames.append(frame(FrameKind.CANCEL, number))
        return self._forget_call(number)

    def _announce(
        self, make: Callable[..., bytes], stream: int, fixed: tuple[int, ...], body: Buffer | Sequence[Buffer]
    ) -> None:
        """Queue a body of any shape and size: in its frame, or behind it."""
        parts, size = flatten(body)
        if size > self._peer_body:
            self.deadlines.discard(stream)
            raise LimitError(f"a body of {size} bytes is longer than the {self._peer_body} of the peer (max_body)")
        if size <= CHUNK:
            self._frames.append(make(stream, *fixed, size, parts[0] if len(parts) == 1 else b"".join(parts)))
        else:
            self._frames.append(make(stream, *fixed, size, b""))
            self.outbox.put_body(stream, parts, size)

    def _too_many_calls(self) -> LimitError:
        return LimitError(
            f"{len(self._calling)} calls are under way, the most that the peer takes on one link (max_calls)",
            hint="wait for some, or open another link",
        )

    def _free_stream(self) -> int:
        """A number that no call of this side has; they start again when all were used."""
        stream = self._stream
        while stream in self._calling or stream > _LAST_STREAM:
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
        token = self._calling.pop(number)
        self.deadlines.discard(number)
        self.bodies.drop(number)
        self.outbox.drop_body(number)
        return token

    # --- this side answers

    def hold(self, call: CallReceived) -> None:
        """The answer takes a while: from now on the call's deadline is watched (CallCancelled)."""
        if call.deadline is not None:
            self.deadlines.add(call.number, call.deadline)

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
            if number in self._calling:
                self._statistics.deadlines_passed += 1
                error = DeadlineError("no answer before the deadline")
                self._events.append(CallFailed(self._give_up(number), error))
            else:
                self._forget_served(number)  # silently: the caller keeps the same time
                self._events.append(CallCancelled(number))

    def take(self, limit: int) -> bytes:
        """Plaintext to send. Wakes what waited for room."""
        plaintext = self.outbox.take(limit)
        if self._parked:
            self._backlog = self.outbox.bulk
            self._make_room()
        return plaintext

    def arriving(self, now: float) -> None:
        """Frames of the peer follow. What waits now, waits because the network does not take it."""
        self.now = now
        self._backlog = self.outbox.queued

    def _make_room(self) -> None:
        while self._parked and self._backlog <= self._limits.max_queued:
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
        if self._backlog > 2 * self._limits.max_queued:
            raise LimitError("the peer lets answers pile up and does not read them (max_queued)")
        self._frames.append(answer)

    def end(self, error: BttpError | None) -> int:
        """The link is closed: everything under way fails. How many messages never left."""
        text = "the link was closed" if error is None else error.message
        lost = ConnectionLostError(f"no answer: {text}", kind=None if error is None else error.kind)
        self._events.extend(CallFailed(token, lost) for token in self._calling.values())
        self._events.extend(CallCancelled(number) for number in sorted(self._serving))
        self._calling.clear()
        self._serving.clear()
        return self.outbox.messages

    # --- frames of the peer

    def _on_route(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if not 1 <= stream <= MAX_ROUTES:
            raise RemoteProtocolError(f"a route has a number from 1 to {MAX_ROUTES}, not {stream}")
        try:
            self._routes_in[stream] = Route(BlockPath.parse(buffer[start:stop].decode()))
        except (PathError, UnicodeDecodeError) as error:
            raise RemoteProtocolError(f"a route is no block path: {error}") from error

    def _on_call(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop - start < 12:
            raise RemoteProtocolError("a CALL is too short")
        number, timeout, total = wire.CALL.unpack_from(buffer, start)
        route = self._routes_in.get(number) or _no_route(number)
        serving = self._serving
        if stream in serving or stream & 1 == self._first & 1 or not stream:
            raise RemoteProtocolError(f"stream {stream} is not free for a call")
        self._statistics.calls_received += 1
        deadline = self.now + timeout / 1000 if timeout else None
        serving.add(stream)
        if total > CHUNK:
            self._announced(stop - start - 12, total)
            if self._serves(stream, total):
                self._expect(stream, total, route, deadline)
        elif stop - start != 12 + total:
            raise RemoteProtocolError("a CALL does not hold the body that it announces")
        elif len(serving) <= self._max_calls or self._serves(stream, total):
            call = CallReceived(stream, route, memoryview(buffer[start + 12 : stop]), deadline)
            if self._backlog <= self._limits.max_queued:
                self._events.append(call)
            else:
                self._deliver(call)

    def _expect(self, stream: int, total: int, route: Route, deadline: float | None) -> None:
        """The body of this call is to come in DATA frames."""

        def whole(body: memoryview) -> None:
            self.deadlines.discard(stream)
            self._deliver(CallReceived(stream, route, body, deadline))

        self.bodies.begin(stream, total, whole)
        if deadline is not None:
            self.deadlines.add(stream, deadline)

    def _on_send(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop - start < 8:
            raise RemoteProtocolError("a SEND is too short")
        number, total = wire.SEND.unpack_from(buffer, start)
        route = self._routes_in.get(number) or _no_route(number)
        if self._window <= 0:
            raise RemoteProtocolError("the peer sends more than its credit (send_window)")
        cost = total + SEND_COST
        self._window -= cost
        self._statistics.sends_received += 1
        if total > CHUNK:
            self._announced(stop - start - 8, total)
            if self._not_the_peers(stream):
                raise RemoteProtocolError(f"stream {stream} is not free for a message")
            if self.bodies.fits(total):
                self.bodies.begin(stream, total, lambda body: self._events.append(SendReceived(route, body, cost)))
            else:
                self._statistics.dropped_sends += 1
                self.consumed(cost)
        elif stream or stop - start != 8 + total:
            raise RemoteProtocolError("a SEND does not hold the body that it announces")
        else:
            self._events.append(SendReceived(route, memoryview(buffer[start + 8 : stop]), cost))

    def _not_the_peers(self, stream: int) -> bool:
        """Whether the peer may not use this number for something new."""
        return stream & 1 == self._first & 1 or not stream or stream in self._serving

    def _serves(self, stream: int, total: int) -> bool:
        """Whether the limits allow one more call; if not, it is answered here."""
        if len(self._serving) > self._limits.max_calls:
            reason = f"more than {self._limits.max_calls} calls at once on one link (max_calls)"
        elif total > CHUNK and not self.bodies.fits(total):
            reason = f"more than {self._limits.max_receiving} bytes of unfinished bodies (max_receiving)"
        else:
            return True
        self._statistics.refused_calls += 1
        self._forget_served(stream)
        self._answer(wire.text_frame(FrameKind.ERROR, stream, Kind.LIMIT, reason))
        return False

    def _deliver(self, call: CallReceived) -> None:
        if self._backlog > self._limits.max_queued:
            self._parked.append(call)
            self.hold(call)
        else:
            self._events.append(call)

    def _on_reply(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop - start < 4:
            raise RemoteProtocolError("a REPLY is too short")
        total = wire.REPLY.unpack_from(buffer, start)[0]
        if stream not in self._calling:
            self._statistics.late_replies += 1
        elif total > CHUNK:
            self._announced(stop - start - 4, total)
            if self.bodies.fits(total):
                self.bodies.begin(stream, total, lambda body: self._answered(stream, body))
            else:
                reason = f"more than {self._limits.max_receiving} bytes of unfinished bodies (max_receiving)"
                self._events.append(CallFailed(self._give_up(stream), LimitError(reason)))
        elif stop - start != 4 + total:
            raise RemoteProtocolError("a REPLY does not hold the body that it announces")
        else:
            self._dues.pop(stream, None)
            if self.outbox.bulk:  # an answer may come before all of the request has left
                self.outbox.drop_body(stream)
            self._events.append(ReplyReceived(self._calling.pop(stream), memoryview(buffer[start + 4 : stop])))

    def _answered(self, stream: int, body: memoryview) -> None:
        self._events.append(ReplyReceived(self._forget_call(stream), body))

    def _on_data(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        place = self.bodies.place(stream, stop - start)
        if place is None:
            self._statistics.late_replies += 1
            return
        place[:] = memoryview(buffer)[start:stop]
        self.bodies.finish(stream)

    def _on_placed(self, stream: int, _buffer: bytearray, _start: int, _stop: int) -> None:
        self.bodies.finish(stream)

    def _on_error(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        kind, text = wire.parse_text(buffer[start:stop])
        if stream not in self._calling:
            self._statistics.late_replies += 1
            return
        self._events.append(CallFailed(self._forget_call(stream), RemoteError(text, kind=kind)))

    def _on_cancel(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop != start:
            raise RemoteProtocolError("a CANCEL is empty")
        self.outbox.drop_body(stream)
        if self.bodies.drop(stream) and stream not in self._serving:
            self._statistics.dropped_sends += 1
        if stream in self._serving:
            self._forget_served(stream)
            self._events.append(CallCancelled(stream))

    def _on_credit(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if stream:
            raise RemoteProtocolError(f"stream {stream} takes no credit")
        self._credit += wire.parse_u32(buffer[start:stop])
        if self._blocked:
            self._make_room()

    def _announced(self, held: int, total: int) -> None:
        if held:
            raise RemoteProtocolError("a body of more than one chunk comes in DATA frames")
        if total > self._limits.max_body:
            raise RemoteProtocolError(
                f"a body of {total} bytes exceeds the limit of {self._limits.max_body} (max_body)"
            )


def _not_open() -> BttpError:
    return ConnectionLostError("the link is not open yet")


def _no_route(number: int) -> Route:
    raise RemoteProtocolError(f"route {number} was not announced")


def flatten(body: Buffer | Sequence[Buffer]) -> tuple[Sequence[Buffer], int]:
    """A body as its parts and its size in bytes."""
    if isinstance(body, bytes):
        return (body,), len(body)
    if isinstance(body, bytearray | memoryview):
        view = memoryview(body).cast("B")
        return (view,), len(view)
    parts = [part if isinstance(part, bytes) else memoryview(part).cast("B") for part in body]
    return parts, sum(map(len, parts))
