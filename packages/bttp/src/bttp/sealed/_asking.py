"""When a publisher asks for newer keys, and what becomes of an answer or of none. For tasks and threads alike.

A question that fails leaves the keys that there are: they do until their end, which the sealing looks at. It is asked
again after the usual time. What does not fail quietly: an answer that is no bundle for this member, and having no keys.
"""

from __future__ import annotations

import logging

from .._frames import Buffer
from .._shell_base import log
from ..errors import BttpError
from ._topic import SealedTopic
from .errors import TopicKeyError

ASK_TIMEOUT = 10.0  #: seconds that a question for keys may take
REFRESH = 60.0  #: seconds after which a publisher asks again: how long it may seal to who was removed


class Asking:
    """The questions of one publisher. Times are monotonic."""

    def __init__(self, topic: SealedTopic, refresh: float) -> None:
        self._topic, self._refresh = topic, refresh
        self._asked = float("-inf")

    def due(self, now: float) -> bool:
        """Whether it is time to ask again."""
        return now - self._asked >= self._refresh

    def answered(self, bundle: Buffer, now: float) -> None:
        """Raises TopicKeyError as `take_keys`."""
        self._topic.take_keys(bundle)
        self._asked = now

    def failed(self, error: BttpError, now: float) -> None:
        """Raises the error where there are no keys yet, or it says that these keys are not for this member."""
        if isinstance(error, TopicKeyError) or not self._topic.epoch:
            raise error
        not_renewed(self._topic, error)
        self._asked = now


def not_renewed(topic: SealedTopic, error: BttpError) -> None:
    """A line for who looks for the reason."""
    fields = {"event": "keys not renewed", "path": str(topic.path), "kind": error.kind.name}
    log.log(logging.WARNING, "the keys of %s are not renewed yet: %s", topic.path, error, extra={"fields": fields})
