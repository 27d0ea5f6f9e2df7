"""Two channels joined in memory: the objects themselves are delivered, nothing is copied or encoded."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import anyio
from btlib import Kind, Principal
from msgspec import Struct

from ._channel import Accepts
from .errors import SessionEndedError

#: Messages that wait at one end before its sender does. Protocols bound their queues themselves; this bounds a session
#: whose cycles are long.
QUEUE_LIMIT = 64


class _Queue:
    """What one end has sent and the other has not taken."""

    __slots__ = ("closed", "last_word", "messages", "moved")

    def __init__(self) -> None:
        self.messages: deque[Struct] = deque()
        self.closed = False
        self.last_word: tuple[Kind, str] | None = None
        self.moved: anyio.Event | None = None  # made only by one who waits: an event costs more than a message

    def wake(self) -> None:
        if self.moved is not None:
            self.moved.set()
            self.moved = None

    async def wait(self) -> None:
        if self.moved is None:
            self.moved = anyio.Event()
        await self.moved.wait()

    def ended(self) -> SessionEndedError:
        if self.last_word is None:
            return SessionEndedError("the other side has closed the channel", kind=Kind.CANCELLED)
        kind, reason = self.last_word
        return SessionEndedError(f"the other side ended the session: {reason}", kind=kind)


class MemoryChannel:
    """One end of a pair; see `Channel`."""

    __slots__ = ("_in", "_out", "_peer")

    def __init__(self, peer: Principal, incoming: _Queue, outgoing: _Queue) -> None:
        self._peer = peer
        self._in = incoming
        self._out = outgoing

    @property
    def peer(self) -> Principal:
        return self._peer

    async def send(self, message: Struct) -> None:
        queue = self._out
        while len(queue.messages) >= QUEUE_LIMIT and not queue.closed and not self._in.closed:
            await queue.wait()
        if self._in.closed:
            raise self._in.ended()
        if queue.closed:
            raise SessionEndedError("this side has closed the channel", kind=Kind.CANCELLED)
        queue.messages.append(message)
        queue.wake()

    async def receive(self, accepts: Accepts) -> Struct:
        queue = self._in
        while not queue.messages:
            if queue.closed:
                raise queue.ended()
            if self._out.closed:
                raise SessionEndedError("this side has closed the channel", kind=Kind.CANCELLED)
            await queue.wait()
        queue.wake()
        return queue.messages.popleft()

    def close(self, kind: Kind | None = None, reason: str = "") -> None:
        if self._out.closed:
            return
        self._out.closed = True
        self._out.last_word = None if kind is None else (kind, reason)
        self._out.wake()
        self._in.wake()


class ChannelPair(NamedTuple):
    """Two joined ends; unpack them."""

    first: MemoryChannel
    second: MemoryChannel


def channel_pair(first: Principal, second: Principal) -> ChannelPair:
    """The ends of `first` and of `second`; each sees the other as its peer."""
    forth, back = _Queue(), _Queue()
    return ChannelPair(MemoryChannel(second, back, forth), MemoryChannel(first, forth, back))
