"""Topics: paths to which anybody who may publishes, and from which actors get messages into their mailboxes.

    await rt.publish("news/sport", Goal(by="…"))              here: a name below this runtime
    await rt.publish(path, Goal(by="…"))                      anywhere: a path that a link leads to
    await self.subscribe(path, below=True)                    an actor, usually in `on_start`; ends with each life

A message reaches the handler for its class; one that the actor has no handler for is a dead letter. What happens when
the actor is slow, its mailbox says: with RAISE whoever publishes waits for room; with DROP_NEW or DROP_OLD messages
become dead letters, and nobody waits. At most once; in the order of each publisher who waits for his own.

Topics of a runtime are reached from others below the names that it serves: `rt.serve_topics("news")`. EXECUTE on the
topic's path is the right to publish, and to subscribe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from btlib.paths import BlockPath

Topic: TypeAlias = BlockPath | str  #: a path, or a name below one's own runtime


class Unsubscribed(msgspec.Struct, frozen=True):
    """A message to a subscriber: a subscription in another runtime ended, and why. Subscribe again, or stop.

    Over `bttp.reconnecting` a lost link does not end it.
    """

    topic: str
    reason: str


class Lost(msgspec.Struct, frozen=True):
    """A message to a subscriber: so many messages of a topic were lost before the next, because it is slow.

    A count of 0: the link was lost and made again, and nobody knows how many there were meanwhile.
    """

    topic: str
    count: int


class Subscription:
    """One actor's subscription. It ends with `cancel`, or with the life of the actor that made it."""

    __slots__ = ("_end", "done", "topic")

    def __init__(self, topic: str, end: Callable[[], None]) -> None:
        self.topic = topic
        self.done = False
        self._end = end

    def cancel(self) -> None:
        """No more messages, beside those that wait in the mailbox. Idempotent."""
        if not self.done:
            self.done = True
            self._end()
