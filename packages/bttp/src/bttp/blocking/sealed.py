"""Publishing to and reading a sealed topic, from a thread. The rest is in `bttp.sealed`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import TypeAlias

from btlib.kinds import Kind
from btlib.paths import BlockPath

from .._frames import Buffer
from .._topics import WhenSlow
from ..errors import BttpError
from ..sealed import SealedMessage, SealedTopic, TopicKeyError
from ..sealed._asking import ASK_TIMEOUT, REFRESH, Asking, not_renewed
from ..sealed._reading import Reading
from ._link import BlockingLink
from ._reconnecting import BlockingLastingSubscription, BlockingReconnectingLink
from ._topics import BlockingSubscription
from ._topics import subscribe as subscribe_plainly

BlockingKeySource: TypeAlias = Callable[[], Buffer]  #: as `bttp.sealed.KeySource`


def keys_from(
    link: BlockingLink | BlockingReconnectingLink, path: BlockPath, timeout: float = ASK_TIMEOUT
) -> BlockingKeySource:
    """As `bttp.sealed.keys_from`."""
    return lambda: link.call(path, timeout=timeout)


class BlockingPublisher:
    """As `bttp.sealed.Publisher`, for any number of threads."""

    def __init__(
        self,
        link: BlockingLink | BlockingReconnectingLink,
        topic: SealedTopic,
        *,
        keys: BlockingKeySource | None = None,
        refresh: float = REFRESH,
    ) -> None:
        self._link, self._topic, self._session = link, topic, topic.session()
        self._keys, self._asking = keys, Asking(topic, refresh)
        self._turn = threading.Lock()

    def publish(self, body: Buffer, *, at: BlockPath | None = None, timeout: float | None = None) -> int:
        """As `Publisher.publish`."""
        with self._turn:
            if self._keys is not None and self._asking.due(monotonic()):
                self._ask(self._keys)
            sealed = self._session.seal(body, at)
            return int.from_bytes(self._link.call(at or self._topic.path, sealed, timeout=timeout), "little")

    def refresh(self) -> None:
        """As `Publisher.refresh`."""
        with self._turn:
            if self._keys is not None:
                self._ask(self._keys)

    def _ask(self, keys: BlockingKeySource) -> None:
        try:
            bundle = keys()
        except BttpError as error:
            self._asking.failed(error, monotonic())
        else:
            self._asking.answered(bundle, monotonic())


class BlockingSealedSubscription:
    """As `bttp.sealed.SealedSubscription`, for threads."""

    def __init__(
        self,
        messages: BlockingSubscription | BlockingLastingSubscription,
        topic: SealedTopic,
        keys: BlockingKeySource | None,
    ) -> None:
        self._messages, self._keys = messages, keys
        self._reading = Reading(topic)

    @property
    def refusals(self) -> dict[Kind, int]:
        """Messages that were not delivered, by why."""
        return dict(self._reading.refusals)

    def __iter__(self) -> BlockingSealedSubscription:
        return self

    def __next__(self) -> SealedMessage:
        """Raises as `SealedSubscription.__anext__`."""
        while True:
            message = next(self._messages)
            try:
                opened = self._reading.open(message)
            except TopicKeyError:
                if self._keys is None:
                    raise
                self._ask(self._keys)
                opened = self._reading.open_at_last(message)
            if opened is not None:
                return opened

    def _ask(self, keys: BlockingKeySource) -> None:
        if not self._reading.may_ask(monotonic()):
            return
        try:
            bundle = keys()
        except BttpError as error:
            not_renewed(self._reading.topic, error)
        else:
            self._reading.topic.take_keys(bundle)


@contextmanager
def subscribe(
    link: BlockingLink | BlockingReconnectingLink,
    topic: SealedTopic,
    *,
    below: bool = False,
    when_slow: WhenSlow = WhenSlow.BLOCK,
    queue: int = 256,
    keys: BlockingKeySource | None = None,
) -> Iterator[BlockingSealedSubscription]:
    """As `bttp.sealed.subscribe`."""
    if keys is not None and not topic.epoch:
        topic.take_keys(keys())
    with _begin(link, topic.path, below, when_slow, queue) as messages:
        yield BlockingSealedSubscription(messages, topic, keys)


def _begin(
    link: BlockingLink | BlockingReconnectingLink, path: BlockPath, below: bool, when_slow: WhenSlow, queue: int
) -> AbstractContextManager[BlockingSubscription | BlockingLastingSubscription]:
    if isinstance(link, BlockingReconnectingLink):
        return link.subscribe(path, below=below, when_slow=when_slow, queue=queue)
    return subscribe_plainly(link, path, below=below, when_slow=when_slow, queue=queue)
