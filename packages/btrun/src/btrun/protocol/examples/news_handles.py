"""Handles of News: what each role may do in each of its states.

Generated from btrun.protocol.examples.news; do not edit. To make it again:
bt protocol handles btrun.protocol.examples.news:News
"""

# fmt: off
# ruff: noqa

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple, overload

from msgspec import Struct

import btrun.protocol.examples.news as declared
from btrun.protocol import Ended, Handle, Side, Taking

FINGERPRINT: Final = 0x41BCD7A630D1ABA9


class SubscriberNew(Handle):
    """As the subscriber: the subscriber names a topic."""

    state: ClassVar[str] = "new"

    __slots__ = ()

    def send(self, message: declared.Subscribe) -> Taking[SubscriberDeciding]:
        return self._send(message)


class SubscriberDeciding(Handle):
    """As the subscriber: the broker looks whether the subscriber may have it."""

    state: ClassVar[str] = "deciding"

    __slots__ = ()

    class Accepted(NamedTuple):
        message: declared.Accepted
        then: SubscriberSubscribed

    class Denied(NamedTuple):
        message: declared.Denied
        then: Ended

    def receive(self) -> Taking[Accepted | Denied]:
        return self._receive()


class SubscriberSubscribed(Handle):
    """As the subscriber: the subscriber asks for events, or has enough."""

    state: ClassVar[str] = "subscribed"

    __slots__ = ()

    @overload
    def send(self, message: declared.More) -> Taking[SubscriberWaiting]: ...

    @overload
    def send(self, message: declared.Unsubscribe) -> Taking[Ended]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class SubscriberWaiting(Handle):
    """As the subscriber: the broker waits for an event."""

    state: ClassVar[str] = "waiting"

    __slots__ = ()

    class Events(NamedTuple):
        message: declared.Events
        then: SubscriberSubscribed

    class Closed(NamedTuple):
        message: declared.Closed
        then: Ended

    def receive(self) -> Taking[Events | Closed]:
        return self._receive()


class BrokerNew(Handle):
    """As the broker: the subscriber names a topic."""

    state: ClassVar[str] = "new"

    __slots__ = ()

    class Subscribe(NamedTuple):
        message: declared.Subscribe
        then: BrokerDeciding

    def receive(self) -> Taking[Subscribe]:
        return self._receive()


class BrokerDeciding(Handle):
    """As the broker: the broker looks whether the subscriber may have it."""

    state: ClassVar[str] = "deciding"

    __slots__ = ()

    @overload
    def send(self, message: declared.Accepted) -> Taking[BrokerSubscribed]: ...

    @overload
    def send(self, message: declared.Denied) -> Taking[Ended]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class BrokerSubscribed(Handle):
    """As the broker: the subscriber asks for events, or has enough."""

    state: ClassVar[str] = "subscribed"

    __slots__ = ()

    class More(NamedTuple):
        message: declared.More
        then: BrokerWaiting

    class Unsubscribe(NamedTuple):
        message: declared.Unsubscribe
        then: Ended

    def receive(self) -> Taking[More | Unsubscribe]:
        return self._receive()


class BrokerWaiting(Handle):
    """As the broker: the broker waits for an event."""

    state: ClassVar[str] = "waiting"

    __slots__ = ()

    @overload
    def send(self, message: declared.Events) -> Taking[BrokerSubscribed]: ...

    @overload
    def send(self, message: declared.Closed) -> Taking[Ended]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


as_subscriber: Final = Side(
    declared.News,
    "subscriber",
    SubscriberNew,
    (SubscriberDeciding, SubscriberSubscribed, SubscriberWaiting),
    fingerprint=FINGERPRINT,
)

as_broker: Final = Side(
    declared.News,
    "broker",
    BrokerNew,
    (BrokerDeciding, BrokerSubscribed, BrokerWaiting),
    fingerprint=FINGERPRINT,
)
