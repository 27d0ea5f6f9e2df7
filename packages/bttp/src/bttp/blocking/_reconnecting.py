"""A link that is made again whenever it is lost, for threads. As `bttp.ReconnectingLink`, which see.

One thread dials; each attempt has a thread of its own, which ends by itself, at the latest after `attempt_seconds`.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType

import msgspec
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations

from .._endpoints import Endpoint, Endpoints, Known, TcpEndpoint
from .._frames import Buffer
from .._limits import Limits
from .._policy import Policy
from .._redial import Pauses, Reconnection, Retry, Round
from .._router import Body, Router
from .._sockets import addresses_of, unresolved
from .._topics import Message, WhenSlow
from .._trace import TraceParent
from ..errors import (
    BttpError,
    ConnectionLostError,
    LocalProtocolError,
    NotSentError,
    RemoteError,
    UnreachableError,
)
from ._client import connect_to
from ._link import BlockingLink
from ._stream import BlockingStream
from ._topics import BlockingSubscription, subscribe

Who = Identity | Sequence[Identity] | None
Dial = Callable[[Endpoint, Who], BlockingLink]


class BlockingReconnectingLink:
    """A link to whichever of some endpoints answers, for any number of threads. Also a context that closes it."""

    def __init__(self, endpoints: Known, dial: Dial, identity: Who, settings: Reconnection) -> None:
        self._endpoints = endpoints
        self._dial = dial
        self._identity = identity
        self._settings = settings
        self._pauses = Pauses(settings)
        self._news = threading.Condition()  # the link, why there is none, or the end of an attempt
        self._link: BlockingLink | None = None
        self._links: set[BlockingLink] = set()  # the current one, and those that finish what is under way
        self._refusal: BttpError | None = None
        self._last: BttpError | None = None
        self._closed = False
        self.links_opened = 0  #: so far
        self._thread = threading.Thread(target=self._keep, name="bttp-reconnecting", daemon=True)
        self._thread.start()

    # --- what users see

    @property
    def link(self) -> BlockingLink | None:
        """The link that new calls take; None while there is none."""
        return self._link

    def ready(self, timeout: float | None = None) -> BlockingLink:
        """As `bttp.ReconnectingLink.ready`."""
        return self._usable(Retry(None, timeout, time.monotonic()))

    def call(
        self,
        path: BlockPath | str,
        body: Body = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: TraceParent | None = None,
    ) -> memoryview:
        """As `bttp.ReconnectingLink.call`."""
        retry = Retry(key, timeout, time.monotonic())
        while True:
            link = self._usable(retry)
            now = time.monotonic()
            repeat = retry.sending(link.peer_instance, now)
            try:
                return link.call(path, body, timeout=retry.remaining(now), key=key, trace=trace, repeat=repeat)
            except BttpError as error:
                pause = retry.after(error, repeat is not None, time.monotonic())
                if not isinstance(error, RemoteError):
                    self._leave(link, error)
            if pause:
                time.sleep(pause)

    def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None:
        """As `bttp.ReconnectingLink.send`."""
        while True:
            link = self.ready()
            try:
                return link.send(path, body, trace=trace)
            except (NotSentError, UnreachableError) as error:
                self._leave(link, error)

    @contextmanager
    def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> Iterator[BlockingStream]:
        """As `bttp.ReconnectingLink.stream`."""
        retry = Retry(None, timeout, time.monotonic())
        while True:
            link = self._usable(retry)
            try:
                stream = link.stream(path, body, timeout=retry.remaining(time.monotonic()), trace=trace)
                break
            except (NotSentError, UnreachableError) as error:
                self._leave(link, error)
        with stream:
            yield stream

    @contextmanager
    def subscribe(
        self, path: BlockPath, *, below: bool = False, when_slow: WhenSlow = WhenSlow.BLOCK, queue: int = 256
    ) -> Iterator[BlockingLastingSubscription]:
        """As `bttp.ReconnectingLink.subscribe`."""

        def begin(link: BlockingLink) -> AbstractContextManager[BlockingSubscription]:
            return subscribe(link, path, below=below, when_slow=when_slow, queue=queue)

        with ExitStack() as stack:
            lasting = BlockingLastingSubscription(self, begin, stack, self._settings.first_pause)
            lasting.begin()
            yield lasting

    def renew(self, identity: Identity | Sequence[Identity]) -> None:
        """As `bttp.ReconnectingLink.renew`."""
        self._identity = identity
        link = self._link
        if link is not None:
            for each in (identity,) if isinstance(identity, Identity) else identity:
                link.prove(each)

    def drain(self, timeout: float = 5.0) -> bool:
        """As `bttp.ReconnectingLink.drain`."""
        until = time.monotonic() + timeout
        with self._news:
            self._closed = True
            links = tuple(self._links)
        done = [link.drain(max(0.0, until - time.monotonic())) for link in links]
        self.close()
        return all(done)

    def close(self) -> None:
        """End all links, and make no more. May be called again."""
        with self._news:
            self._closed = True
            self._link = None
            links = tuple(self._links)
            self._news.notify_all()
        for link in links:
            link.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> BlockingReconnectingLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._link or 'without a link'}>"

    # --- inside

    def _usable(self, retry: Retry) -> BlockingLink:
        with self._news:
            while (link := self._link) is None:
                if self._closed:
                    raise LocalProtocolError("this reconnecting link was closed")
                if self._refusal is not None:
                    raise self._refusal
                remaining = retry.remaining(time.monotonic())
                if not self._news.wait(remaining) and self._link is None:
                    raise retry.late(self._last)
            return link

    def _keep(self) -> None:
        """Dial whenever there is no link."""
        pause = 0.0
        while self._paused(pause):
            link = self._round()
            if link is None:
                pause = self._pauses.failed(random.random())
                continue
            began = time.monotonic()
            with self._news:
                self._news.wait_for(lambda link=link: self._link is not link)  # type: ignore[misc]
            lived = time.monotonic() - began
            pause = 0.0 if link.draining else self._pauses.lost(lived, random.random())

    def _paused(self, pause: float) -> bool:
        with self._news:
            self._news.wait_for(lambda: self._closed, pause)
            return not self._closed

    def _round(self) -> BlockingLink | None:
        """Try every candidate; the link that won."""
        candidates = self._candidates()
        with self._news:
            attempts = Round(candidates, self._settings.stagger, time.monotonic())
            while not attempts.over and not self._closed:
                while (candidate := attempts.start(time.monotonic())) is not None:
                    self._begin_attempt(candidate, attempts)
                due = attempts.next_time()
                self._news.wait(None if due is None else max(0.0, due - time.monotonic()))
            if not attempts.won:
                self._refusal = attempts.refusal
                self._last = attempts.errors[-1] if attempts.errors else self._last
                self._news.notify_all()
            return self._link

    def _begin_attempt(self, candidate: Endpoint, attempts: Round) -> None:
        name = f"bttp-dialing-{candidate}"
        threading.Thread(target=self._attempt, args=(candidate, attempts), name=name, daemon=True).start()

    def _attempt(self, candidate: Endpoint, attempts: Round) -> None:
        try:
            link = self._dial(candidate, self._identity)
        except BttpError as error:
            with self._news:
                attempts.failed(error, time.monotonic())
                self._news.notify_all()
            return
        with self._news:
            wanted = not (attempts.won or self._closed)
            if wanted:
                attempts.won = True
                self._link, self._refusal, self._last = link, None, None
                self._links.add(link)
                self.links_opened += 1
                self._news.notify_all()
        if wanted:
            link.on_close(lambda: self._gone(link))
            link.on_drain(lambda: self._leave(link, None))
        else:
            link.close()

    def _candidates(self) -> list[Endpoint]:
        candidates: list[Endpoint] = []
        try:
            known = self._endpoints.now()
        except UnreachableError as error:
            self._last = error
            return []
        for endpoint in known:
            if not isinstance(endpoint, TcpEndpoint):
                candidates.append(endpoint)
                continue
            try:
                found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            except OSError as error:
                self._last = unresolved(endpoint, error)
            else:
                candidates += addresses_of(endpoint, found)
        return candidates

    def _gone(self, link: BlockingLink) -> None:
        with self._news:
            self._links.discard(link)
        self._leave(link, link.reason)

    def _leave(self, link: BlockingLink, error: BttpError | None) -> None:
        """New calls take another link."""
        with self._news:
            if self._link is link:
                self._link, self._last = None, error or self._last
                self._news.notify_all()


class BlockingLastingSubscription:
    """Messages of a topic over as many links as it takes; as `bttp.LastingSubscription`."""

    def __init__(
        self,
        link: BlockingReconnectingLink,
        begin: Callable[[BlockingLink], AbstractContextManager[BlockingSubscription]],
        stack: ExitStack,
        pause: float,
    ) -> None:
        self._link = link
        self._begin = begin
        self._stack = stack
        self._pause = pause
        self._current: BlockingSubscription | None = None
        self._lost = 0  # on earlier links
        self.gaps = 0  #: how often it was interrupted; what was published meanwhile is lost, and nobody knows how much

    @property
    def lost(self) -> int:
        """Messages lost so far because this side was slow, as far as the broker could tell."""
        return self._lost + (0 if self._current is None else self._current.lost)

    def begin(self) -> None:
        """Subscribe on the current link, or the next."""
        while self._current is None:
            link = self._link.ready()
            try:
                self._current = self._stack.enter_context(self._begin(link))
            except (ConnectionLostError, UnreachableError):
                self._interrupted()

    def _interrupted(self) -> None:
        self._lost, self._current = self.lost, None
        self._stack.close()
        time.sleep(self._pause)

    def __iter__(self) -> BlockingLastingSubscription:
        return self

    def __next__(self) -> Message:
        gap = False
        while True:
            self.begin()
            assert self._current is not None
            try:
                message = next(self._current)
            except ConnectionLostError:
                self.gaps += 1
                gap = True
                self._interrupted()
            else:
                return msgspec.structs.replace(message, gap=True) if gap else message


def reconnecting(
    endpoints: Endpoints,
    identity: Identity | Sequence[Identity] | None,
    *,
    root: Principal,
    server: BlockPath | None = None,
    settings: Reconnection = Reconnection(),  # noqa: B008 - a frozen value
    limits: Limits = Limits(),  # noqa: B008
    router: Router | None = None,
    policy: Policy | None = None,
    revocations: Callable[[Principal], Revocations] = lambda _root: NO_REVOCATIONS,
) -> BlockingReconnectingLink:
    """As `bttp.reconnecting`. Close it, or use it as a context."""
    places = Known(endpoints)

    def dial(place: Endpoint, who: Who) -> BlockingLink:
        return connect_to(
            place,
            who,
            root=root,
            server=server,
            timeout=settings.attempt_seconds,
            limits=limits,
            router=router,
            policy=policy,
            revocations=revocations,
        )

    return BlockingReconnectingLink(places, dial, identity, settings)
