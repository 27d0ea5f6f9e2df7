"""Publish and subscribe with back-pressure: events come when the subscriber wants more, so no queue grows."""

from __future__ import annotations

from btserde import U32, U64
from msgspec import Struct

from btrun.protocol import END, Protocol, Role, State


class Subscribe(Struct, frozen=True, kw_only=True):
    """Events of this topic, please."""

    topic: str


class Accepted(Struct, frozen=True, kw_only=True):
    """The subscription stands."""


class Denied(Struct, frozen=True, kw_only=True):
    """There is no such topic, or not for this subscriber."""

    reason: str


class More(Struct, frozen=True, kw_only=True):
    """Up to `limit` events, as soon as there is one."""

    limit: U32


class Events(Struct, frozen=True, kw_only=True):
    """What was published since; `lost` counts what this subscriber was too slow for."""

    events: tuple[bytes, ...]
    lost: U64


class Closed(Struct, frozen=True, kw_only=True):
    """The topic has ended."""


class Unsubscribe(Struct, frozen=True, kw_only=True):
    """No more."""


class News(Protocol):
    """A subscriber takes the events of one topic at its own pace."""

    subscriber = Role("wants events")
    broker = Role("has them")

    new = State("the subscriber names a topic")
    deciding = State("the broker looks whether the subscriber may have it", timeout=10)
    subscribed = State("the subscriber asks for events, or has enough")
    waiting = State("the broker waits for an event")

    new.lets(subscriber, {Subscribe: deciding})
    deciding.lets(broker, {Accepted: subscribed, Denied: END})
    subscribed.lets(subscriber, {More: waiting, Unsubscribe: END})
    waiting.lets(broker, {Events: subscribed, Closed: END})
