"""Streams of an open link: items in both directions, credit, half-close and reset. Pure.

A stream lives from OPEN until both sides said END, or one said RESET. An item costs its length + ITEM_COST of two
windows of its receiver: the stream's and the link's. A sender writes an item while both are above zero, so one item may
be larger than a window; the cost is given back once somebody took it. Items of one stream leave in order, chunks of
several streams take turns.

What comes for a stream that is over is dropped and counted, and its cost given back: it may have crossed a RESET.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from btlib.kinds import Kind

from . import _frames as wire
from ._bodies import Bodies
from ._deadlines import Deadlines
from ._events import Event, ItemReceived, StreamEnded, StreamReset, StreamState, StreamWritable
from ._frames import CHUNK, Buffer, FrameKind, Hello, frame
from ._limits import ITEM_COST, MAX_STREAM_QUEUED, MAX_STREAMS_QUEUED, Limits
from ._outbox import Outbox
from ._statistics import LinkStatistics
from ._tracebacks import remote_error
from .errors import BttpError, DeadlineError, LimitError, LocalProtocolError, RemoteProtocolError

NO_STREAM = 0xFFFFFFFF  #: in CREDIT: for the link alone; no stream has this number


class Streams:
    """All streams of one link. `over(number, own)` is told of each that ends."""

    def __init__(
        self,
        limits: Limits,
        statistics: LinkStatistics,
        events: deque[Event],
        outbox: Outbox,
        bodies: Bodies,
        deadlines: Deadlines,
        answer: Callable[[bytes], None],
        over: Callable[[int, bool], None],
    ) -> None:
        self.live: dict[int, StreamState] = {}
        self.waiting: dict[int, None] = {}  #: those whose `write` was refused, longest first
        self._limits = limits
        self._statistics = statistics
        self._events = events
        self._outbox = outbox
        self._bodies = bodies
        self._deadlines = deadlines
        self._answer = answer
        self._over = over
        self._peer = Hello(version=0, auths=0, max_calls=0, max_body=0, send_window=0, stream_window=0, link_window=0)
        self._credit = 0  # of the whole link: what this side may still send
        self._window = limits.link_window  # and the peer
        self._taken = 0  # of all live streams, not yet given back
        self._stray = 0  # of streams that are over, not yet given back

    def begin(self, hello: Hello) -> None:
        """The peer accepted; these are its limits."""
        self._peer, self._credit = hello, hello.link_window

    def add(self, number: int, token: object, *, own: bool) -> StreamState:
        """A stream was opened, by whichever side."""
        stream = self.live[number] = StreamState(token, own, self._peer.stream_window, self._limits.stream_window)
        return stream

    # --- what this side says

    def write(self, number: int, body: Buffer | Sequence[Buffer]) -> bool:
        """Send an item. False: there is no room now; wait for StreamWritable.

        Raises LocalProtocolError for a stream that is over or finished, LimitError for what the peer does not take.
        """
        stream = self._mine(number)
        if not self._writable(number, stream):
            self.waiting[number] = None
            return False
        data = body if type(body) is bytes else b"".join((body,) if isinstance(body, Buffer) else body)
        size = len(data)
        if size > self._peer.max_body:
            raise LimitError(f"an item of {size} bytes is longer than the {self._peer.max_body} of the peer (max_body)")
        cost = size + ITEM_COST
        if size <= CHUNK:
            self._outbox.put_item(number, wire.item_frame(number, size, data), cost)
        else:
            self._outbox.put_item(number, wire.item_frame(number, size, b""), cost, data)
        stream.credit -= cost
        self._credit -= cost
        self._statistics.items_sent += 1
        return True

    def finish(self, number: int) -> None:
        """No more items from this side; what was written still leaves. Raises LocalProtocolError as `write`."""
        stream = self._mine(number)
        stream.finished = True
        self._outbox.put_item(number, frame(FrameKind.END, number), 0)
        if stream.ended:
            self._forget(number)

    def reset(self, number: int, kind: Kind, text: str, *, behind: bool = False) -> None:
        """End both directions; no event follows. `behind`: what was written leaves first, else it is dropped."""
        if number not in self.live:
            return
        self._forget(number)
        last = wire.text_frame(FrameKind.RESET, number, kind, text)
        if behind:
            self._outbox.put_item(number, last, 0)
        else:
            self._drop(number)
            self._outbox.frames.append(last)

    def taken(self, number: int, cost: int) -> bool:
        """A received item was taken, or thrown away. Whether that gives the peer something to hear."""
        stream = self.live.get(number)
        if stream is None:
            return self._put_stray(cost)
        stream.taken += cost
        self._taken += cost
        if stream.taken * 4 >= self._limits.stream_window:
            self._give_back(number, stream)
        elif self._taken * 4 >= self._limits.link_window:
            for each, other in self.live.items():
                if other.taken:
                    self._give_back(each, other)
        else:
            return False
        return True

    def _mine(self, number: int) -> StreamState:
        stream = self.live.get(number)
        if stream is None:
            raise LocalProtocolError("this stream is over")
        if stream.finished:
            raise LocalProtocolError("this stream was finished by this side and takes no more items")
        return stream

    def _writable(self, number: int, stream: StreamState) -> bool:
        return (
            stream.credit > 0
            and self._credit > 0
            and self._outbox.streaming < MAX_STREAMS_QUEUED
            and self._outbox.waits_of(number) < MAX_STREAM_QUEUED
        )

    def wake(self) -> None:
        """Tell those whose `write` was refused and would pass now."""
        for number in list(self.waiting):
            stream = self.live[number]
            if self._writable(number, stream):
                del self.waiting[number]
                self._events.append(StreamWritable(stream))

    # --- what the peer says

    def on_item(self, number: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop - start < 4:
            raise RemoteProtocolError("an ITEM is too short")
        total = wire.REPLY.unpack_from(buffer, start)[0]
        held, cost = stop - start - 4, total + ITEM_COST
        if held if total > CHUNK else held != total:
            raise RemoteProtocolError("an ITEM does not hold the body that it announces")
        if total > self._limits.max_body:
            raise RemoteProtocolError(
                f"an item of {total} bytes exceeds the limit of {self._limits.max_body} (max_body)"
            )
        self._window -= cost
        if self._window < -(self._limits.max_body + ITEM_COST):
            # streams take turns: the item that the credit ended with may come before smaller ones written earlier
            raise RemoteProtocolError("the peer sends more than its credit (link_window)")
        stream = self.live.get(number)
        if stream is None or stream.ended:
            if stream is not None:
                raise RemoteProtocolError(f"stream {number} goes on after its END")
            self._statistics.late_replies += 1
            self._put_stray(cost)
            return
        self._take_in(number, stream, total, cost, memoryview(buffer[start + 4 : stop]))

    def _take_in(self, number: int, stream: StreamState, total: int, cost: int, body: memoryview) -> None:
        if stream.window <= 0:
            raise RemoteProtocolError("the peer sends more than its credit (stream_window)")
        if stream.arriving:
            raise RemoteProtocolError(f"stream {number} begins an item before the last one is whole")
        stream.window -= cost
        self._statistics.items_received += 1
        if total <= CHUNK:
            self._events.append(ItemReceived(number, stream, body, cost))
        elif self._bodies.fits(total):
            stream.arriving = cost

            def whole(item: memoryview) -> None:
                stream.arriving = 0
                self._events.append(ItemReceived(number, stream, item, cost))

            self._bodies.begin(number, total, whole)
        else:
            error = LimitError(f"more than {self._limits.max_receiving} bytes of unfinished bodies (max_receiving)")
            self._put_stray(cost)
            self._break(number, error)

    def on_end(self, number: int, buffer: bytearray, start: int, stop: int) -> None:
        if stop != start:
            raise RemoteProtocolError("an END is empty")
        stream = self.live.get(number)
        if stream is None:
            self._statistics.late_replies += 1
            return
        if stream.ended or stream.arriving:
            raise RemoteProtocolError(f"stream {number} cannot END here")
        stream.ended = True
        self._events.append(StreamEnded(stream))
        if stream.finished:
            self._forget(number)

    def on_reset(self, number: int, buffer: bytearray, start: int, stop: int) -> None:
        error = remote_error(buffer[start:stop])
        self._drop(number)
        if number not in self.live:
            self._statistics.late_replies += 1
            return
        self._events.append(StreamReset(self._forget(number), error))

    def on_credit(self, number: int, amount: int) -> None:
        self._credit += amount
        if self._credit > self._peer.link_window:
            raise RemoteProtocolError("the peer gives back more than it was sent (link_window)")
        if (stream := self.live.get(number)) is not None:
            stream.credit += amount
            if stream.credit > self._peer.stream_window:
                raise RemoteProtocolError("the peer gives back more than it was sent (stream_window)")
        if self.waiting:
            self.wake()

    # --- time and the end

    def expire(self, number: int) -> None:
        """The deadline of this stream passed. Who opened it, says so; the other keeps the same time."""
        stream, late = self.live[number], DeadlineError("the stream was not over before its deadline")
        self._statistics.deadlines_passed += 1
        if stream.right_ends:
            self._break(number, DeadlineError("the right to this path has expired", kind=Kind.EXPIRED))
        elif stream.own:
            self._break(number, late)
        else:
            self._events.append(StreamReset(self._forget(number), late))
            self._drop(number)

    def end(self, error: BttpError) -> None:
        """The link is closed."""
        self._events.extend(StreamReset(stream, error) for stream in self.live.values())
        self.live.clear()
        self.waiting.clear()

    def _break(self, number: int, error: BttpError) -> None:
        """End a stream for a reason that both sides are told."""
        stream = self.live[number]
        self.reset(number, error.kind, error.message)
        self._events.append(StreamReset(stream, error))

    def _drop(self, number: int) -> None:
        """What waits to leave of this stream does not; its credit and its room are for others."""
        self._credit += self._outbox.drop_items(number)
        if self.waiting:
            self.wake()

    def _forget(self, number: int) -> StreamState:
        stream = self.live.pop(number)
        self.waiting.pop(number, None)
        self._deadlines.discard(number)
        self._bodies.drop(number)
        self._taken -= stream.taken
        self._over(number, stream.own)
        if rest := stream.taken + stream.arriving:
            self._put_stray(rest)
        return stream

    def _give_back(self, number: int, stream: StreamState) -> None:
        amount, stream.taken = stream.taken, 0
        self._taken -= amount
        stream.window += amount
        self._window += amount
        self._outbox.frames.append(wire.credit_frame(amount, number))

    def _put_stray(self, cost: int) -> bool:
        self._stray += cost
        if self._stray * 4 < self._limits.link_window:
            return False
        amount, self._stray = self._stray, 0
        self._window += amount
        self._answer(wire.credit_frame(amount, NO_STREAM))  # a stream that the peer may still think alive must not gain
        return True
