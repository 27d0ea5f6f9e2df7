"""What the tests of sealed topics play on: a domain, a broker that obeys a script, and each shell for a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Protocol

import bttp
import bttp.blocking
import bttp.blocking.sealed
from anyio.from_thread import BlockingPortal, start_blocking_portal
from btlib import BlockPath, Identity, Rights
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from bttp import sealed
from bttp._topics import SUBSCRIBED, encode_message

WAIT = 10.0
DOMAIN = make_domain_identities("keeper", "sensor")
DOMAIN.members["server"] = DOMAIN.issue("server", ("broker",))  # serves there, and may not write in topics
DOMAIN.members["display"] = DOMAIN.issue("display", rights=Rights.EXECUTE)
DOMAIN.members["eve"] = DOMAIN.issue("eve", rights=Rights.EXECUTE)
TOPICS = DOMAIN.path.child("topics")
WARM, COLD = TOPICS.child("warm"), TOPICS.child("cold")
KEYS = DOMAIN.path.child("keys")

Delivery = tuple[BlockPath, bytes]
Script = Callable[["EvilBroker", BlockPath, bytes], list[Delivery]]


def honest(_broker: EvilBroker, topic: BlockPath, body: bytes) -> list[Delivery]:
    return [(topic, body)]


class EvilBroker:
    """Has the place of a broker, and tells subscribers what a script says."""

    def __init__(self, script: Script = honest) -> None:
        self.script = script
        self.seen: list[bytes] = []  #: everything that was published
        self._streams: list[bttp.Stream] = []

    def add_to(self, router: bttp.Router, prefix: BlockPath) -> None:
        router.add(prefix, self._take)
        router.add_stream(prefix, self._subscribe)

    async def _take(self, request: bttp.Request) -> bytes:
        self.seen.append(bytes(request.body))
        told = self.script(self, request.path, self.seen[-1])
        for stream in self._streams:
            for topic, body in told:
                await stream.send(encode_message(topic, body))
        return len(self._streams).to_bytes(4, "little")

    async def _subscribe(self, stream: bttp.Stream) -> None:
        await stream.send(SUBSCRIBED)
        self._streams.append(stream)
        try:
            await stream.receive()  # until the subscriber leaves
        finally:
            self._streams.remove(stream)


class Publishes(Protocol):
    def publish(self, body: bytes, *, at: BlockPath | None = None, timeout: float | None = None) -> int: ...

    def refresh(self) -> None: ...


class Reads(Protocol):
    @property
    def refusals(self) -> dict[Kind, int]: ...

    def __next__(self) -> sealed.SealedMessage: ...


class Shell(Protocol):
    """A client, as a thread uses it. `keys`: whether to ask for keys at KEYS."""

    def publisher(
        self, endpoint: str, who: Identity, topic: sealed.SealedTopic, *, keys: bool = False
    ) -> AbstractContextManager[Publishes]: ...

    def subscriber(
        self,
        endpoint: str,
        who: Identity,
        topic: sealed.SealedTopic,
        *,
        keys: bool = False,
        below: bool = False,
        lasting: bool = False,
    ) -> AbstractContextManager[Reads]: ...


class Threads:
    """The blocking shell."""

    @contextmanager
    def publisher(
        self, endpoint: str, who: Identity, topic: sealed.SealedTopic, *, keys: bool = False
    ) -> Iterator[Publishes]:
        with bttp.blocking.connect(endpoint, who, root=DOMAIN.principal) as link:
            source = bttp.blocking.sealed.keys_from(link, KEYS) if keys else None
            yield bttp.blocking.sealed.BlockingPublisher(link, topic, keys=source)

    @contextmanager
    def subscriber(
        self,
        endpoint: str,
        who: Identity,
        topic: sealed.SealedTopic,
        *,
        keys: bool = False,
        below: bool = False,
        lasting: bool = False,
    ) -> Iterator[Reads]:
        connect = bttp.blocking.reconnecting([endpoint], who, root=DOMAIN.principal) if lasting else None
        connecting = connect or bttp.blocking.connect(endpoint, who, root=DOMAIN.principal)
        with connecting as link:
            source = bttp.blocking.sealed.keys_from(link, KEYS) if keys else None
            with bttp.blocking.sealed.subscribe(link, topic, below=below, keys=source) as messages:
                yield messages


class _PortalPublisher:
    def __init__(self, portal: BlockingPortal, publisher: sealed.Publisher) -> None:
        self._portal, self._publisher = portal, publisher

    def publish(self, body: bytes, *, at: BlockPath | None = None, timeout: float | None = None) -> int:
        return self._portal.call(partial(self._publisher.publish, body, at=at, timeout=timeout))

    def refresh(self) -> None:
        self._portal.call(self._publisher.refresh)


class _PortalSubscription:
    def __init__(self, portal: BlockingPortal, messages: sealed.SealedSubscription) -> None:
        self._portal, self._messages = portal, messages

    @property
    def refusals(self) -> dict[Kind, int]:
        return self._messages.refusals

    def __next__(self) -> sealed.SealedMessage:
        return self._portal.call(self._messages.__anext__)


class Loop:
    """The async shell on one backend."""

    def __init__(self, backend: str) -> None:
        self._backend = backend

    @contextmanager
    def publisher(
        self, endpoint: str, who: Identity, topic: sealed.SealedTopic, *, keys: bool = False
    ) -> Iterator[Publishes]:
        with start_blocking_portal(self._backend) as portal:
            connecting = bttp.connect(endpoint, who, root=DOMAIN.principal)
            with portal.wrap_async_context_manager(connecting) as link:
                source = sealed.keys_from(link, KEYS) if keys else None
                publisher = portal.call(partial(sealed.Publisher, link, topic, keys=source))
                yield _PortalPublisher(portal, publisher)

    @contextmanager
    def subscriber(
        self,
        endpoint: str,
        who: Identity,
        topic: sealed.SealedTopic,
        *,
        keys: bool = False,
        below: bool = False,
        lasting: bool = False,
    ) -> Iterator[Reads]:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(self._backend))
            link: bttp.Link | bttp.ReconnectingLink
            if lasting:
                reconnecting = bttp.reconnecting([endpoint], who, root=DOMAIN.principal)
                link = stack.enter_context(portal.wrap_async_context_manager(reconnecting))
            else:
                connecting = bttp.connect(endpoint, who, root=DOMAIN.principal)
                link = stack.enter_context(portal.wrap_async_context_manager(connecting))
            source = sealed.keys_from(link, KEYS) if keys else None
            subscribing = sealed.subscribe(link, topic, below=below, keys=source)
            yield _PortalSubscription(portal, stack.enter_context(portal.wrap_async_context_manager(subscribing)))


SHELLS: dict[str, Shell] = {"threads": Threads(), "asyncio": Loop("asyncio"), "trio": Loop("trio")}


class Play:
    """A keeper, a broker and a server, and what one says to them."""

    def __init__(self, shell: Shell, broker: EvilBroker | bttp.Broker, members: tuple[str, ...]) -> None:
        self.shell, self.broker = shell, broker
        self.offsets: dict[str, float] = {}  #: seconds by which the clocks of topics made from now on are ahead
        self.keeper = sealed.TopicKeeper(DOMAIN["keeper"], WARM, [DOMAIN[name].public for name in members])
        self.router = bttp.Router()
        broker.add_to(self.router, TOPICS)
        self.answer: Callable[[bttp.Request], bytes] = self.keeper.answer  #: what answers at KEYS
        self.router.add(KEYS, lambda request: self.answer(request))
        self.endpoint = ""
        self.server: bttp.blocking.BlockingServer | None = None

    def topic(self, name: str, who: Identity | None = None) -> sealed.SealedTopic:
        offset = self.offsets.get(name, 0.0)
        return sealed.SealedTopic(WARM, who or DOMAIN[name], self.keeper.bundle, clock=lambda: time.time() + offset)

    @contextmanager
    def both(self, *, below: bool = False) -> Iterator[tuple[Publishes, Reads]]:
        """The sensor publishes, the display reads."""
        with (
            self.shell.subscriber(self.endpoint, DOMAIN["display"], self.topic("display"), below=below) as reads,
            self.shell.publisher(self.endpoint, DOMAIN["sensor"], self.topic("sensor")) as publishes,
        ):
            yield publishes, reads


@contextmanager
def playing(
    shell: Shell, broker: EvilBroker | bttp.Broker, members: tuple[str, ...] = ("sensor", "display")
) -> Iterator[Play]:
    play = Play(shell, broker, members)
    with bttp.blocking.serve(["127.0.0.1:0"], DOMAIN["server"], play.router, roots=[DOMAIN.principal]) as server:
        play.endpoint, play.server = server.endpoints[0], server
        yield play


def read(reads: Reads) -> sealed.SealedMessage:
    """The next message, which must not keep the test waiting for ever."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(next, reads).result(WAIT)
    finally:
        pool.shutdown(wait=False)
