"""Subscribing, from a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from btlib.paths import BlockPath

from .._broker import check_welcome, over
from .._topics import Message, WhenSlow, Wish, encode_wish, parse_item
from ._link import BlockingLink
from ._stream import BlockingStream


class BlockingSubscription:
    """Messages of a topic, for threads; as `bttp.Subscription`."""

    def __init__(self, stream: BlockingStream) -> None:
        self._stream = stream
        self.lost = 0  #: messages lost so far because this side was slow; known when it has read up to there

    def __iter__(self) -> BlockingSubscription:
        return self

    def __next__(self) -> Message:
        lost = 0
        while True:
            got = parse_item(over(self._stream.receive()))
            if isinstance(got, Message):
                return msgspec.structs.replace(got, lost=lost)
            lost += got
            self.lost += got


@contextmanager
def subscribe(
    link: BlockingLink, path: BlockPath, *, below: bool = False, when_slow: WhenSlow = WhenSlow.BLOCK, queue: int = 256
) -> Iterator[BlockingSubscription]:
    """As `bttp.subscribe`."""
    with link.stream(path, encode_wish(Wish(below=below, when_slow=when_slow, queue=queue))) as stream:
        check_welcome(stream.receive())
        yield BlockingSubscription(stream)
