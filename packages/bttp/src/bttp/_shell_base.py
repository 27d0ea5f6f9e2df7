"""What every shell of a link shows to its users and asks of its subclasses. Part of `_shell`."""

from __future__ import annotations

import itertools
import logging
import os
import time
import weakref
from collections.abc import Callable

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.verification import Decision

from ._access import Access
from ._callbacks import Callbacks
from ._core import Direction, LinkCore, Tap
from ._peer import Peer
from ._policy import Policy
from ._router import Router, StreamDestination
from ._shares import Tally
from ._standing import Standing
from ._statistics import LinkStatistics
from ._stream_end import StreamEnd
from ._tracebacks import SENTENCE, told_with_traceback
from .errors import BttpError, LimitError, LocalProtocolError

log = logging.getLogger("bttp")

_numbers = itertools.count(1)
_shells: weakref.WeakSet[ShellBase] = weakref.WeakSet()
_observers: list[Callable[[ShellBase], None]] = []


def observe_links(observe: Callable[[ShellBase], None]) -> Callable[[], None]:
    """Show it every link that begins in this process from now on, at either end; the result forgets it."""
    _observers.append(observe)
    return lambda: _observers.remove(observe)


class ShellBase:
    """One end of a link, as its users see it."""

    def __init__(
        self,
        core: LinkCore,
        admit: Callable[[Peer, int], Decision],
        router: Router | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.id = next(_numbers)
        self._core = core
        self._router = router
        self._access = Access(router, policy)
        self._standing = Standing(core, admit, self._access)
        self._closing = Callbacks(self._notify)
        self._leaving = Callbacks(self._notify)
        self._ended = False
        self._forked = False
        self._unfinished = 0  # handlers of calls and streams that still run
        self._tally = Tally()  # the same, of all links that share it
        _shells.add(self)
        for observe in tuple(_observers):
            observe(self)

    @property
    def peer(self) -> Peer:
        """Who is at the other end. Anonymous until the link is open."""
        return self._core.peer

    @property
    def closed(self) -> bool:
        """Whether the link has ended; `reason` then says why."""
        return self._ended

    @property
    def reason(self) -> BttpError | None:
        """The error that ended the link; None while it lives and after an orderly end."""
        return self._core.reason

    @property
    def statistics(self) -> LinkStatistics:
        """Counters, as they are now."""
        return self._core.statistics.snapshot()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call it once, when the link ends (at once if it has). In the link's own thread: it must not block."""
        self._closing.add(callback)

    @property
    def draining(self) -> bool:
        """Whether one side has said that it goes away: what is under way finishes, nothing new begins."""
        return self._leaving.told

    @property
    def peer_instance(self) -> int:
        """What remembers idempotency keys at the other end; for a `Repeat` on another link."""
        return self._core.peer_instance

    @property
    def streams_open(self) -> int:
        """Streams of either side that are not over."""
        return len(self._core.streams.live)

    @property
    def bytes_held(self) -> int:
        """Bytes in memory that wait for the peer, or of its bodies that are arriving."""
        return self._core.held

    def cut_off(self, error: LimitError) -> None:
        """End the link for this reason, which the peer is told."""
        self._core.cut_off(error)
        self._poke()

    def tap(self, tap: Tap | None) -> None:
        """Show the plaintext of this link to `tap(direction, bytes)`, from the next frame on; None: no more.

        Secrets pass there: it is for looking at one's own links, with a `Dissector` for each direction. It runs in the
        link's own thread and must not block.
        """

        def show(direction: Direction, plaintext: bytes) -> None:
            try:
                tap(direction, plaintext)  # type: ignore[misc]
            except Exception as error:  # whoever looks must not end the link
                self._core.tap(None)
                self._log(logging.ERROR, "tap failed", "the tap failed and was taken off", error=error)

        self._core.tap(None if tap is None else show)

    def on_drain(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call it once, when either side goes away (at once if one does); as `on_close`. The result forgets it."""
        return self._leaving.add(callback)

    def _start_draining(self) -> None:
        self._core.drain()
        self._leaving.tell()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._core.state.name.lower()} to {self.peer}>"

    # --- what subclasses give

    def _make_stream(self, path: BlockPath, body: memoryview, deadline: float | None) -> StreamEnd:
        """This side's end of a stream, for those who wait as this shell lets them."""
        raise NotImplementedError

    def _begin_stream(self, stream: StreamEnd, destination: StreamDestination) -> None:
        """Run the handler of a stream; afterwards say `stream.close()`, or `_fail_stream`, under the owner."""
        raise NotImplementedError

    def _poke(self) -> None:
        """There may be something to send."""
        raise NotImplementedError

    def _now(self) -> float:
        """The clock of the core."""
        return time.monotonic()

    def _enters(self, peer: Peer) -> str | None:
        """Why a peer that the policy admits may not come in all the same; None: it may."""
        return None

    def _one_more_handler(self) -> str | None:
        """Why no handler may start for this peer, whose other links have too many; None: one may."""
        return None

    def _one_more_stream(self) -> str | None:
        """Why the peer may not have the stream that it has just opened; None: it may."""
        return None

    # --- for all of them

    def _log(self, level: int, event: str, text: str, *, error: BaseException | None = None, **more: object) -> None:
        """A line for people; for programs `record.fields`: event, link, peer, and `more` (path, kind …)."""
        fields = {"event": event, "link": self.id, "peer": str(self.peer), **{key: str(more[key]) for key in more}}
        log.log(level, "link %d to %s: %s", self.id, self.peer, text, exc_info=error, extra={"fields": fields})

    def _told(self, path: BlockPath, error: BaseException) -> tuple[Kind, str]:
        """What the peer hears of a handler's failure: nothing of a defect, unless the router says so."""
        if isinstance(error, BlocktreeError):
            return error.kind, str(error)
        self._log(logging.ERROR, "handler failed", f"the handler of {path} failed", error=error, path=path)
        if self._router is not None and self._router.tracebacks:
            return Kind.INTERNAL, told_with_traceback(error)
        return Kind.INTERNAL, f"{SENTENCE}; its log has the details"

    def _notify(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # somebody else's callback must not keep the others from theirs
            self._log(logging.ERROR, "callback failed", "a callback failed", error=error)

    def _check_process(self) -> None:
        if self._forked:
            raise LocalProtocolError(
                "this link was opened before a fork and belongs to the parent process", hint="connect anew in the child"
            )


def _after_fork() -> None:
    for shell in list(_shells):
        shell._forked = True


os.register_at_fork(after_in_child=_after_fork)
