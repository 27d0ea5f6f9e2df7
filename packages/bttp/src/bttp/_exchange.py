"""Calls and messages of an open link: who waits for what, what is being served, credit and limits. Pure.

Streams of the client are odd, those of the server even; a number returns only after two thousand million others. A call
lives from its CALL frame to the first of REPLY, ERROR, CANCEL (each side forgets it at once; what comes late is dropped
and counted). Small bodies travel in the frame that announces them, larger ones in DATA frames.

The methods in `handlers` take one received frame each. They raise RemoteProtocolError for what the peer may not do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil

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

_LAST_STREAM = 0xFFFFFFF0
_MAX_TIMEOUT = 0xFFFFFFFF  # ms; longer ones count as this: 49 days


class Exchange:
    """The talking part of a link's core. `now` is set by the core before each entry."""

    def __init__(self, role: Role, limits: Limits, statistics: LinkStatistics, events: deque[Event]) -> None:
        self.now = 0.0
        self.outbox = Outbox()
        self.bodies = Bodies(limits.max_receiving)
        self.deadlines = Deadlines()
        self.put = self.outbox.put
        self.handlers: dict[int, Callable[[int, memoryview], None]] = {
            FrameKind.ROUTE: self._on_route,
            FrameKind.CALL: self._on_call,
            FrameKind.SEND: self._on_send,
            FrameKind.REPLY: self._on_reply,
            FrameKind.DATA: self._on_data,
            wire.PLACED: self._on_placed,
            FrameKind.ERROR: self._on_error,
            FrameKind.CANCEL: self._on_cancel,
            FrameKind.CREDIT: self._on_credit,
        }
        self._limits = limits
        self._statistics = statistics
        self._events = events
        self._first = 1 if role is Role.CLIENT else 2
        self._stream = self._first
        self._calling: set[int] = set()
        self._serving: set[int] = set()
        self._routes_out: dict[BlockPath | str, int] = {}
        self._routes_in: dict[int, Route] = {}
        self._parked: deque[CallReceived] = deque()
        self._peer_calls = self._peer_body = 0
        self._credit = 0  # what this side may still send
        self._window = limits.send_window  # what the peer may still send
        self._handled = 0  # to be given back to the peer
        self._blocked = False  # a `send` was refused and waits for Writable

    def begin(self, hello: Hello) -> None:
        """The peer accepted; these are its limits."""
        self._peer_calls, self._peer_body, self._credit = hello.max_calls, hello.max_body, hello.send_window

    @property
    def idle(self) -> bool:
        return not (self._calling or self._serving or len(self.bodies) or self.outbox)

    # --- this side originates

    def call(self, path: BlockPath | str, body: Buffer | Sequence[Buffer], timeout: float | None) -> int:
        if len(self._calling) >= self._peer_calls:
            raise LimitError(
                f"{len(self._calling)} calls are under way, the most that the peer takes on one link (max_calls)",
                hint="wait for some, or open another link",
            )
        parts, size = self._fitting(body)
        route = self._routes_out.get(path) or self._new_route(path)
        milliseconds = 0
        stream = self._next_stream()
        if timeout is not None:
            milliseconds = min(max(1, ceil(timeout * 1000)), _MAX_TIMEOUT)
            self.deadlines.add(stream, self.now + timeout)
        self._calling.add(stream)
        self._statistics.calls_sent += 1
        if size <= CHUNK:
            self.put(wire.call_frame(stream, route, milliseconds, size, _joined(parts)))
        else:
            self.put(wire.call_frame(stream, route, milliseconds, size, b""))
            self.outbox.put_body(stream, parts, size)
        return stream

    def send(self, path: BlockPath | str, body: Buffer | Sequence[Buffer]) -> bool:
        parts, size = self._fitting(body)
        if self._credit <= 0 or self.outbox.queued > self._limits.send_window:
            self._blocked = True
            return False
        route = self._routes_out.get(path) or self._new_route(path)
        self._credit -= size + SEND_COST
        self._statistics.sends_sent += 1
        if size <= CHUNK:
            self.put(wire.send_frame(0, route, size, _joined(parts)))
        else:
            stream = self._next_stream()
            self.put(wire.send_frame(stream, route, size, b""))
            self.outbox.put_body(stream, parts, size)
        return True

    def cancel(self, number: int) -> None:
        if number in self._calling:
            self._forget_call(number)
            self.put(frame(FrameKind.CANCEL, number))

    def _fitting(self, body: Buffer | Sequence[Buffer]) -> tuple[Sequence[Buffer], int]:
        parts, size = flatten(body)
        if size > self._peer_body:
            raise LimitError(
                f"a body of {size} bytes is longer than the {self._peer_body} that the peer takes (max_body)"
            )
        return parts, size

    def _next_stream(self) -> int:
        stream = self._stream
        while stream in self._calling:
            stream = stream + 2 if stream < _LAST_STREAM else self._first
        self._stream = stream + 2 if stream < _LAST_STREAM else self._first
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
        self.put(frame(FrameKind.ROUTE, number, text.encode()))
        return number

    def _forget_call(self, number: int) -> None:
        self._calling.discard(number)
        self.deadlines.discard(number)
        self.bodies.drop(number)
        self.outbox.drop_body(number)

    # --- this side answers

    def reply(self, number: int, body: Buffer | Sequence[Buffer]) -> None:
        if number not in self._serving:
            return
        parts, size = flatten(body)
        if size > self._peer_body:
            self.fail(number, Kind.TOO_LARGE, f"the answer of {size} bytes is longer than the caller takes (max_body)")
            return
        self._forget_served(number)
        if size <= CHUNK:
            self.put(wire.reply_frame(number, size, _joined(parts)))
        else:
            self.put(wire.reply_frame(number, size, b""))
            self.outbox.put_body(number, parts, size)

    def fail(self, number: int, kind: Kind, text: str) -> None:
        if number in self._serving:
            self._forget_served(number)
            self.put(wire.text_frame(FrameKind.ERROR, number, kind, text))

    def consumed(self, cost: int) -> None:
        self._handled += cost
        if self._handled * 4 >= self._limits.send_window:
            self.put(wire.credit_frame(self._handled))
            self._window += self._handled
            self._handled = 0

    def _forget_served(self, number: int) -> None:
        self._serving.discard(number)
        self.deadlines.discard(number)
        self.bodies.drop(number)

    # --- time and the network

    def expire(self, now: float) -> None:
        """Calls whose deadline passed: ours fail and are cancelled there, those we serve are stopped and answered."""
        for number in self.deadlines.expired(now):
            if number in self._calling:
                self._statistics.deadlines_passed += 1
                self.cancel(number)
                self._events.append(CallFailed(number, DeadlineError("no answer before the deadline")))
            else:
                self.fail(number, Kind.DEADLINE, "the deadline passed before there was an answer")
                self._events.append(CallCancelled(number))

    def take(self, limit: int) -> bytes:
        """Plaintext to send. Wakes what waited for room."""
        plaintext = self.outbox.take(limit)
        if self._parked or self._blocked:
            self._make_room()
        return plaintext

    def _make_room(self) -> None:
        while self._parked and self.outbox.queued <= self._limits.max_queued:
            call = self._parked.popleft()
            if call.number in self._serving:
                self._events.append(call)
        if self._blocked and self._credit > 0 and self.outbox.queued <= self._limits.send_window:
            self._blocked = False
            self._events.append(Writable())

    def put_pong(self, payload: bytes) -> None:
        self._answer(frame(FrameKind.PONG, 0, payload))

    def _answer(self, answer: bytes) -> None:
        """Queue a small answer that the peer provoked; a peer that provokes many and reads none is cut off."""
        if self.outbox.queued > 2 * self._limits.max_queued:
            raise LimitError("the peer lets answers pile up and does not read them (max_queued)")
        self.put(answer)

    def end(self, error: BttpError | None) -> int:
        """The link is closed: everything under way fails. How many messages never left."""
        text = "the link was closed" if error is None else error.message
        lost = ConnectionLostError(f"no answer: {text}", kind=None if error is None else error.kind)
        self._events.extend(CallFailed(number, lost) for number in sorted(self._calling))
        self._events.extend(CallCancelled(number) for number in sorted(self._serving))
        self._calling.clear()
        self._serving.clear()
        return self.outbox.messages

    # --- frames of the peer

    def _on_route(self, stream: int, payload: memoryview) -> None:
        if not 1 <= stream <= MAX_ROUTES:
            raise RemoteProtocolError(f"a route has a number from 1 to {MAX_ROUTES}, not {stream}")
        try:
            self._routes_in[stream] = Route(BlockPath.parse(bytes(payload).decode()))
        except (PathError, UnicodeDecodeError) as error:
            raise RemoteProtocolError(f"a route is no block path: {error}") from error

    def _on_call(self, stream: int, payload: memoryview) -> None:
        if len(payload) < 12:
            raise RemoteProtocolError("a CALL is too short")
        number, timeout, total = wire.CALL.unpack_from(payload)
        route = self._route(number)
        if self._not_the_peers(stream):
            raise RemoteProtocolError(f"stream {stream} is not free for a call")
        self._statistics.calls_received += 1
        self._serving.add(stream)
        deadline = None
        if timeout:
            deadline = self.now + timeout / 1000
            self.deadlines.add(stream, deadline)
        if not self._serves(stream, total):
            return
        if total <= CHUNK:
            self._deliver(CallReceived(stream, route, self._whole(payload, 12, total), deadline))
        else:
            self._announced(payload, 12, total)
            self.bodies.begin(stream, total, lambda body: self._deliver(CallReceived(stream, route, body, deadline)))

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
        if self.outbox.queued > self._limits.max_queued:
            self._parked.append(call)
        else:
            self._events.append(call)

    def _on_send(self, stream: int, payload: memoryview) -> None:
        if len(payload) < 8:
            raise RemoteProtocolError("a SEND is too short")
        number, total = wire.SEND.unpack_from(payload)
        route = self._route(number)
        if self._window <= 0:
            raise RemoteProtocolError("the peer sends more than its credit (send_window)")
        cost = total + SEND_COST
        self._window -= cost
        self._statistics.sends_received += 1
        if stream if total <= CHUNK else self._not_the_peers(stream):
            raise RemoteProtocolError(f"stream {stream} is not free for a message")
        if total <= CHUNK:
            self._events.append(SendReceived(route, self._whole(payload, 8, total), cost))
        elif not self.bodies.fits(total):
            self._statistics.dropped_sends += 1
            self.consumed(cost)
        else:
            self._announced(payload, 8, total)
            self.bodies.begin(stream, total, lambda body: self._events.append(SendReceived(route, body, cost)))

    def _on_reply(self, stream: int, payload: memoryview) -> None:
        if len(payload) < 4:
            raise RemoteProtocolError("a REPLY is too short")
        total = wire.REPLY.unpack_from(payload)[0]
        if stream not in self._calling:
            self._statistics.late_replies += 1
            return
        if total <= CHUNK:
            self._answered(stream, self._whole(payload, 4, total))
        elif self.bodies.fits(total):
            self._announced(payload, 4, total)
            self.bodies.begin(stream, total, lambda body: self._answered(stream, body))
        else:
            self.cancel(stream)
            reason = f"more than {self._limits.max_receiving} bytes of unfinished bodies (max_receiving)"
            self._events.append(CallFailed(stream, LimitError(reason)))

    def _answered(self, stream: int, body: memoryview) -> None:
        self._forget_call(stream)
        self._events.append(ReplyReceived(stream, body))

    def _on_data(self, stream: int, payload: memoryview) -> None:
        place = self.bodies.place(stream, len(payload))
        if place is None:
            self._statistics.late_replies += 1
            return
        place[:] = payload
        self.bodies.finish(stream)

    def _on_placed(self, stream: int, _payload: memoryview) -> None:
        self.bodies.finish(stream)

    def _on_error(self, stream: int, payload: memoryview) -> None:
        kind, text = wire.parse_text(payload)
        if stream not in self._calling:
            self._statistics.late_replies += 1
            return
        self._forget_call(stream)
        self._events.append(CallFailed(stream, RemoteError(text, kind=kind)))

    def _on_cancel(self, stream: int, payload: memoryview) -> None:
        if len(payload):
            raise RemoteProtocolError("a CANCEL is empty")
        self.outbox.drop_body(stream)
        if self.bodies.drop(stream) and stream not in self._serving:
            self._statistics.dropped_sends += 1
        if stream in self._serving:
            self._forget_served(stream)
            self._events.append(CallCancelled(stream))

    def _on_credit(self, stream: int, payload: memoryview) -> None:
        if stream:
            raise RemoteProtocolError(f"stream {stream} takes no credit")
        self._credit += wire.parse_u32(payload)
        if self._blocked:
            self._make_room()

    def _route(self, number: int) -> Route:
        route = self._routes_in.get(number)
        if route is None:
            raise RemoteProtocolError(f"route {number} was not announced")
        return route

    def _whole(self, payload: memoryview, start: int, total: int) -> memoryview:
        if len(payload) != start + total:
            raise RemoteProtocolError("a frame does not hold the body that it announces")
        return memoryview(bytes(payload[start:]))

    def _announced(self, payload: memoryview, start: int, total: int) -> None:
        if len(payload) != start:
            raise RemoteProtocolError("a body of more than one chunk comes in DATA frames")
        if total > self._limits.max_body:
            raise RemoteProtocolError(
                f"a body of {total} bytes exceeds the limit of {self._limits.max_body} (max_body)"
            )


def flatten(body: Buffer | Sequence[Buffer]) -> tuple[Sequence[Buffer], int]:
    """A body as its parts and its size in bytes."""
    if isinstance(body, bytes):
        return (body,), len(body)
    if isinstance(body, bytearray | memoryview):
        view = memoryview(body).cast("B")
        return (view,), len(view)
    parts = [part if isinstance(part, bytes) else memoryview(part).cast("B") for part in body]
    return parts, sum(map(len, parts))


def _joined(parts: Sequence[Buffer]) -> Buffer:
    return parts[0] if len(parts) == 1 else b"".join(parts)
