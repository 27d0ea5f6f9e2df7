"""What a broker and its subscribers say to each other, and the queue of one subscriber. Pure.

    first words of a subscription     flags u8 (1: everything below, too) ‖ when_slow u8 ‖ queue u32
    item: subscribed                  2 u8
    item: a message                   0 u8 ‖ length u16 ‖ topic ‖ body
    item: losses, in their place      1 u8 ‖ count u64                          all integers little-endian

`docs/spec/bttp.md` has the rules.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from struct import Struct

import msgspec
from btlib.errors import PathError
from btlib.kinds import Kind
from btlib.paths import BlockPath

from .errors import BttpError, RemoteProtocolError

_WISH = Struct("<BBI")
_MESSAGE = Struct("<BH")
_LOSSES = Struct("<BQ")
SUBSCRIBED = b"\2"


class WhenSlow(enum.IntEnum):
    """What happens to a message for which a subscriber's queue has no room. Numbers are wire format."""

    BLOCK = 0  #: its publisher waits
    DROP_OLDEST = 1  #: the oldest that waits is lost
    DROP_NEWEST = 2  #: it is lost itself
    DISCONNECT = 3  #: the subscription ends


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscriber wants."""

    below: bool = False  #: messages of all topics below the path, too
    when_slow: WhenSlow = WhenSlow.BLOCK
    queue: int = 256  #: messages that may wait for it at the broker


class Message(msgspec.Struct, frozen=True):
    """What was published."""

    topic: BlockPath
    body: memoryview
    lost: int = 0  #: messages that this subscriber lost since the one before
    gap: bool = False  #: the subscription was interrupted before it: more may be missing, and nobody knows how many


def encode_wish(wish: Wish) -> bytes:
    return _WISH.pack(wish.below, wish.when_slow, wish.queue)


def parse_wish(words: bytes | memoryview) -> Wish:
    """Raises BttpError of kind INVALID."""
    if len(words) != _WISH.size:
        raise BttpError("a subscription begins with 6 bytes: flags, when_slow, queue", kind=Kind.INVALID)
    flags, when_slow, queue = _WISH.unpack(words)
    if flags > 1 or when_slow > max(WhenSlow) or not queue:
        raise BttpError(f"no such subscription: {flags}, {when_slow}, {queue}", kind=Kind.INVALID)
    return Wish(below=bool(flags), when_slow=WhenSlow(when_slow), queue=queue)


def encode_message(topic: BlockPath, body: bytes | memoryview) -> bytes:
    text = str(topic).encode()
    return b"".join((_MESSAGE.pack(0, len(text)), text, body))


def encode_losses(count: int) -> bytes:
    return _LOSSES.pack(1, count)


def parse_item(item: memoryview) -> Message | int:
    """A message, or how many were lost. Raises RemoteProtocolError."""
    kind = item[0] if len(item) else None
    if kind == 1 and len(item) == _LOSSES.size:
        count: int = _LOSSES.unpack(item)[1]
        return count
    if kind == 0 and len(item) >= _MESSAGE.size:
        start = _MESSAGE.size
        stop = start + _MESSAGE.unpack_from(item)[1]
        if stop <= len(item):
            try:
                return Message(BlockPath.parse(bytes(item[start:stop]).decode()), item[stop:])
            except (PathError, UnicodeDecodeError) as error:
                raise RemoteProtocolError(f"a broker names no topic: {error}") from error
    raise RemoteProtocolError(f"an item of {len(item)} bytes of a broker is malformed")


class Ticket(msgspec.Struct, eq=False):
    """A message that waits for room in a queue; `done` is called when it is in, or not wanted any more."""

    item: bytes
    done: Callable[[], None]


class Queue:
    """What waits for one subscriber."""

    def __init__(self, wish: Wish, max_bytes: int) -> None:
        self.wish = wish
        self.lost = 0  #: in all
        self._max_bytes = max_bytes
        self._items: deque[bytes | int] = deque()  # a number: so many were lost here
        self._count = self._bytes = 0
        self._tickets: deque[Ticket] = deque()

    def offer(self, item: bytes, done: Callable[[], None]) -> bool | Ticket:
        """True: it is settled. A ticket: it waits its turn. False: the subscription must end."""
        if not self._tickets and self._fits(item):
            self._put(item)
        elif self.wish.when_slow is WhenSlow.BLOCK:
            ticket = Ticket(item, done)
            self._tickets.append(ticket)
            return ticket
        elif self.wish.when_slow is WhenSlow.DISCONNECT:
            return False
        elif self.wish.when_slow is WhenSlow.DROP_NEWEST:
            self._lose(at_end=True)
        else:
            while not self._fits(item):
                self._drop_oldest()
            self._put(item)
        return True

    def withdraw(self, ticket: Ticket) -> None:
        """Its publisher does not wait any more; it is not delivered, unless it is in the queue already."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)

    def take(self) -> bytes | None:
        """The next item for the subscriber."""
        if not self._items:
            return None
        first = self._items.popleft()
        if isinstance(first, int):
            return encode_losses(first)
        self._count -= 1
        self._bytes -= len(first)
        while self._tickets and self._fits(self._tickets[0].item):
            ticket = self._tickets.popleft()
            self._put(ticket.item)
            ticket.done()
        return first

    def close(self) -> None:
        """The subscription is over: nobody waits for it."""
        while self._tickets:
            self._tickets.popleft().done()

    def _fits(self, item: bytes) -> bool:
        """One item always fits an empty queue."""
        return not self._count or (self._count < self.wish.queue and self._bytes + len(item) <= self._max_bytes)

    def _put(self, item: bytes) -> None:
        self._items.append(item)
        self._count += 1
        self._bytes += len(item)

    def _drop_oldest(self) -> None:
        losses = 0
        while isinstance(first := self._items.popleft(), int):
            losses += first
        self._count -= 1
        self._bytes -= len(first)
        self._items.appendleft(losses)
        self._lose(at_end=False)

    def _lose(self, *, at_end: bool) -> None:
        self.lost += 1
        place = -1 if at_end else 0
        if self._items and isinstance(known := self._items[place], int):
            self._items[place] = known + 1
        elif at_end:
            self._items.append(1)
        else:
            self._items.appendleft(1)
