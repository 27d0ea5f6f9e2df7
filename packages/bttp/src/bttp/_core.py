"""The link: a state machine without I/O, for either end. It takes ciphertext and gives events; time is an argument.

After every call of a method that takes `now`, or that answers or sends, poll: `next_event()` until None, then
`data_to_send()` until empty, then `next_timeout()`. A core is not thread-safe. It stays closed after its first error;
`reason` keeps that. Misuse by the caller raises LocalProtocolError; what the peer does wrong ends in LinkClosed.

It decides nothing about capabilities: it proves signatures (PeerProven), and its shell calls `admit` or `refuse`.
"""

from __future__ import annotations

import contextlib
import enum
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import TypeAlias

from btlib.identity import Identity
from btlib.kinds import Kind

from . import _frames as wire
from ._auth import Role
from ._control import LEAVING, Control, draining
from ._events import AdmissionDue, Event, LinkClosed
from ._frames import Buffer, FrameKind, FrameReader, frame
from ._handshake import Introduction, TlsKeys
from ._limits import Limits
from ._peer import Peer
from ._preface import Clear, preface
from ._proofs import Proofs
from ._receiver import Receiver
from ._states import TALKING, State, Step, step
from ._statistics import LinkStatistics
from ._tls import TlsPump
from .errors import (
    AuthenticationError,
    BttpError,
    ConnectionLostError,
    LimitError,
    NotSentError,
    RemoteProtocolError,
    UnreachableError,
)

_CLOSED = State.CLOSED  # looking a member up costs more than comparing it
_TAKE = 256 * 1024  # plaintext encrypted at once: few calls into TLS, and a bound on what a small message waits for


class Direction(enum.Enum):
    """Which way something went, as this side sees it."""

    SENT = "sent"
    RECEIVED = "received"


Tap: TypeAlias = Callable[[Direction, bytes], None]


class LinkCore(Control):
    """One end of a link."""

    def __init__(
        self,
        role: Role,
        keys: TlsKeys,
        identities: Sequence[Identity],
        limits: Limits,
        *,
        now: float,
        instance: int = 0,
    ) -> None:
        self.role = role
        self.instance = instance  #: the replay cache of this side, as its HELLO names it; 0: none
        self.state = State.PREFACE if role is Role.SERVER else State.HANDSHAKE
        self._talking = False  # whether frames of calls and messages may pass: the state, as cheap as it gets
        self.reason: BttpError | None = None  #: why the link closed; None also after an orderly end
        self.peer = Peer()
        self.statistics = LinkStatistics()
        self._keys = keys
        self._limits = limits
        self._introduction = Introduction(role, keys.certificate, identities, limits, instance)
        self._proofs = Proofs(self._introduction)
        self.admitted_until = inf  #: on the clock of `now`
        self.events: deque[Event] = deque()  #: what `next_event` takes from
        self._exchange = exchange = Receiver(role, limits, self.statistics, self.events)
        # What an open link does, is the exchange's; a call less matters here.
        self.call, self.send, self.cancel = exchange.call, exchange.send, exchange.cancel
        self.reply, self.fail, self.hold = exchange.reply, exchange.fail, exchange.hold
        self.consumed = exchange.consumed
        self.max_calls, self.max_queued = limits.max_calls, limits.max_queued
        self.outbox, self.park = exchange.outbox, exchange.park
        self.deadlines, self.calling = exchange.deadlines, exchange.calling
        self.open, self.streams, self.limit_stream = exchange.open, exchange.streams, exchange.limit_stream
        self._reader = FrameReader(self._exchange.bodies.place)
        self._tls: TlsPump | None = None
        self._heard_clear = Clear()
        self._clear = b""  # what leaves unencrypted, before TLS
        self._peer_certificate = b""  # from the preface; servers only
        self._began = self._heard = now
        self.unsent = (
            True  #: there may be something to send that the outbox does not show; always until the link is open
        )
        self._pings = 0
        self._received = 0
        self._tap: Tap | None = None
        self._skip = 0  # bytes until the next frame that a tap sees whole
        self._leaving = False  # this side said GOAWAY and closes once nothing is under way
        self._answered = False  # the peer heard of that: nothing that it sent before is still on its way
        if role is Role.CLIENT:
            self._tls = TlsPump(keys.client_context(), server_side=False)
            self._clear = preface(keys.certificate)
            self._advance_tls()

    # --- the network's side

    def receive_data(self, data: Buffer, now: float) -> None:
        """Take what came from the network."""
        if self.state is _CLOSED:
            return
        self._heard, self._pings = now, 0
        self.statistics.bytes_received += len(data)
        self._exchange.arriving(now)
        try:
            if self._talking:
                self._tls.feed(data)  # type: ignore[union-attr]
                self._read_frames()
            else:
                self._count(len(data))
                self._take_in(data)
        except BttpError as error:
            self._fail(error)
        if self._leaving and self._answered and self._exchange.idle:
            self._close(None)

    def receive_eof(self) -> None:
        """The network's end. Orderly only where the peer said so before."""
        if self.state is State.CLOSED:
            return
        if self._talking:
            self._fail(ConnectionLostError("the connection to the peer was lost"))
        else:
            self._fail(
                UnreachableError(f"the peer closed the connection while the link was opening ({self.state.value})")
            )

    def data_to_send(self) -> bytes:
        """Ciphertext for the network; empty if there is none now. Fetch it only as the network takes it."""
        if self._clear or self._tls is None:
            data, self._clear = self._clear, b""
            return data
        if self._talking:
            try:
                self._encrypt()
            except BttpError as error:
                self._fail(error)
        data = self._tls.take()
        self.unsent = not self._talking
        self.statistics.bytes_sent += len(data)
        return data

    # --- the shell's side

    def next_event(self) -> Event | None:
        """What happened; None: nothing more now."""
        return self.events.popleft() if self.events else None

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` at the latest."""
        if self.state is _CLOSED:
            return None
        if not self._talking:
            return self._began + self._limits.handshake_seconds
        due = self._heard + self._limits.ping_seconds * (self._pings + 1)
        if self.admitted_until < due:
            due = self.admitted_until
        deadlines = self.deadlines
        if deadlines.heap and deadlines.heap[0][0] < due:
            return min(due, deadlines.next() or due)
        return due

    def handle_timeout(self, now: float) -> None:
        """Do what is due by `now`. Calling it early does no harm."""
        due = self.next_timeout()
        if due is None or now < due:
            return
        if not self._talking:
            seconds = self._limits.handshake_seconds
            self._fail(UnreachableError(f"the link was not open after {seconds:g} s ({self.state.value})"))
            return
        self._exchange.expire(now)
        if now >= self.admitted_until:
            self.admitted_until = inf
            self.events.append(AdmissionDue())
        if now >= self._heard + self._limits.ping_seconds * (self._pings + 1):
            self._ping(now)

    def admit(self, seconds: float | None = None) -> None:
        """After PeerProven: take the peer; it is to be judged anew after so many seconds (AdmissionDue)."""
        if self.role is Role.CLIENT:
            self._move(Step.ADMITTED)
            self._write(*self._introduction.frames())
        else:
            self._write(frame(FrameKind.ACCEPT, 0))
            self._open()
        self.stands(seconds)

    def refuse(self, kind: Kind, reason: str) -> None:
        """After PeerProven: do not take it. The peer is told kind and reason, and the link closes."""
        self._write(wire.text_frame(FrameKind.REFUSE, 0, kind, reason))
        self._close(AuthenticationError(reason, kind=kind))

    def drain(self, text: str = "the peer is going away") -> None:
        """Take no new calls, finish those under way, then close. A link that is not open yet ends at once."""
        if not self._talking:
            self._fail(UnreachableError(text))
        if self.state is not State.OPEN:
            return
        self._move(Step.DRAIN)
        self._leaving = True
        self._exchange.stop(draining)
        frames = self._exchange.outbox.frames
        frames.append(wire.text_frame(FrameKind.GOAWAY, 0, Kind.UNREACHABLE, text))
        frames.append(frame(FrameKind.PING, 0, LEAVING))

    def close(self) -> None:
        """End the link in order, now: what is queued still leaves, calls under way fail."""
        if self.state is not State.CLOSED:
            if self._talking:
                while self._exchange.outbox:
                    self._encrypt()
            self._close(None)

    def abort(self, error: BttpError) -> None:
        """The network failed."""
        self._close(error)

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` would give something."""
        return bool(self.outbox) or self.unsent

    @property
    def held(self) -> int:
        """Bytes that this link holds in memory: those that wait to leave, and those of bodies that are arriving."""
        return self._exchange.held + len(self._clear)

    @property
    def idle(self) -> bool:
        """Whether no call is under way in either direction and nothing is queued."""
        return self._exchange.idle

    @property
    def peer_instance(self) -> int:
        """The replay cache of the other side, once its HELLO came; 0: none."""
        return 0 if self._introduction.hello is None else self._introduction.hello.instance

    def tap(self, tap: Tap | None) -> None:
        """Show the plaintext of the open link in both directions, from the next frame on; None: no more."""
        self._tap = tap
        held, self._skip = self._reader.rest()
        if tap is not None and held:
            tap(Direction.RECEIVED, held)

    # --- inside

    def _move(self, what: Step) -> None:
        self.state = step(self.state, what)
        self._talking = self.state in TALKING
        self.unsent = True
        self._reader.plain = self._exchange.take_plain if self._talking else None

    def _take_in(self, data: Buffer) -> None:
        if self.state is State.PREFACE:
            rest = self._read_preface(data)
            if rest is None:
                return
            data = rest
        assert self._tls is not None
        if self.state is State.HANDSHAKE:
            if self.role is Role.CLIENT and self._heard_clear.is_refusal(data):
                return
            self._tls.feed(data)
            self._advance_tls()
        else:
            self._tls.feed(data)
        if self.state is not State.HANDSHAKE:
            self._read_frames()

    def _count(self, size: int) -> None:
        self._received += size
        if self._received > self._limits.handshake_bytes:
            raise LimitError(
                f"the peer sent more than {self._limits.handshake_bytes} bytes (handshake_bytes) before it was accepted"
            )

    def _read_preface(self, data: Buffer) -> bytes | None:
        read = self._heard_clear.read_preface(data)
        if read is None:
            return None
        self._peer_certificate, rest = read
        self._tls = TlsPump(self._keys.server_context(self._peer_certificate), server_side=True)
        self._move(Step.PREFACE_READ)
        return rest

    def _advance_tls(self) -> None:
        assert self._tls is not None
        if not self._tls.handshake():
            return
        certificate = self._tls.peer_certificate
        if self.role is Role.SERVER and certificate != self._peer_certificate:
            raise RemoteProtocolError("the client's certificate is not that of its preface")
        self._move(Step.TLS_DONE)
        self._introduction.bind(certificate)
        if self.role is Role.SERVER:
            self._write(*self._introduction.frames())

    def _read_frames(self) -> None:
        tls, reader, handlers = self._tls, self._reader, self._exchange.handlers
        assert tls is not None
        more = True
        while more and self.state is not _CLOSED:
            space, buffer = reader.space(), reader.buffer
            count = tls.read_into(space)
            more = count == len(space)
            if count:
                if self._tap is not None:
                    self._show(bytes(space[:count]))
                for kind, stream, start, stop in reader.frames() if reader.filled(count) else ():
                    if self._talking and (handler := handlers.get(kind)) is not None:
                        handler(stream, buffer, start, stop)
                    else:
                        self._control(kind, stream, buffer[start:stop])
            if tls.ended:
                self._end()

    def _show(self, plaintext: bytes) -> None:
        """Let the tap see what came, once it has come to the beginning of a frame."""
        skipped = min(self._skip, len(plaintext))
        self._skip -= skipped
        if self._tap is not None and skipped < len(plaintext):
            self._tap(Direction.RECEIVED, plaintext[skipped:])

    def _end(self) -> None:
        if self._talking:
            self._close(None if self._exchange.idle else ConnectionLostError("the peer closed the link"))
        else:
            self._close(UnreachableError(f"the peer closed the link while it was opening ({self.state.value})"))

    def _ping(self, now: float) -> None:
        if self._pings >= self._limits.pings:
            seconds = now - self._heard
            self._fail(ConnectionLostError(f"the peer gave no sign of life for {seconds:.0f} s ({self._pings} pings)"))
            return
        self._pings += 1
        self._exchange.outbox.frames.append(frame(FrameKind.PING, 0, self._pings.to_bytes(8, "little")))

    def _encrypt(self) -> None:
        assert self._tls is not None
        plaintext = self._exchange.take(_TAKE)
        if plaintext:
            if self._tap is not None:
                self._tap(Direction.SENT, plaintext)
            self._tls.write(plaintext)
        if self._leaving and self._answered and self._exchange.idle:
            self._close(None)

    def _write(self, *frames: bytes) -> None:
        """Encrypt at once: for what is said while the link is not (or no longer) open."""
        if self._tls is not None:
            self.unsent = True
            with contextlib.suppress(RemoteProtocolError):  # TLS itself failed: the peer cannot be told
                self._tls.write(b"".join(frames))

    def _over(self) -> BttpError:
        if self.reason is None:
            return NotSentError("the link is closed")
        return NotSentError(f"the link is closed: {self.reason.message}", kind=self.reason.kind)

    def _fail(self, error: BttpError) -> None:
        """End the link for this error, and say so to a peer that can hear it."""
        if self._tls is not None and self.state not in (State.PREFACE, State.HANDSHAKE, State.CLOSED):
            if isinstance(error, AuthenticationError) and not self._talking:
                self._write(wire.text_frame(FrameKind.REFUSE, 0, error.kind, error.message))
            elif isinstance(error, RemoteProtocolError | LimitError | AuthenticationError):
                self._write(wire.text_frame(FrameKind.VIOLATION, 0, error.kind, error.message))
        self._close(error)

    def _close(self, error: BttpError | None) -> None:
        if self.state is State.CLOSED:
            return
        if self._tls is not None:
            self._tls.finish()
        self._move(Step.CLOSE)
        self.reason = error
        self._exchange.stop(self._over)
        self.events.extend(self._proofs.end(self._over()))
        undelivered = self._exchange.end(error)
        self.events.append(LinkClosed(error, undelivered))
