"""The accounts of one subscription to a sealed topic: what was refused, and when to ask for newer keys.

A bad message is not delivered and does not end the subscription: else whoever sends one could end them all. It is
counted by its kind, and the first of each kind is logged; so a flood of them fills no disk.
"""

from __future__ import annotations

import logging
from collections import Counter

import msgspec
from btlib.kinds import Kind

from .._shell_base import log
from .._topics import Message
from ..errors import BttpError
from ._receiver import SealedMessage
from ._topic import SealedTopic
from .errors import RefusedMessageError, TopicKeyError

ASK_SECONDS = 1.0  #: between two questions for keys, on average: messages under keys that nobody has make no flood
ASKS_AT_ONCE = 8  #: a keeper may change the key several times within a second, as members come and go


class Reading:
    """See the module."""

    def __init__(self, topic: SealedTopic) -> None:
        self.topic = topic
        self.refusals: Counter[Kind] = Counter()  #: messages that were not delivered, by why
        self._questions, self._counted_at = float(ASKS_AT_ONCE), float("-inf")
        self._lost, self._gap = 0, False  # what refused messages told of those before them

    def open(self, message: Message) -> SealedMessage | None:
        """None: it was refused. Raises TopicKeyError where newer keys are needed first."""
        try:
            opened = self.topic.open(message)
        except RefusedMessageError as error:
            self.refuse(message, error)
            return None
        lost, gap = opened.lost + self._lost, opened.gap or self._gap
        self._lost, self._gap = 0, False
        return msgspec.structs.replace(opened, lost=lost, gap=gap)

    def open_at_last(self, message: Message) -> SealedMessage | None:
        """As `open`, after keys were asked for: what still does not open is refused."""
        try:
            return self.open(message)
        except TopicKeyError as error:
            self.refuse(message, error)
            return None

    def may_ask(self, now: float) -> bool:
        """Whether to ask for keys now (monotonic time); then it counts as asked."""
        earned = (now - self._counted_at) / ASK_SECONDS
        self._questions = min(ASKS_AT_ONCE, self._questions + earned)
        self._counted_at = now
        if self._questions < 1:
            return False
        self._questions -= 1
        return True

    def refuse(self, message: Message, error: BttpError) -> None:
        """Count it, and log the first of its kind."""
        self._lost, self._gap = self._lost + message.lost, self._gap or message.gap
        self.refusals[error.kind] += 1
        if self.refusals[error.kind] == 1:
            fields = {"event": "message refused", "path": str(message.topic), "kind": error.kind.name}
            log.log(logging.WARNING, "a message was refused: %s", error, extra={"fields": fields})
