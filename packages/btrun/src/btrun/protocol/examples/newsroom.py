"""Both sides of `news` as programs: a broker that keeps a short backlog for each subscriber, and a subscriber."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from btrun.protocol import Channel

from .news import Accepted, Closed, Denied, Events, More, Subscribe, Unsubscribe
from .news_handles import (
    BrokerDeciding,
    BrokerSubscribed,
    SubscriberDeciding,
    SubscriberSubscribed,
    SubscriberWaiting,
    as_broker,
    as_subscriber,
)

#: What a slow subscriber can fall behind before it loses the oldest events, and is told how many.
BACKLOG = 4


class _Backlog:
    """Events that one subscriber has not taken."""

    def __init__(self) -> None:
        self.events: deque[bytes] = deque()
        self.lost = 0
        self.changed = anyio.Event()

    def add(self, event: bytes) -> None:
        if len(self.events) == BACKLOG:
            self.events.popleft()
            self.lost += 1
        self.events.append(event)
        self.changed.set()

    def take(self, limit: int) -> Events:
        taken = Events(events=tuple(self.events.popleft() for _ in range(min(limit, len(self.events)))), lost=self.lost)
        self.lost = 0
        self.changed = anyio.Event()
        return taken


class Broker:
    """Topics by name. `publish` never waits; a subscriber that does not take loses events, and counts them."""

    def __init__(self, *topics: str) -> None:
        self._subscribers: dict[str, list[_Backlog]] = {topic: [] for topic in topics}

    def publish(self, topic: str, event: bytes) -> None:
        for backlog in self._subscribers[topic]:
            backlog.add(event)

    def end(self, topic: str) -> None:
        """No more events; what is left is still delivered."""
        for backlog in self._subscribers.pop(topic):
            backlog.changed.set()

    async def serve(self, channel: Channel) -> None:
        async with as_broker(channel) as new:
            wanted, deciding = await new.receive()
            backlogs = self._subscribers.get(wanted.topic)
            if backlogs is None:
                await deciding.send(Denied(reason=f"there is no topic {wanted.topic}"))
                return
            backlogs.append(backlog := _Backlog())
            try:
                await self._feed(wanted.topic, backlog, deciding)
            finally:
                backlogs.remove(backlog)

    async def _feed(self, topic: str, backlog: _Backlog, deciding: BrokerDeciding) -> None:
        subscribed = await deciding.send(Accepted())
        while True:
            match await subscribed.receive():
                case BrokerSubscribed.Unsubscribe():
                    return
                case BrokerSubscribed.More(more, waiting):
                    while not backlog.events and topic in self._subscribers:
                        await backlog.changed.wait()
                    if not backlog.events:
                        await waiting.send(Closed())
                        return
                    subscribed = await waiting.send(backlog.take(more.limit))


class Subscription:
    """A running subscription: iterate over its events. `lost` counts those that it was too slow for."""

    def __init__(self, subscribed: SubscriberSubscribed, at_once: int) -> None:
        self._subscribed: SubscriberSubscribed | None = subscribed
        self._at_once = at_once
        self._events: deque[bytes] = deque()
        self.lost = 0

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> bytes:
        while not self._events:
            if self._subscribed is None:
                raise StopAsyncIteration
            await self._more(self._subscribed)
        return self._events.popleft()

    async def _more(self, subscribed: SubscriberSubscribed) -> None:
        self._subscribed = None
        waiting = await subscribed.send(More(limit=self._at_once))
        match await waiting.receive():
            case SubscriberWaiting.Events(news, subscribed):
                self._subscribed = subscribed
                self._events += news.events
                self.lost += news.lost
            case SubscriberWaiting.Closed():
                pass

    async def stop(self) -> None:
        if self._subscribed is not None:
            await self._subscribed.send(Unsubscribe())


@asynccontextmanager
async def subscribe(channel: Channel, topic: str, *, at_once: int = 2) -> AsyncIterator[Subscription]:
    """A subscription for the length of a block. Raises LookupError when the broker denies it."""
    async with as_subscriber(channel) as new:
        match await (await new.send(Subscribe(topic=topic))).receive():
            case SubscriberDeciding.Denied(denied, _):
                raise LookupError(denied.reason)
            case SubscriberDeciding.Accepted(_, subscribed):
                subscription = Subscription(subscribed, at_once)
                yield subscription
                await subscription.stop()
