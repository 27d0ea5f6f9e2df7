"""Sessions with other processes: a channel over a stream of a bttp link, at whichever end.

    async with open_channel(link, path) as channel, as_client(channel) as ready: ...      whoever asks
    serve_sessions(router, path, bank.serve)                                              whoever is asked

One session a stream; each item is a packet (docs/spec/protocol.md, 7). Who the peer is, the link has proved, and that
it may execute at the path, before the program sees a channel. A side that is done, or leaves, says its last word and
ends its direction; it does not cut the other off, which may still have to read what was said before. Only whoever is
cancelled resets the stream, and cancels the program at the other end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from btlib import BlockPath, Kind, Principal
from btlib.writecaps import SERVE, Rights
from bttp import BttpError, Link, Peer, Router, Stream
from msgspec import Struct

from ._channel import Accepts, Channel
from ._wire import last_word, pack, pack_close, unpack
from .errors import ProtocolError, SessionEndedError

log = logging.getLogger("btrun")

#: How long a side that is done waits for the other to end too, before it cuts it off. An honest one needs a round trip.
LINGER_SECONDS = 5.0

#: One end of a session, as a program that is handed the channel to its peer.
Program = Callable[[Channel], Awaitable[None]]


class StreamChannel:
    """A `Channel` over one stream."""

    def __init__(self, stream: Stream, peer: Principal) -> None:
        self._stream = stream
        self._peer = peer
        self._closed = False

    @property
    def peer(self) -> Principal:
        return self._peer

    async def send(self, message: Struct) -> None:
        try:
            await self._stream.send(pack(message))
        except BttpError as error:
            if self._stream.reason is None:  # the message does not fit; the stream is well
                raise
            raise self._word() or self._cut(error) from error

    async def receive(self, accepts: Accepts) -> Struct:
        try:
            packet = await self._stream.receive()
        except BttpError as error:
            raise self._cut(error) from error
        if packet is None:
            raise SessionEndedError(f"{self._peer} ended the session without a word", kind=Kind.CANCELLED)
        return unpack(packet, accepts)

    def close(self, kind: Kind | None = None, reason: str = "") -> None:
        if self._closed or self._stream.reason is not None:
            return
        self._closed = True
        if self._stream.offer(pack_close(kind, reason)):
            self._stream.say_end()
        else:  # there is no room for a last packet: the other side takes nothing, and hears it in the reset
            self._stream.cancel(kind or Kind.CANCELLED, reason or "the session is over")

    async def linger(self) -> None:
        """Wait, within bounds, until the other side has ended too; what it still says is dropped."""
        with anyio.move_on_after(LINGER_SECONDS):
            try:
                await self._stream.complete()
            except BttpError:  # it was cut off: so it has ended
                return

    def _word(self) -> SessionEndedError | None:
        """Why the other side ended the session, if that came before the stream broke."""
        try:
            while isinstance(packet := self._stream.poll(), memoryview):
                if (word := last_word(packet)) is not None:
                    return word
        except BttpError:
            return None
        return None

    def _cut(self, error: BttpError) -> SessionEndedError:
        return SessionEndedError(
            f"the session with {self._peer} at {self._stream.path} was cut off: {error.message}",
            kind=error.kind,
            hint=error.hint,
        )


@asynccontextmanager
async def open_channel(link: Link, path: BlockPath) -> AsyncIterator[Channel]:
    """A channel to the program that serves sessions at `path`, for one session.

    Leaving it waits until the other side has ended too, for at most LINGER_SECONDS. A refusal (no such path, no right
    to execute there) is the SessionEndedError of the session's first step, of the refusal's kind. Raises what
    `link.stream` raises, and SessionEndedError of kind UNAUTHENTICATED where the other end of the link is anonymous.
    """
    peer = _speaker(link.peer, path, SERVE)
    async with link.stream(path) as stream:
        channel = StreamChannel(stream, peer)
        try:
            yield channel
        except anyio.get_cancelled_exc_class():
            raise
        except Exception:
            channel.close(Kind.INTERNAL, "the program failed")
            await channel.linger()
            raise
        channel.close(Kind.CANCELLED, "the session was left")
        await channel.linger()


def serve_sessions(router: Router, path: BlockPath, program: Program) -> None:
    """Run `program` for each session that somebody opens at `path` or below it.

    bttp checks EXECUTE on the path before. A session that is broken by its peer ends its program with a ProtocolError,
    which is logged; so is every other failure, and the peer is told that this role failed, and in which state. Sessions
    run beside each other, as many as the link's limits let its peer open. Raises LocalProtocolError for a path that has
    a handler of streams already.
    """

    async def serve(stream: Stream) -> None:
        channel = StreamChannel(stream, _speaker(stream.peer, stream.path, Rights.EXECUTE))
        try:
            await program(channel)
        except ProtocolError as error:
            log.warning("a session at %s ended: %s", stream.path, error)
        except Exception:  # supervised here: the session's last word has told the peer what it may know
            log.exception("the program of a session of %s at %s failed", channel.peer, stream.path)
        channel.close(Kind.INTERNAL, "the program has ended")

    router.add_stream(path, serve)


def _speaker(peer: Peer, path: BlockPath, right: Rights) -> Principal:
    """For whom the peer speaks at a path: of several principals on one link, the first that has the right there."""
    if peer.anonymous:
        raise SessionEndedError(
            f"no session at {path} with an anonymous peer: nobody could be named",
            kind=Kind.UNAUTHENTICATED,
            hint="connect with an identity",
        )
    now = int(time.time())
    able = (proof for proof in peer.proofs if Peer((proof,)).decide(right, path, now).allowed)
    return next(able, peer.proofs[0]).public.principal
