"""A link that is made again whenever it is lost, for async code on any loop.

It dials its endpoints (`_redial` says whom and when) and keeps one open link. Calls wait for it, up to their deadline.
A link whose server goes away (GOAWAY) finishes what is under way on it, while new calls take the next. What was sent on
a link that was then lost is repeated only with an idempotency key. It does not hide that messages may be lost: `send`
is at most once, and a subscription that was interrupted says so.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
import anyio.abc
import msgspec
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations

from ._broker import Subscription, subscribe
from ._client import connect_to
from ._endpoints import Endpoint, Endpoints, Known, TcpEndpoint
from ._frames import Buffer
from ._limits import Limits
from ._link import Link
from ._policy import Policy
from ._redial import Pauses, Reconnection, Retry, Round
from ._router import Body, Router
from ._sockets import addresses_of, unresolved
from ._stream import Stream
from ._topics import Message, WhenSlow
from ._trace import TraceParent
from .errors import BttpError, ConnectionLostError, LocalProtocolError, NotSentError, RemoteError, UnreachableError

Who = Identity | Sequence[Identity] | None
Dial = Callable[[Endpoint, Who], AbstractAsyncContextManager[Link]]


class ReconnectingLink:
    """A link to whichever of some endpoints answers, for as long as its context lasts."""

    def __init__(
        self,
        endpoints: Known,
        dial: Dial,
        identity: Who,
        settings: Reconnection,
        group: anyio.abc.TaskGroup,
    ) -> None:
        self._endpoints = endpoints  # the one that is to be tried first, first
        self._dial = dial
        self._identity = identity
        self._settings = settings
        self._group = group
        self._pauses = Pauses(settings)
        self._link: Link | None = None
        self._links: set[Link] = set()  # the current one, and those that finish what is under way
        self._changed = anyio.Event()  # the link, or why there is none
        self._bell = anyio.Event()  # an attempt has ended
        self._refusal: BttpError | None = None
        self._last: BttpError | None = None
        self._closed = False
        self.links_opened = 0  #: so far

    # --- what users see

    @property
    def link(self) -> Link | None:
        """The link that new calls take; None while there is none."""
        return self._link

    async def ready(self, timeout: float | None = None) -> Link:
        """Wait for an open link. Raises DeadlineError; AuthenticationError where every server refuses this client."""
        return await self._usable(Retry(None, timeout, anyio.current_time()))

    async def call(
        self,
        path: BlockPath | str,
        body: Body = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: TraceParent | None = None,
    ) -> memoryview:
        """As `Link.call`, but it waits for a link, within `timeout`; and with a `key` a call whose link was lost is
        repeated on the next, until its deadline. Raises DeadlineError also where there was no link in time.
        """
        retry = Retry(key, timeout, anyio.current_time())
        while True:
            link = await self._usable(retry)
            now = anyio.current_time()
            repeat = retry.sending(link.peer_instance, now)
            try:
                return await link.call(path, body, timeout=retry.remaining(now), key=key, trace=trace, repeat=repeat)
            except BttpError as error:
                pause = retry.after(error, repeat is not None, anyio.current_time())
                if not isinstance(error, RemoteError):
                    self._leave(link, error)
            if pause:
                await anyio.sleep(pause)

    async def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None:
        """As `Link.send`, but it waits for a link. At most once: what a lost link had not delivered is lost."""
        while True:
            link = await self.ready()
            try:
                return await link.send(path, body, trace=trace)
            except (NotSentError, UnreachableError) as error:
                self._leave(link, error)

    @asynccontextmanager
    async def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> AsyncIterator[Stream]:
        """As `Link.stream`, on the next open link. A stream ends with its link."""
        retry = Retry(None, timeout, anyio.current_time())
        while True:
            link = await self._usable(retry)
            try:
                stream = link.stream(path, body, timeout=retry.remaining(anyio.current_time()), trace=trace)
                break
            except (NotSentError, UnreachableError) as error:
                self._leave(link, error)
        async with stream:
            yield stream

    @asynccontextmanager
    async def subscribe(
        self, path: BlockPath, *, below: bool = False, when_slow: WhenSlow = WhenSlow.BLOCK, queue: int = 256
    ) -> AsyncIterator[LastingSubscription]:
        """As `bttp.subscribe`, over as many links as it takes: the first message after a new one has `gap` set."""

        def begin(link: Link) -> AbstractAsyncContextManager[Subscription]:
            return subscribe(link, path, below=below, when_slow=when_slow, queue=queue)

        async with AsyncExitStack() as stack:
            lasting = LastingSubscription(self, begin, stack, self._settings.first_pause)
            await lasting.begin()
            yield lasting

    async def renew(self, identity: Identity | Sequence[Identity]) -> None:
        """Speak as this on links to come, and prove it on the present one. Raises as `Link.prove`."""
        self._identity = identity
        link = self._link
        if link is not None:
            for each in (identity,) if isinstance(identity, Identity) else identity:
                await link.prove(each)

    async def drain(self, timeout: float = 5.0) -> bool:
        """Let what is under way finish, and end. False: some of it was cut off after `timeout` seconds."""
        self._closed = True
        done: list[bool] = []

        async def drain_one(link: Link) -> None:
            done.append(await link.drain(timeout))

        async with anyio.create_task_group() as group:
            for link in tuple(self._links):
                group.start_soon(drain_one, link)
        await self.aclose()
        return all(done)

    async def aclose(self) -> None:
        """End all links, and make no more."""
        self._closed = True
        self._link = None
        self._tell()
        for link in tuple(self._links):
            await link.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._link or 'without a link'}>"

    # --- inside

    async def _usable(self, retry: Retry) -> Link:
        while (link := self._link) is None:
            if self._closed:
                raise LocalProtocolError("this reconnecting link was closed")
            if self._refusal is not None:
                raise self._refusal
            changed = self._changed
            with anyio.move_on_after(retry.remaining(anyio.current_time())):
                await changed.wait()
            if not changed.is_set():
                raise retry.late(self._last)
        return link

    async def keep(self) -> None:
        """Dial whenever there is no link."""
        pause = 0.0
        while not self._closed:
            await anyio.sleep(pause)
            link = await self._round()
            if link is None:
                pause = self._pauses.failed(random.random())
                continue
            began = anyio.current_time()
            while self._link is link:
                await self._changed.wait()
            lived = anyio.current_time() - began
            pause = 0.0 if link.draining else self._pauses.lost(lived, random.random())

    async def _round(self) -> Link | None:
        """Try every candidate; the link that won."""
        attempts = Round(await self._candidates(), self._settings.stagger, anyio.current_time())
        running: set[anyio.CancelScope] = set()
        while not attempts.over:
            while (candidate := attempts.start(anyio.current_time())) is not None:
                self._group.start_soon(self._attempt, candidate, attempts, running)
            self._bell = anyio.Event()
            due = attempts.next_time()
            with anyio.move_on_after(None if due is None else due - anyio.current_time()):
                await self._bell.wait()
        if not attempts.won:
            self._refusal = attempts.refusal
            self._last = attempts.errors[-1] if attempts.errors else self._last
            self._tell()
        return self._link

    async def _attempt(self, candidate: Endpoint, attempts: Round, running: set[anyio.CancelScope]) -> None:
        """One attempt; if it wins, for as long as its link lives."""
        with anyio.CancelScope() as scope:
            running.add(scope)
            try:
                async with self._dial(candidate, self._identity) as link:
                    running.discard(scope)
                    if attempts.won or self._closed:
                        return
                    attempts.won = True
                    for other in running:
                        other.cancel()
                    self._adopt(link)
                    try:
                        await link.wait_closed()
                    finally:
                        self._links.discard(link)
            except BttpError as error:
                running.discard(scope)
                attempts.failed(error, anyio.current_time())
                self._bell.set()

    async def _candidates(self) -> list[Endpoint]:
        candidates: list[Endpoint] = []
        for endpoint in await self._known():
            if not isinstance(endpoint, TcpEndpoint):
                candidates.append(endpoint)
                continue
            try:
                found = await anyio.getaddrinfo(endpoint.host, endpoint.port, type=1)
            except OSError as error:
                self._last = unresolved(endpoint, error)
            else:
                candidates += addresses_of(endpoint, found)
        return candidates

    async def _known(self) -> list[Endpoint]:
        if not self._endpoints.changing:
            return self._endpoints.now()
        try:
            return await anyio.to_thread.run_sync(self._endpoints.now)  # it may read files
        except UnreachableError as error:
            self._last = error
            return []

    def _adopt(self, link: Link) -> None:
        self._link, self._refusal, self._last = link, None, None
        self._links.add(link)
        self.links_opened += 1
        self._tell()
        self._bell.set()
        link.on_close(lambda: self._leave(link, link.reason))
        link.on_drain(lambda: self._leave(link, None))

    def _leave(self, link: Link, error: BttpError | None) -> None:
        """New calls take another link."""
        if self._link is link:
            self._link, self._last = None, error or self._last
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class LastingSubscription:
    """Messages of a topic over as many links as it takes: iterate over it. It ends with the broker's reason."""

    def __init__(
        self,
        link: ReconnectingLink,
        begin: Callable[[Link], AbstractAsyncContextManager[Subscription]],
        stack: AsyncExitStack,
        pause: float,
    ) -> None:
        self._link = link
        self._begin = begin
        self._stack = stack
        self._pause = pause
        self._current: Subscription | None = None
        self._lost = 0  # on earlier links
        self.gaps = 0  #: how often it was interrupted; what was published meanwhile is lost, and nobody knows how much

    @property
    def lost(self) -> int:
        """Messages lost so far because this side was slow, as far as the broker could tell."""
        return self._lost + (0 if self._current is None else self._current.lost)

    async def begin(self) -> None:
        """Subscribe on the current link, or the next."""
        while self._current is None:
            link = await self._link.ready()
            try:
                self._current = await self._stack.enter_async_context(self._begin(link))
            except (ConnectionLostError, UnreachableError):
                await self._interrupted()

    async def _interrupted(self) -> None:
        self._lost, self._current = self.lost, None
        await self._stack.aclose()
        await anyio.sleep(self._pause)

    def __aiter__(self) -> LastingSubscription:
        return self

    async def __anext__(self) -> Message:
        gap = False
        while True:
            await self.begin()
            assert self._current is not None
            try:
                message = await self._current.__anext__()
            except ConnectionLostError:
                self.gaps += 1
                gap = True
                await self._interrupted()
            else:
                return msgspec.structs.replace(message, gap=True) if gap else message


@asynccontextmanager
async def reconnecting(
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
) -> AsyncIterator[ReconnectingLink]:
    """A link that is made anew whenever it is lost, to whichever of `endpoints` answers first.

    It returns at once; calls wait for the link, and `ready` does. Where endpoints change, a function gives them: it is
    asked before each round of dialing, in a thread. The other arguments are those of `connect`.
    """
    places = Known(endpoints)

    def dial(place: Endpoint, who: Who) -> AbstractAsyncContextManager[Link]:
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

    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        link = ReconnectingLink(places, dial, identity, settings, group)
        group.start_soon(link.keep)
        try:
            yield link
        except Exception as error:  # carried past the task group, which would wrap it
            failure = error
        await link.aclose()
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
