"""The topics of one runtime: who subscribed, and how a message gets to all of them.

A local subscriber gets the object. Others sit behind a `bttp.Broker`, one for each served name, and get bytes; whatever
they publish comes as bytes and is decoded once for each class among those that local subscribers handle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, cast

import anyio
import bttp
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btserde import SerdeError

from . import _wire as wire
from ._cell import Cell
from ._pool import current_worker
from .errors import CallTimeoutError, DeclarationError, MailboxFullError, RunError, UnhandledMessageError
from .topics import Subscription

if TYPE_CHECKING:
    from ._runtime import Runtime


class Subscriber:
    """A local actor at a topic."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._turn = anyio.Lock()  # fair: who waits for room first, gets it first

    def offer(self, message: object) -> bool:
        """Whether it is settled: queued, or lost as its mailbox says. Never waits."""
        if self._turn.locked():
            return False
        try:
            self._send(message)
        except MailboxFullError:
            return False
        return True

    async def deliver(self, message: object) -> None:
        """Wait until there is room. Raises MailboxFullError to an actor that would wait for itself."""
        worker = current_worker.get()
        async with self._turn:
            while True:
                try:
                    return self._send(message)
                except MailboxFullError:
                    if worker is not None and worker.cell is self.cell:
                        raise
                await self.cell.wait_room()

    def _send(self, message: object) -> None:
        try:
            self.cell.send(message)
        except UnhandledMessageError as error:
            self.cell.runtime.dead_letters.add(self.cell.path, message, error.message)


class Topics:
    """See the module."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._exact: dict[str, dict[Subscriber, None]] = {}
        self._below: dict[str, dict[Subscriber, None]] = {}
        self._brokers: dict[str, bttp.Router] = {}  # by prefix; each with one broker that has it

    def subscribe(self, cell: Cell, topic: str, below: bool) -> Subscription:
        """Let an actor of this runtime have what is published here."""
        places = self._below if below else self._exact
        subscriber = Subscriber(cell)
        places.setdefault(topic, {})[subscriber] = None

        def end() -> None:
            del places[topic][subscriber]
            if not places[topic]:
                del places[topic]

        return Subscription(topic, end)

    async def publish(self, topic: str, message: object, timeout: float | None) -> int:
        """To all here, and through the broker to all elsewhere. How many there were. Raises CallTimeoutError."""
        deliveries = [(subscriber, message) for subscriber in self._subscribers(topic)]
        waiting, router = _offer_all(deliveries), self._broker(topic)
        if not waiting and router is None:
            return len(deliveries)
        count = 0
        with anyio.move_on_after(timeout) as scope:
            if router is not None:
                count = await _pass_on(router, topic, wire.encode_published(message))
            for subscriber, _ in waiting:
                await subscriber.deliver(message)
        if scope.cancelled_caught:
            raise CallTimeoutError(
                f"{type(message).__name__} did not reach all subscribers of {topic} within {timeout:g} s: "
                f"{len(waiting)} of those here had no room",
                hint="let slow subscribers have Mailbox(when_full=WhenFull.DROP_OLD), or publish less",
            )
        return len(deliveries) + count

    def serve(self, prefix: BlockPath) -> None:
        """Let others publish and subscribe at a path and below. Raises LocalProtocolError where it is served."""
        router = bttp.Router()
        bttp.Broker().add_to(router, prefix)
        streams = router.find_stream(prefix)
        assert streams is not None
        self._runtime.router.add(prefix, self._take)
        self._runtime.router.add_stream(prefix, streams.handler)
        self._brokers[str(prefix)] = router

    async def _take(self, request: bttp.Request) -> bytes:
        """What somebody elsewhere publishes."""
        topic = str(request.path)
        try:
            published = wire.decode_published(request.body)
        except SerdeError as error:
            raise RunError(f"what was published to {topic} is no message: {error}", kind=Kind.INVALID) from error
        known: dict[type, object] = {}
        deliveries = [(each, message_for(each.cell, published, known)) for each in self._subscribers(topic)]
        waiting, router = _offer_all(deliveries), self._broker(topic)
        assert router is not None
        count = await _pass_on(router, topic, bytes(request.body))
        for subscriber, message in waiting:
            await subscriber.deliver(message)
        return (len(deliveries) + count).to_bytes(4, "little")

    def _broker(self, topic: str) -> bttp.Router | None:
        return next((self._brokers[place] for place in _upwards(topic) if place in self._brokers), None)

    def _subscribers(self, topic: str) -> Iterator[Subscriber]:
        yield from self._exact.get(topic, ())
        for place in _upwards(topic):
            yield from self._below.get(place, ())


class _Here:
    """The link of a message that came by none."""

    id = 0
    peer = bttp.Peer()

    def on_close(self, callback: Callable[[], None]) -> None:
        """It never closes."""


async def _pass_on(router: bttp.Router, topic: str, body: bytes) -> int:
    """Publish at the broker that this router has. To how many."""
    path = BlockPath.parse(topic)
    destination = router.find(path)
    assert destination is not None
    handler = cast("Callable[[bttp.Request], Awaitable[bytes]]", destination.handler)
    return int.from_bytes(await handler(bttp.Request(path, memoryview(body), _Here.peer, _Here())), "little")


def _offer_all(deliveries: list[tuple[Subscriber, object]]) -> list[tuple[Subscriber, object]]:
    """To all who have room, without waiting, so that the order is the same for all; those who have none."""
    return [(subscriber, message) for subscriber, message in deliveries if not subscriber.offer(message)]


def message_for(cell: Cell, published: wire.Published, known: dict[type, object]) -> object:
    """As one of the classes that this actor handles; else the bytes, which will be a dead letter."""
    actor: type = cell.actor_class
    found = wire.wire_types(actor).get((published.name, published.schema))
    if found is None:
        return published
    if found.cls not in known:
        try:
            known[found.cls] = found.decode(published.body)
        except SerdeError as error:
            raise DeclarationError(f"this {published.name} cannot be decoded: {error}") from error
    return known[found.cls]


def _upwards(topic: str) -> Iterator[str]:
    """The topic, and all paths above it."""
    while topic:
        yield topic
        topic = topic.rpartition("/")[0]
