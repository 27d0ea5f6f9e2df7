"""Publish and subscribe on topic paths: the broker that a server adds at a prefix, and the subscriber's side.

A call to a topic publishes; it is answered, with the number of subscribers (u32), when the message is in the queue of
each or was lost by its choice. A `send` publishes likewise, unanswered, and holds its credit as long. A stream to a
topic subscribes. The server's policy decides about both by the topic's path, as about everything: EXECUTE. Whoever may
execute at a path may at all below it, and so subscribe to all below it. The process of the broker publishes without a
link, by `Broker.publish`.

At most once, in the order of one publisher's messages on one link. Nothing is kept for those who subscribe later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import anyio
import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ._link import Link
from ._router import Request, Router
from ._statistics import BrokerStatistics
from ._stream import Stream
from ._topics import (
    SUBSCRIBED,
    Message,
    Queue,
    Ticket,
    WhenSlow,
    Wish,
    encode_message,
    encode_wish,
    parse_item,
    parse_wish,
)
from .errors import ConnectionLostError, LimitError, RemoteProtocolError


class _Subscriber:
    """A queue and the stream that empties it."""

    def __init__(self, stream: Stream, queue: Queue) -> None:
        self.stream, self.queue = stream, queue
        self.leaving = False  # its link goes away: what waits is the last that it gets
        self._news = anyio.Event()

    def ring(self) -> None:
        self._news.set()

    async def next(self) -> bytes | None:
        """The next item; None: there are no more."""
        while (item := self.queue.take()) is None and not self.leaving:
            self._news = anyio.Event()
            await self._news.wait()
        return item


class Broker:
    """Takes messages to topics to those who subscribed. It belongs to one event loop: that of one server."""

    def __init__(
        self,
        *,
        max_queue: int = 4096,
        max_queue_bytes: int = 4 * 1024 * 1024,
        check: Callable[[Request], None] | None = None,
    ) -> None:
        """`max_queue`, `max_queue_bytes`: what may wait for one subscriber, whatever it asks for.

        `check`: looks at what a peer publishes, and refuses it by raising; it must not block.
        """
        self._max_queue, self._max_bytes = max_queue, max_queue_bytes
        self._check = check
        self._exact: dict[BlockPath, dict[_Subscriber, None]] = {}
        self._below: dict[BlockPath, dict[_Subscriber, None]] = {}
        self._statistics = BrokerStatistics()

    @property
    def statistics(self) -> BrokerStatistics:
        """Counters, as they are now."""
        return msgspec.structs.replace(self._statistics)

    def add_to(self, router: Router, prefix: BlockPath) -> None:
        """Make `prefix` and all paths below it topics."""
        router.add(prefix, self._take)
        router.add_stream(prefix, self._subscribe)

    async def _take(self, request: Request) -> bytes:
        """What a peer publishes."""
        if self._check is not None:
            self._check(request)
        return (await self.publish(request.path, request.body)).to_bytes(4, "little")

    async def publish(self, topic: BlockPath, body: bytes | memoryview) -> int:
        """Publish from the process of the broker, without a link: in the event loop of its server.

        Returns as the call of a publisher elsewhere: the number of subscribers, once the message is in the queue of
        each or was lost by its choice. Cancelled before, it leaves the message out where it still waits.
        """
        item = encode_message(topic, body)
        subscribers = list(self._subscribers(topic))
        self._statistics.published += 1
        waiting: list[tuple[_Subscriber, Ticket]] = []
        settled = anyio.Event()
        left = 0

        def done() -> None:
            nonlocal left
            left -= 1
            if not left:
                settled.set()

        for subscriber in subscribers:  # without waiting: so the order of messages is the same for all
            lost = subscriber.queue.lost
            outcome = subscriber.queue.offer(item, done)
            self._statistics.lost += subscriber.queue.lost - lost
            if isinstance(outcome, Ticket):
                waiting.append((subscriber, outcome))
                left += 1
            elif not outcome:
                self._statistics.disconnected += 1
                text = f"more than {subscriber.queue.wish.queue} messages wait (queue), and the subscriber chose to end"
                subscriber.stream.cancel(Kind.LIMIT, text)
                self._unlist(subscriber)
                subscriber.stream.stop()
            subscriber.ring()
        if waiting:
            try:
                await settled.wait()
            except anyio.get_cancelled_exc_class():
                for subscriber, ticket in waiting:
                    subscriber.queue.withdraw(ticket)
                raise
        return len(subscribers)

    async def _subscribe(self, stream: Stream) -> None:
        wish = parse_wish(stream.body)
        if wish.queue > self._max_queue:
            raise LimitError(f"a queue of {wish.queue} messages exceeds the limit of {self._max_queue} (max_queue)")
        subscriber = _Subscriber(stream, Queue(wish, self._max_bytes))
        places = self._below if wish.below else self._exact
        places.setdefault(stream.path, {})[subscriber] = None
        self._statistics.subscribers += 1

        def leave() -> None:
            self._unlist(subscriber)
            subscriber.leaving = True
            subscriber.ring()

        forget = stream.link.on_drain(leave)
        try:
            await stream.send(SUBSCRIBED)
            while (item := await subscriber.next()) is not None:
                await stream.send(item)
                self._statistics.delivered += 1
        finally:
            forget()
            self._unlist(subscriber)
            subscriber.queue.close()

    def _subscribers(self, topic: BlockPath) -> Iterator[_Subscriber]:
        yield from self._exact.get(topic, ())
        place: BlockPath | None = topic
        while place is not None:
            yield from self._below.get(place, ())
            place = place.parent

    def _unlist(self, subscriber: _Subscriber) -> None:
        path = subscriber.stream.path
        places = self._below if subscriber.queue.wish.below else self._exact
        here = places.get(path, {})
        if subscriber in here:
            del here[subscriber]
            self._statistics.subscribers -= 1
        if path in places and not here:
            del places[path]


class Subscription:
    """Messages of a topic, for tasks: iterate over it. It ends with an error: its link's, or the broker's reason."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.lost = 0  #: messages lost so far because this side was slow; known when it has read up to there

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        lost = 0
        while True:
            got = parse_item(over(await self._stream.receive()))
            if isinstance(got, Message):
                return msgspec.structs.replace(got, lost=lost)
            lost += got
            self.lost += got


@asynccontextmanager
async def subscribe(
    link: Link, path: BlockPath, *, below: bool = False, when_slow: WhenSlow = WhenSlow.BLOCK, queue: int = 256
) -> AsyncIterator[Subscription]:
    """The messages of the topic at `path` (and of all `below` it), from now until the context ends.

    `queue`: messages that may wait at the broker, beside those on their way; `when_slow`: what happens to more. Raises
    RemoteError where the broker refuses, and what `link.stream` raises.
    """
    async with link.stream(path, encode_wish(Wish(below=below, when_slow=when_slow, queue=queue))) as stream:
        check_welcome(await stream.receive())
        yield Subscription(stream)


def over(item: memoryview | None) -> memoryview:
    """An item; a broker does not finish."""
    if item is None:
        raise ConnectionLostError("the broker has ended the subscription")
    return item


def check_welcome(item: memoryview | None) -> None:
    """The first item says that the subscription stands."""
    if over(item) != SUBSCRIBED:
        raise RemoteProtocolError("what answers there is no broker")
