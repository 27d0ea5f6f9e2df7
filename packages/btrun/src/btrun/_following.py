"""An actor's subscription to a topic of another runtime, or of any bttp broker: a stream that fills its mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import anyio
import bttp
from btlib.errors import BlocktreeError
from btlib.paths import BlockPath
from btserde import SerdeError

from . import _wire as wire
from ._carriers import RenewedCarrier
from ._cell import Cell
from ._publishing import Subscriber, message_for
from .errors import DeclarationError, NoLinkError, UsageError
from .mailboxes import WhenFull
from .topics import Lost, Subscription, Unsubscribed

#: What the broker does for an actor that is slow is what the actor's mailbox does.
WHEN_SLOW = {
    WhenFull.RAISE: bttp.WhenSlow.BLOCK,
    WhenFull.DROP_NEW: bttp.WhenSlow.DROP_NEWEST,
    WhenFull.DROP_OLD: bttp.WhenSlow.DROP_OLDEST,
}
QUEUE = 256  #: messages that wait at the broker at most, beside those in the mailbox and on their way


async def follow(cell: Cell, topic: str, below: bool) -> Subscription:
    """Subscribe, and return when it stands. Raises NoLinkError, UsageError, and the broker's refusal."""
    runtime = cell.runtime
    carrier = runtime.carriers.find(topic)
    if carrier is None:
        raise NoLinkError(f"no link leads to {topic}", hint="connect, and attach the link: runtime.attach(link, path)")
    link = carrier.lasting if isinstance(carrier, RenewedCarrier) else carrier
    if not isinstance(link, bttp.Link | bttp.ReconnectingLink):
        raise UsageError(f"what leads to {topic} is no bttp link, and carries no topics")
    feed = _Feed(cell, link, BlockPath.parse(topic), below)
    cell.own(feed.subscription)
    runtime.start_task(feed.run)
    try:
        await feed.standing
    except BaseException:
        feed.subscription.cancel()
        raise
    return feed.subscription


class _Feed:
    """The task of one subscription; cancelled by its end."""

    def __init__(self, cell: Cell, link: bttp.Link | bttp.ReconnectingLink, topic: BlockPath, below: bool) -> None:
        self._cell = cell
        self._link = link
        self._topic = topic
        self._below = below
        self._to = Subscriber(cell)
        self._scope = anyio.CancelScope(shield=True)
        self.standing = cell.runtime.loop.make_wait()
        self.subscription = Subscription(str(topic), self._scope.cancel)

    async def run(self) -> None:
        with self._scope:
            try:
                await self._feed()
            except BlocktreeError as error:
                self.subscription.done = True
                if self.standing.done():
                    await self._to.deliver(Unsubscribed(str(self._topic), error.message))
                else:
                    self.standing.set_exception(error)

    async def _feed(self) -> None:
        async with self._subscribing() as messages:
            if not self.standing.done():
                self.standing.set_result(None)
            async for message in messages:
                if message.lost or message.gap:
                    await self._to.deliver(Lost(str(message.topic), message.lost))
                await self._take(message)

    def _subscribing(self) -> AbstractAsyncContextManager[AsyncIterator[bttp.Message]]:
        how = {"below": self._below, "when_slow": WHEN_SLOW[self._cell.when_full], "queue": QUEUE}
        if isinstance(self._link, bttp.ReconnectingLink):
            return self._link.subscribe(self._topic, **how)  # type: ignore[arg-type]
        return bttp.subscribe(self._link, self._topic, **how)  # type: ignore[arg-type]

    async def _take(self, message: bttp.Message) -> None:
        """What cannot be decoded is a dead letter; the subscription goes on."""
        try:
            received = message_for(self._cell, wire.decode_published(message.body), {})
        except (SerdeError, DeclarationError) as error:
            self._cell.runtime.dead_letters.add(self._cell.path, message, f"from {message.topic}: {error}")
        else:
            await self._to.deliver(received)
