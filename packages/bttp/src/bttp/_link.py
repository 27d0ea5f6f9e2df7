"""A link as async code sees it, on whichever event loop."""

from __future__ import annotations

from btlib.identity import Identity
from btlib.paths import BlockPath

from ._fields import Repeat
from ._frames import Buffer
from ._router import Body
from ._shell import Shell
from ._stream import Stream
from ._trace import TraceParent


class Link(Shell):
    """One authenticated connection. Either side calls and sends; many calls may be under way."""

    async def call(
        self,
        path: BlockPath | str,
        body: Body = b"",
        *,
        timeout: float | None = None,
        key: bytes | None = None,
        trace: TraceParent | None = None,
        repeat: Repeat | None = None,
    ) -> memoryview:
        """Send a request and wait for its answer. Cancelling, and the time-out (seconds), reach the peer's handler.

        `key`: an idempotency key (1 to 64 bytes, new for each request): the peer does a call with the same key and
        request once, and answers a repeated one from its record; RemoteError of kind BUSY while it is under way, STALE
        where the record is gone. `repeat`: where and when the key was sent before. `trace`: for the handler. Without a
        key at most once: nothing is repeated by itself.

        Raises RemoteError for the answer that it failed, DeadlineError,
        ConnectionLostError when the link ends first; LimitError and UnreachableError before anything is sent.
        """
        raise NotImplementedError

    async def send(self, path: BlockPath | str, body: Body = b"", *, trace: TraceParent | None = None) -> None:
        """Queue a message without an answer. Waits while the peer has no room. At most once: a lost link loses it."""
        raise NotImplementedError

    def stream(
        self,
        path: BlockPath | str,
        body: Buffer = b"",
        *,
        timeout: float | None = None,
        trace: TraceParent | None = None,
    ) -> Stream:
        """Open a stream with some first words (at most 64 KiB). Use it as an async context: leaving cancels it unless
        both sides have finished. `timeout` (seconds) is for all of it. Raises as `call` before anything is sent; the
        peer's refusal is raised by the first `receive` or `send` that finds it.
        """
        raise NotImplementedError

    async def prove(self, identity: Identity) -> None:
        """Speak as one more principal on this link, or show the new chains of one before the old ones expire.

        Raises AuthenticationError with the peer's reason; then nothing has changed. ConnectionLostError.
        """
        raise NotImplementedError

    def recheck(self) -> None:
        """Judge the peer anew, after the policy has heard of revocations: it may lose paths, or the link."""
        self._recheck()
        self._poke()

    async def wait_opened(self) -> None:
        """Return when both sides accepted; raise why not otherwise."""
        raise NotImplementedError

    async def wait_closed(self) -> None:
        """Return when the link has ended and its connection is closed."""
        raise NotImplementedError

    async def drain(self, timeout: float = 5.0) -> bool:
        """Take no new calls, let those under way finish, close. False: some were cut off after `timeout` seconds."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """End the link: what was queued still leaves, within a moment; calls under way fail."""
        raise NotImplementedError
