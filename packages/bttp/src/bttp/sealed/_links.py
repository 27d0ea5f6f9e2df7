"""Publishing to and reading a sealed topic over links, from async code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import TypeAlias

import anyio
from btlib.kinds import Kind
from btlib.paths import BlockPath

from .._broker import Subscription
from .._broker import subscribe as subscribe_plainly
from .._frames import Buffer
from .._link import Link
from .._reconnecting import LastingSubscription, ReconnectingLink
from .._topics import WhenSlow
from ..errors import BttpError
from ._asking import ASK_TIMEOUT, REFRESH, Asking, not_renewed
from ._reading import Reading
from ._receiver import SealedMessage
from ._topic import SealedTopic
from .errors import TopicKeyError

KeySource: TypeAlias = Callable[[], Awaitable[Buffer]]  #: gives the newest bundle of the keeper


def keys_from(link: Link | ReconnectingLink, path: BlockPath, timeout: float = ASK_TIMEOUT) -> KeySource:
    """The keeper that answers at `path`, or whoever keeps bundles there."""

    def ask() -> Awaitable[Buffer]:
        return link.call(path, timeout=timeout)

    return ask


class Publisher:
    """Publishes to a sealed topic over one link, one message after the other: so their numbers arrive in order."""

    def __init__(
        self,
        link: Link | ReconnectingLink,
        topic: SealedTopic,
        *,
        keys: KeySource | None = None,
        refresh: float = REFRESH,
    ) -> None:
        """`keys`: where to ask for the newest keys, each `refresh` seconds."""
        self._link, self._topic, self._session = link, topic, topic.session()
        self._keys, self._asking = keys, Asking(topic, refresh)
        self._turn = anyio.Lock()

    async def publish(self, body: Buffer, *, at: BlockPath | None = None, timeout: float | None = None) -> int:
        """Seal, sign, publish (to the topic, or `at` one below it); the number of subscribers.

        Raises as `Link.call` and `Session.seal`. A message that fails has used up its number: subscribers miss it.
        """
        async with self._turn:
            if self._keys is not None and self._asking.due(monotonic()):
                await self._ask(self._keys)
            sealed = self._session.seal(body, at)
            answer = await self._link.call(at or self._topic.path, sealed, timeout=timeout)
            return int.from_bytes(answer, "little")

    async def refresh(self) -> None:
        """Ask for keys now, for instance because somebody was removed. Raises TopicKeyError as `take_keys`."""
        async with self._turn:
            if self._keys is not None:
                await self._ask(self._keys)

    async def _ask(self, keys: KeySource) -> None:
        try:
            bundle = await keys()
        except BttpError as error:
            self._asking.failed(error, monotonic())
        else:
            self._asking.answered(bundle, monotonic())


class SealedSubscription:
    """Messages of a sealed topic, checked: iterate over it. `Reading` says what becomes of bad ones."""

    def __init__(
        self, messages: Subscription | LastingSubscription, topic: SealedTopic, keys: KeySource | None
    ) -> None:
        self._messages, self._keys = messages, keys
        self._reading = Reading(topic)

    @property
    def refusals(self) -> dict[Kind, int]:
        """Messages that were not delivered, by why."""
        return dict(self._reading.refusals)

    def __aiter__(self) -> SealedSubscription:
        return self

    async def __anext__(self) -> SealedMessage:
        """Raises as the plain subscription; TopicKeyError of kind FORBIDDEN where newer keys are not for this member,
        of kind STALE where there are newer ones and no `keys` to ask for them."""
        while True:
            message = await self._messages.__anext__()
            try:
                opened = self._reading.open(message)
            except TopicKeyError:
                if self._keys is None:
                    raise
                await self._ask(self._keys)
                opened = self._reading.open_at_last(message)
            if opened is not None:
                return opened

    async def _ask(self, keys: KeySource) -> None:
        if not self._reading.may_ask(monotonic()):
            return
        try:
            bundle = await keys()
        except BttpError as error:
            not_renewed(self._reading.topic, error)
        else:
            self._reading.topic.take_keys(bundle)


@asynccontextmanager
async def subscribe(
    link: Link | ReconnectingLink,
    topic: SealedTopic,
    *,
    below: bool = False,
    when_slow: WhenSlow = WhenSlow.BLOCK,
    queue: int = 256,
    keys: KeySource | None = None,
) -> AsyncIterator[SealedSubscription]:
    """As `bttp.subscribe`, for messages that only members can read. `keys`: where to ask for newer keys."""
    if keys is not None and not topic.epoch:
        topic.take_keys(await keys())
    async with _begin(link, topic.path, below, when_slow, queue) as messages:
        yield SealedSubscription(messages, topic, keys)


def _begin(
    link: Link | ReconnectingLink, path: BlockPath, below: bool, when_slow: WhenSlow, queue: int
) -> AbstractAsyncContextManager[Subscription | LastingSubscription]:
    if isinstance(link, ReconnectingLink):
        return link.subscribe(path, below=below, when_slow=when_slow, queue=queue)
    return subscribe_plainly(link, path, below=below, when_slow=when_slow, queue=queue)
