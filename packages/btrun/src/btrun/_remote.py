"""Where a reference to an actor of another runtime leads: requests over a link.

What is the same: the calls and their errors, deadlines, cancellation, cycles found at once, monitors. What differs, and
is told: every use may end in UnavailableError; a `send` only queues here, and nothing tells if the link then breaks;
messages are encoded, so their classes must be. Links (`Ref.link`) do not cross runtimes: monitor instead.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from bttp.errors import (
    BttpError,
    ConnectionLostError,
    DeadlineError,
    LocalProtocolError,
    NotSentError,
    RemoteError,
    UnreachableError,
)

from . import _wire as wire
from ._calls import chain_of, check_chain
from ._pool import Worker, current_worker
from .errors import CallTimeoutError, MailboxFullError, NoLinkError, UnavailableError, UsageError
from .mailboxes import DEFAULT_LIMIT
from .reasons import Down, Unreachable
from .refs import UNSET, Ref, Unset

if TYPE_CHECKING:
    from ._carriers import Carrier
    from ._runtime import Runtime
    from ._watching import Watcher


class Way:
    """What all calls of one actor with one class of messages have in common."""

    __slots__ = ("answer", "head", "message")

    def __init__(self, cls: type, incarnation: int) -> None:
        """Raises DeclarationError."""
        self.answer = wire.answer_type(cls)
        self.message = wire.message_type(cls)
        self.head = wire.request_head(wire.Verb.ASK, incarnation, self.message)


class RemoteTarget:
    """The way to one actor."""

    def __init__(self, runtime: Runtime, ref: Ref) -> None:
        self._runtime = runtime
        self._ref = ref
        self._path, self._carriers = ref.path, runtime.carriers
        self._outbox: deque[bytes] = deque()  # sends that wait for room in the link, in order
        self._sending = False
        self._ways: dict[type, Way] = {}
        self._known: Carrier | None = None
        self._version = -1  # that of the carriers when `_known` was found: it changes whenever one closes

    def send(self, message: object) -> bool:
        """See Ref.send."""
        if len(self._outbox) >= DEFAULT_LIMIT:
            raise MailboxFullError(
                f"{DEFAULT_LIMIT} messages for {self._ref.path} wait for room in the link (DEFAULT_LIMIT)",
                hint="send slower, or call instead",
            )
        self._post(self._request(wire.Verb.TELL, message))
        return True

    async def call(self, message: object, *, timeout: float | Unset | None = UNSET, shielded: bool = False) -> object:
        """See Ref.call."""
        cls: type = message.__class__
        way = self._ways.get(cls)
        if way is None:
            way = self._ways[cls] = Way(cls, self._ref.incarnation)
        if shielded:
            raise UsageError("the caller cannot shield a handler of another runtime", hint="use @handle(shielded=True)")
        if timeout is UNSET:
            timeout = self._runtime.call_timeout
        worker = current_worker.get()
        if worker is None:
            head = way.head
        else:
            head, timeout = self._from_within(worker, way, message, timeout)  # type: ignore[arg-type]
        body = way.message.body(message)
        size = len(body)
        request = head + (wire.LENGTHS[size] + body if size < wire.SHORT else wire.body_of(body))
        try:  # as `_ask`, without one more coroutine
            carrier = self._known if self._version == self._carriers.version else self._carrier()
            while self._outbox:
                await self._runtime.loop.pause()
            reply = await carrier.call(self._path, request, timeout=timeout)  # type: ignore[arg-type, union-attr]
        except BttpError as error:
            if (told := _as_of_actors(error, self._path, timeout)) is None:  # type: ignore[arg-type]
                raise
            raise told from error
        return way.answer.read(reply)

    def _from_within(
        self, worker: Worker, way: Way, message: object, timeout: float | None
    ) -> tuple[bytes, float | None]:
        """What a call of an actor begins with, and what is left of its time: both follow from the calls before."""
        chain = chain_of(worker.cell, worker.call)
        check_chain(self._ref.path, chain, message)
        if len(chain) > wire.MAX_CHAIN:
            raise UsageError(f"{len(chain)} actors wait for each other: more than calls may be deep ({wire.MAX_CHAIN})")
        if (parent := worker.call) is not None and parent.deadline != math.inf:
            left = parent.deadline - self._runtime.loop.now()
            timeout = left if timeout is None else min(timeout, left)
        head = wire.request_head(wire.Verb.ASK, self._ref.incarnation, way.message, chain) if chain else way.head
        return head, timeout

    def stop(self, *, drain: bool = False) -> None:
        self._post(self._request(wire.Verb.DRAIN if drain else wire.Verb.STOP))

    def kill(self) -> None:
        self._post(self._request(wire.Verb.KILL))

    def monitor(self) -> None:
        """See Ref.monitor."""
        observer = self._runtime.current_cell()

        async def watch() -> None:
            await self._watch(observer.take_down)

        observer.own_task(watch)

    def link(self) -> None:
        raise UsageError("links do not cross runtimes: nobody could keep the promise", hint="use monitor")

    async def wait_down(self) -> Down:
        """See Ref.wait_down. A link that breaks ends the wait: `reason` is Unreachable then."""
        downs: list[Down] = []
        await self._watch(downs.append)
        return downs[-1]

    async def _watch(self, watcher: Watcher) -> None:
        """Tell each end of a life, until the last or until nobody can tell."""
        restarts = wire.FROM_NOW
        while True:
            request = wire.encode_request(
                wire.Request(wire.Verb.WATCH, incarnation=self._ref.incarnation, restarts=restarts)
            )
            try:
                ended = wire.decode_ended(await self._ask(request, None))
            except (UnavailableError, RemoteError) as error:
                watcher(Down(ref=self._ref, reason=Unreachable(error.message)))
                return
            watcher(Down(ref=self._ref, reason=ended.reason, restarting=ended.restarting))
            if not ended.restarting:
                return
            restarts = ended.restarts

    async def _ask(self, request: bytes, timeout: float | None) -> memoryview:
        path = self._ref.path
        try:
            carrier = self._carrier()
            while self._outbox:
                await self._runtime.loop.pause()  # what was sent before goes first
            return await carrier.call(path, request, timeout=timeout)
        except BttpError as error:
            if (told := _as_of_actors(error, path, timeout)) is None:
                raise
            raise told from error

    def _carrier(self) -> Carrier:
        if self._version != self._carriers.version or self._known is None:
            self._known, self._version = _carrier_to(self._runtime, self._path), self._carriers.version
        return self._known

    def _request(self, verb: wire.Verb, message: object = None) -> bytes:
        incarnation = self._ref.incarnation
        if message is None:
            return wire.encode_request(wire.Request(verb, incarnation=incarnation))
        cls: type = message.__class__
        known = wire.message_type(cls)
        return wire.request_head(verb, incarnation, known) + wire.body_of(known.body(message))

    def _post(self, request: bytes) -> None:
        self._outbox.append(request)
        if not self._sending:
            self._sending = True
            self._runtime.start_task(self._flush)

    async def _flush(self) -> None:
        try:
            while self._outbox:
                try:
                    await self._carrier().send(self._ref.path, self._outbox[0])
                except (UnavailableError, BttpError) as error:
                    self._runtime.dead_letters.add(self._ref.path, self._outbox[0], str(error))
                self._outbox.popleft()
        finally:
            self._sending = False


async def publish_elsewhere(runtime: Runtime, topic: str, message: object, timeout: float | None) -> int:
    """See Runtime.publish."""
    body = wire.encode_published(message)
    try:
        answer = await _carrier_to(runtime, topic).call(topic, body, timeout=timeout)
    except BttpError as error:
        if (told := _as_of_actors(error, topic, timeout)) is None:
            raise
        raise told from error
    return int.from_bytes(answer, "little")


def _carrier_to(runtime: Runtime, path: str) -> Carrier:
    carrier = runtime.carriers.find(path)
    if carrier is None:
        raise NoLinkError(f"no link leads to {path}", hint="connect, and attach the link: runtime.attach(link, path)")
    return carrier


def _as_of_actors(error: BttpError, path: str, timeout: float | None) -> BlocktreeError | None:
    """An error of the link as one of actors; None: what the other side says for itself stays what it is."""
    if isinstance(error, DeadlineError):
        return CallTimeoutError(f"no answer from {path} after {timeout:g} s", hint="it may have acted")
    if isinstance(error, (NotSentError, UnreachableError)):
        return NoLinkError(f"{path} cannot be reached: {error}")
    if isinstance(error, (ConnectionLostError, LocalProtocolError)):
        return UnavailableError(f"{path} cannot be reached: {error}", hint="it may have acted")
    if error.kind is Kind.NO_SUCH_TARGET:
        return UnavailableError(f"no runtime serves {path} there: {error}")
    return None
