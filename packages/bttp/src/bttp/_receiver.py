"""What the peer's frames do to an open link. Pure.

Each handler takes one frame: its stream, a buffer, and where in that its payload starts and stops. It raises
RemoteProtocolError for what the peer may not do; the link then ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from btlib.errors import PathError
from btlib.kinds import Kind
from btlib.paths import BlockPath

from . import _frames as wire
from ._auth import Role
from ._events import CallCancelled, CallFailed, CallReceived, Event, ReplyReceived, Route, SendReceived, StreamReceived
from ._exchange import Exchange
from ._fields import parse_extended
from ._frames import CHUNK, FrameKind
from ._limits import MAX_ROUTES, SEND_COST, Limits
from ._plain import make_places, take_plain
from ._statistics import LinkStatistics
from ._tracebacks import remote_error
from .errors import LimitError, RemoteProtocolError

Handler: TypeAlias = Callable[[int, bytearray, int, int], None]


class Receiver(Exchange):
    """An exchange that takes frames."""

    def __init__(self, role: Role, limits: Limits, statistics: LinkStatistics, events: deque[Event]) -> None:
        super().__init__(role, limits, statistics, events)
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
            FrameKind.OPEN.value: self._on_open,
            FrameKind.ITEM.value: self.streams.on_item,
            FrameKind.END.value: self.streams.on_end,
            FrameKind.RESET.value: self.streams.on_reset,
            FrameKind.EXTENDED.value: self._on_extended,
        }
        self._places = make_places(
            self.calling, self._dues, self._serving, self._routes_in, self._first & 1, self._max_calls
        )

    def take_plain(self, buffer: bytearray, start: int, end: int) -> int:
        """Take the frames at `start` that need no more than `_plain` knows; where the first begins that does."""
        if self.outbox.bulk or self._backlog > self._max_queued:
            return start
        start, events, calls, sends, self._window = take_plain(self._places, buffer, start, end, self._window, self.now)
        self._events.extend(events)
        if calls:
            self._statistics.calls_received += calls
        if sends:
            self._statistics.sends_received += sends
        return start

    def _on_extended(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        kind, self._fields, begin = parse_extended(buffer, start, stop)
        try:
            self.handlers[kind](stream, buffer, begin, stop)
        finally:
            self._fields = None

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
            call = CallReceived(stream, route, memoryview(buffer[start + 12 : stop]), deadline, self._fields)
            if self._backlog <= self._max_queued:
                self._events.append(call)
            else:
                self._deliver(call)

    def _expect(self, stream: int, total: int, route: Route, deadline: float | None) -> None:
        """The body of this call is to come in DATA frames."""
        fields = self._fields

        def whole(body: memoryview) -> None:
            self.deadlines.discard(stream)
            self._deliver(CallReceived(stream, route, body, deadline, fields))

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
                fields = self._fields
                self.bodies.begin(
                    stream, total, lambda body: self._events.append(SendReceived(route, body, cost, fields))
                )
            else:
                self._statistics.dropped_sends += 1
                self.consumed(cost)
        elif stream or stop - start != 8 + total:
            raise RemoteProtocolError("a SEND does not hold the body that it announces")
        else:
            self._events.append(SendReceived(route, memoryview(buffer[start + 8 : stop]), cost, self._fields))

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
        if self._backlog > self._max_queued:
            self.park(call)
        else:
            self._events.append(call)

    def _on_reply(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop - start < 4:
            raise RemoteProtocolError("a REPLY is too short")
        total = wire.REPLY.unpack_from(buffer, start)[0]
        if stream not in self.calling:
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
            self._events.append(ReplyReceived(self.calling.pop(stream), memoryview(buffer[start + 4 : stop])))

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
        error = remote_error(buffer[start:stop])
        if stream not in self.calling:
            self._statistics.late_replies += 1
            return
        self._events.append(CallFailed(self._forget_call(stream), error))

    def _on_cancel(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop != start:
            raise RemoteProtocolError("a CANCEL is empty")
        if stream in self.streams.live:
            raise RemoteProtocolError(f"stream {stream} ends with RESET, not CANCEL")
        self.outbox.drop_body(stream)
        if self.bodies.drop(stream) and stream not in self._serving:
            self._statistics.dropped_sends += 1
        if stream in self._serving:
            self._forget_served(stream)
            self._events.append(CallCancelled(stream))

    def _on_credit(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        amount = wire.parse_u32(buffer[start:stop])
        if stream:
            self.streams.on_credit(stream, amount)
            return
        self._credit += amount
        if self._blocked:
            self._make_room()

    def _on_open(self, stream: int, buffer: bytearray, start: int, stop: int) -> None:
        if not 8 <= stop - start <= 8 + CHUNK:
            raise RemoteProtocolError("an OPEN is too short or too long")
        number, timeout = wire.OPEN.unpack_from(buffer, start)
        route = self._routes_in.get(number) or _no_route(number)
        if self._not_the_peers(stream) or stream in self.bodies:
            raise RemoteProtocolError(f"stream {stream} is not free for a stream")
        self._statistics.streams_received += 1
        if len(self._serving) >= self._limits.max_calls:
            reason = f"more than {self._limits.max_calls} calls and streams at once on one link (max_calls)"
            self._statistics.refused_calls += 1
            self._answer(wire.text_frame(FrameKind.RESET, stream, Kind.LIMIT, reason))
            return
        self._serving.add(stream)
        state = self.streams.add(stream, None, own=False)
        deadline = state.due = self.now + timeout / 1000 if timeout else None
        if deadline is not None:
            self.deadlines.add(stream, deadline)
        body = memoryview(buffer[start + 8 : stop])
        self._events.append(StreamReceived(stream, state, route, body, deadline, self._fields))

    def _announced(self, held: int, total: int) -> None:
        if held:
            raise RemoteProtocolError("a body of more than one chunk comes in DATA frames")
        if total > self._limits.max_body:
            raise RemoteProtocolError(
                f"a body of {total} bytes exceeds the limit of {self._limits.max_body} (max_body)"
            )


def _no_route(number: int) -> Route:
    raise RemoteProtocolError(f"route {number} was not announced")
