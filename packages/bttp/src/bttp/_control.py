"""The control frames of a link: who speaks on it, whether it lives, and how it ends. Part of `_core`. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import ClassVar

from btlib.identity import Identity
from btlib.kinds import Kind

from . import _frames as wire
from ._auth import Role
from ._events import Event, LinkOpened, PeerDraining, PeerOffered, PeerProven
from ._frames import FrameKind, frame
from ._handshake import Introduction
from ._peer import Peer
from ._proofs import Proofs
from ._receiver import Receiver
from ._states import FRAMES, State, Step
from .errors import (
    AuthenticationError,
    BttpError,
    LimitError,
    RemoteProtocolError,
    UnreachableError,
)

_DISMISSED = frozenset({Kind.EXPIRED, Kind.FORBIDDEN, Kind.UNAUTHENTICATED})  # in a VIOLATION: rights have ended


LEAVING = b"leaving "  #: of the PING behind a GOAWAY: once it is answered, no call of the peer is on its way any more


class Control:
    """What a link's core does with frames of stream 0, and says in them."""

    role: Role
    state: State
    peer: Peer
    events: deque[Event]
    _talking: bool
    _exchange: Receiver
    _introduction: Introduction
    _proofs: Proofs
    admitted_until: float
    _answered: bool

    def _move(self, what: Step) -> None:
        raise NotImplementedError

    def _over(self) -> BttpError:
        raise NotImplementedError

    def _fail(self, error: BttpError) -> None:
        raise NotImplementedError

    def _close(self, error: BttpError | None) -> None:
        raise NotImplementedError

    # --- proofs on an open link

    def prove(self, identity: Identity, token: object) -> None:
        """On an open link: prove one more principal, or other chains of one; `token` comes back with ProofAnswered.

        Raises NotSentError on another link, AuthenticationError for chains that do not fit an AUTH frame.
        """
        if not self._talking:
            raise self._over()
        self._exchange.outbox.frames.append(self._proofs.prove(identity, token))

    def take_proof(self, peer: Peer, seconds: float | None) -> None:
        """After PeerOffered: the peer is this from now on, and judged anew after so many seconds."""
        self.peer = peer
        self.stands(seconds)
        self._exchange.outbox.frames.append(frame(FrameKind.ACCEPT, 0))

    def refuse_proof(self, kind: Kind, reason: str) -> None:
        """After PeerOffered: nothing changes, and the peer is told why."""
        self._exchange.outbox.frames.append(wire.text_frame(FrameKind.REFUSE, 0, kind, reason))

    def stands(self, seconds: float | None) -> None:
        """The peer is admitted for so many seconds from `now`; its rights to paths are looked up anew."""
        self.admitted_until = inf if seconds is None else self._exchange.now + seconds
        self._exchange.judge_anew()

    def set_time(self, now: float) -> None:
        """Before `stands` and `limit_stream` outside of events: what they count from."""
        self._exchange.now = now

    def cut_off(self, error: LimitError) -> None:
        """The peer exceeds a limit that this core does not know of: it is told, and the link ends."""
        self._fail(error)

    def dismiss(self, kind: Kind, reason: str) -> None:
        """The peer is not admitted any more: it is told why, and the link ends."""
        self._fail(AuthenticationError(reason, kind=kind))

    # --- frames

    def _control(self, kind: int, stream: int, payload: bytearray) -> None:
        if self.state is State.CLOSED:
            return
        if kind not in FRAMES.get(self.state, ()):
            name = FrameKind(kind).name if kind in FrameKind._value2member_map_ else f"frame of kind {kind}"
            raise RemoteProtocolError(f"a {name} has no place in a link that is {self.state.name}")
        if stream != 0:
            raise RemoteProtocolError(f"a {FrameKind(kind).name} belongs to stream 0, not {stream}")
        self._CONTROL[kind](self, payload)

    def _on_hello(self, payload: bytearray) -> None:
        self._introduction.take_hello(wire.parse_hello(payload))
        self._move(Step.HELLO_READ)
        self._check_proven()

    def _on_auth(self, payload: bytearray) -> None:
        if self._talking:
            try:
                self.events.append(PeerOffered(self._proofs.take(bytes(payload), self._exchange.now)))
            except AuthenticationError as error:
                self.refuse_proof(error.kind, error.message)
            return
        self._introduction.take_auth(bytes(payload))
        self._check_proven()

    def _check_proven(self) -> None:
        if self._introduction.complete:
            self._move(Step.PROVEN)
            self.peer = Peer(self._introduction.proofs)
            self.events.append(PeerProven(self.peer))

    def _on_accept(self, payload: bytearray) -> None:
        if len(payload):
            raise RemoteProtocolError("an ACCEPT is empty")
        if self._talking:
            self.events.append(self._proofs.answered(None))
        else:
            self._open()

    def _open(self) -> None:
        self._move(Step.ACCEPTED)
        assert self._introduction.hello is not None
        self._exchange.begin(self._introduction.hello)
        self.events.append(LinkOpened(self.peer))

    def _on_refuse(self, payload: bytearray) -> None:
        kind, text = wire.parse_text(payload)
        refused = AuthenticationError(f"the {self.role.other.value} refused this side: {text}", kind=kind)
        if self._talking:
            self.events.append(self._proofs.answered(refused))
        else:
            self._close(refused)

    def _on_violation(self, payload: bytearray) -> None:
        kind, text = wire.parse_text(payload)
        error = AuthenticationError if kind in _DISMISSED else RemoteProtocolError
        self._close(error(f"the peer ended the link: {text}", kind=kind))

    def _on_goaway(self, payload: bytearray) -> None:
        kind, text = wire.parse_text(payload)
        self._move(Step.DRAIN)
        self._exchange.stop(draining)
        self.events.append(PeerDraining(kind, text))

    def _on_ping(self, payload: bytearray) -> None:
        if len(payload) != 8:
            raise RemoteProtocolError("a PING has 8 bytes")
        self._exchange.put_pong(bytes(payload))

    def _on_pong(self, payload: bytearray) -> None:
        if len(payload) != 8:
            raise RemoteProtocolError("a PONG has 8 bytes")
        if payload == LEAVING:
            self._answered = True

    _CONTROL: ClassVar[dict[int, Callable[[Control, bytearray], None]]] = {
        FrameKind.HELLO: _on_hello,
        FrameKind.AUTH: _on_auth,
        FrameKind.ACCEPT: _on_accept,
        FrameKind.REFUSE: _on_refuse,
        FrameKind.VIOLATION: _on_violation,
        FrameKind.GOAWAY: _on_goaway,
        FrameKind.PING: _on_ping,
        FrameKind.PONG: _on_pong,
    }


def draining() -> BttpError:
    return UnreachableError("the link is draining and takes no new messages", hint="connect anew")
