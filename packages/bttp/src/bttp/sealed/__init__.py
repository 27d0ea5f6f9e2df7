"""Topics whose broker cannot read them: sealed to their members, signed by who publishes."""

from ._keeper import TopicKeeper
from ._links import KeySource, Publisher, SealedSubscription, keys_from, subscribe
from ._receiver import SealedMessage
from ._topic import SealedTopic, Session, broker_check
from .errors import RefusedMessageError, TopicKeyError

__all__ = [
    "KeySource",
    "Publisher",
    "RefusedMessageError",
    "SealedMessage",
    "SealedSubscription",
    "SealedTopic",
    "Session",
    "TopicKeeper",
    "TopicKeyError",
    "broker_check",
    "keys_from",
    "subscribe",
]
