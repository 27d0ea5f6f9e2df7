"""The streams of a link and the rights of its peer, between core and handlers. Part of `_shell`."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from btlib.kinds import Kind

from ._events import (
    ItemReceived,
    PeerOffered,
    PeerProven,
    ProofAnswered,
    StreamEnded,
    StreamReceived,
    StreamReset,
    StreamWritable,
)
from ._shell_base import ShellBase
from ._states import State
from ._stream_end import StreamEnd
from .errors import RemoteError


class Waiter(Protocol):
    """Somebody who waits for the answer to a call. An asyncio future is one."""

    def set_result(self, result: memoryview, /) -> None: ...

    def set_exception(self, error: BaseException, /) -> None: ...

    def done(self) -> bool: ...


class StreamShell(ShellBase):
    """One end of a link, with streams and proofs."""

    def _on_stream(self, event: StreamReceived) -> None:
        """Streams are rarer than calls and last: rights and handler are looked up each time."""
        path, now = event.route.path, time.time()
        destination, known = self._access.stream_target(self.peer, path, now)
        if isinstance(destination, Kind):
            self._refuse_stream(event, destination, str(known))
            return
        full = self._too_many_handlers() or self._one_more_stream()
        if full is not None:
            self._refuse_stream(event, Kind.LIMIT, full)
            return
        self._handler_begins()
        stream = event.stream.token = self._make_stream(path, event.body, event.deadline)
        stream.number = event.number
        stream.trace = None if event.fields is None else event.fields.trace
        if isinstance(known, int | float):
            self._core.limit_stream(event.number, known - now)
        self._begin_stream(stream, destination)

    def _refuse_stream(self, event: StreamReceived, kind: Kind, reason: str) -> None:
        path = event.route.path
        text = f"no stream to {path}: {reason}"
        self._log(logging.WARNING, "stream refused", text, path=path, kind=kind.name)
        self._core.streams.reset(event.number, kind, reason)

    def _on_item(self, event: ItemReceived) -> None:
        if (stream := event.stream.token) is None:  # it was refused
            self._core.streams.taken(event.number, event.cost)
        else:
            stream.take_in(event.body, event.cost)  # type: ignore[attr-defined]

    def _on_stream_ended(self, event: StreamEnded) -> None:
        if event.stream.token is not None:
            event.stream.token.end()  # type: ignore[attr-defined]

    def _on_stream_reset(self, event: StreamReset) -> None:
        if event.stream.token is not None:
            event.stream.token.break_off(event.error)  # type: ignore[attr-defined]

    def _on_stream_writable(self, event: StreamWritable) -> None:
        event.stream.token.wake()  # type: ignore[attr-defined]

    def _too_many_handlers(self) -> str | None:
        """Why no more handlers start: some of calls and streams that are over may still run."""
        if self._unfinished < 2 * self._core.max_calls:
            return self._one_more_handler()
        return f"{self._unfinished} handlers of your calls and streams, over or not, still run (twice max_calls)"

    def _stream_served(self) -> None:
        """The handler of a stream has ended."""
        self._handler_ends()

    def _handler_begins(self) -> None:
        self._unfinished += 1
        self._tally.running += 1

    def _handler_ends(self) -> None:
        self._unfinished -= 1
        self._tally.running -= 1

    def _fail_stream(self, stream: StreamEnd, error: BaseException) -> None:
        if error is stream.reason:
            return
        stream.cancel(*self._told(stream.path, error))

    # --- proofs and rights

    def _on_proven(self, event: PeerProven) -> None:
        if self._core.state is State.CLOSED:  # the peer closed right behind its proof
            return
        decision = self._standing.proven(event.peer, self._enters, time.time())
        if not decision.allowed:
            self._log(logging.WARNING, "peer refused", f"refused: {decision.reason}", kind=decision.kind.name)

    def _on_offered(self, event: PeerOffered) -> None:
        decision = self._standing.offered(event, time.time())
        if decision is not None and decision.allowed:
            who = event.proof.public.principal
            self._log(logging.INFO, "proof taken", f"renewed or joined by {who}", principal=who)
            self._recheck_streams()

    def _on_proof_answered(self, event: ProofAnswered) -> None:
        waiter: Waiter = event.token  # type: ignore[assignment]
        if waiter.done():
            return
        if event.error is None:
            waiter.set_result(memoryview(b""))
        else:
            waiter.set_exception(event.error)

    def _recheck_streams(self) -> None:
        now = time.time()
        for number, state in list(self._core.streams.live.items()):
            if state.own or state.token is None:
                continue
            stream: StreamEnd = state.token  # type: ignore[assignment]
            refusal = self._standing.recheck_stream(number, stream.path, now)
            if refusal is not None:
                text = f"the stream at {stream.path} ends: {refusal[1]}"
                self._log(logging.WARNING, "stream ended", text, path=stream.path, kind=refusal[0].name)
                self._core.streams.reset(number, *refusal)
                stream.break_off(RemoteError(refusal[1], kind=refusal[0]))
