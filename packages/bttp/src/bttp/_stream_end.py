"""What all ends of a stream share: the items that came and were not taken, and how it ended. Pure; subclasses wait.

Everything here runs under the owner of the link: its event loop, or its lock.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ._peer import Peer
from ._trace import TraceParent
from .errors import BttpError, LocalProtocolError

if TYPE_CHECKING:
    from ._core import LinkCore
    from ._router import Body


class StreamLink(Protocol):
    """The link of a stream, as its ends see it."""

    _core: LinkCore

    @property
    def id(self) -> int: ...

    @property
    def peer(self) -> Peer: ...

    def on_close(self, callback: Callable[[], None]) -> None: ...

    def on_drain(self, callback: Callable[[], None]) -> Callable[[], None]: ...

    def _poke(self) -> None: ...


class Nothing(enum.Enum):
    """Not a body, and not the end either."""

    NOTHING = enum.auto()


NOTHING = Nothing.NOTHING


class StreamEnd:
    """One end of a stream."""

    def __init__(self, link: StreamLink, path: BlockPath, body: memoryview, deadline: float | None) -> None:
        self.link = link
        self.path = path  #: as opened: the handler's prefix or a path below it
        self.body = body  #: the first words of whoever opened it
        self.deadline = deadline  #: on the monotonic clock; None: none
        self.reason: BttpError | None = None  #: why it ended before both sides had finished
        self.trace: TraceParent | None = None  #: of whoever opened it
        self.number = 0
        self.stop: Callable[[], None] = lambda: None  #: cancels the task of its handler
        self._items: deque[tuple[memoryview, int]] = deque()
        self._ended = self._finished = False

    @property
    def peer(self) -> Peer:
        """Who is at the other end; this path was allowed to it, if it opened the stream."""
        return self.link.peer

    @property
    def over(self) -> bool:
        """Whether both sides have finished, or one has cancelled."""
        return self.reason is not None or (self._ended and self._finished)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.number} of link {self.link.id} at {self.path}>"

    # --- what the core tells

    def take_in(self, body: memoryview, cost: int) -> None:
        if self.reason is None:
            self._items.append((body, cost))
            self.wake()
        else:
            self.link._core.streams.taken(self.number, cost)

    def end(self) -> None:
        self._ended = True
        self.wake()

    def break_off(self, error: BttpError) -> None:
        """Nothing more passes. What came before the peer's END is whole, and stays readable."""
        if self.reason is None:
            self.reason = error
            if not self._ended:
                self._drop_items()
            self.wake()
            self.stop()

    def wake(self) -> None:
        """Those who wait are to look again."""
        raise NotImplementedError

    # --- what the user does, without waiting

    def poll(self) -> memoryview | Nothing | None:
        """The next item; None at the end; NOTHING now. Raises why it ended early."""
        if self._items:
            body, cost = self._items.popleft()
            if self.link._core.streams.taken(self.number, cost):
                self.link._poke()
            return body
        if self._ended:
            return None
        if self.reason is not None:
            raise self.reason
        return NOTHING

    def offer(self, body: Body) -> bool:
        """Whether there was room for an item. Raises why it ended early."""
        if self.reason is not None:
            raise self.reason
        fits = self.link._core.streams.write(self.number, body)
        self.link._poke()
        return fits

    def say_end(self) -> None:
        if self.reason is not None:
            raise self.reason
        if not self._finished:
            self.link._core.streams.finish(self.number)
            self._finished = True
            self.link._poke()

    def cancel(self, kind: Kind = Kind.CANCELLED, text: str = "the stream was cancelled") -> None:
        """End both directions at once. The other side is told kind and text; what is on its way is lost."""
        self._cancel(kind, text, behind=False)

    def close(self) -> None:
        """The handler has returned: what it sent still leaves, and nobody reads any more."""
        if not self.over:
            if not self._finished:
                self.say_end()
            self._cancel(Kind.CANCELLED, "the handler has finished and reads no more", behind=True)

    def leave(self, error: BaseException | None) -> None:
        """The user's context ends."""
        if isinstance(error, BlocktreeError):
            self.cancel(error.kind, str(error))
        elif error is not None:
            self.cancel(text="the other side was cancelled or failed")
        else:
            self.cancel(text="the other side is done with the stream")

    def _cancel(self, kind: Kind, text: str, *, behind: bool) -> None:
        if not self.over:
            self.reason = LocalProtocolError(f"this side ended the stream: {text}", kind=kind)
            self.link._core.streams.reset(self.number, kind, text, behind=behind)
            self._drop_items()
            self.wake()
            self.link._poke()

    def _drop_items(self) -> None:
        for _, cost in self._items:
            self.link._core.streams.taken(self.number, cost)
        self._items.clear()
