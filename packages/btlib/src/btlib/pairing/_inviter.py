"""The inviting end: an invitation allows one guess, whoever knocks, and however many at once.

    OPEN ──right guess──▸ TAKEN        any number of talks may be under way; the first request that comes, ends
    OPEN ──wrong guess──▸ BURNT        the invitation for all of them, before anything is answered to it
    OPEN ──time─────────▸ EXPIRED

Whoever knocks and goes before its request has learned nothing and spent nothing: this end proves nothing before the
joiner did. So a scanner of ports burns no code.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from ..errors import PairingError
from ..kinds import Kind
from ._code import InvitationCode
from ._frames import PROOF, Frame, FrameKind, meeting_of
from ._keys import JOINER_SIDE, Random, Sealing, agree, inviter_exchange
from ._talk import INVITE_ANEW, Talk, misused


class InvitationState(enum.Enum):
    OPEN = "open"
    TAKEN = "taken"
    BURNT = "burnt"
    EXPIRED = "expired"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The other end knew the code, and asks this. Answer with `respond`."""

    request: bytes


class Joined(msgspec.Struct, frozen=True):
    """The other end has kept what it got. Tell it the rest with `report`."""


InviterEvent: TypeAlias = Asked | Joined


class _State(enum.Enum):
    HELLO = "hello"
    REQUEST = "request"
    ASKED = "asked"
    RESPONDED = "responded"
    JOINED = "joined"
    CLOSED = "closed"


_EXPECTED = {
    _State.HELLO: FrameKind.HELLO,
    _State.REQUEST: FrameKind.REQUEST,
    _State.RESPONDED: FrameKind.JOINED,
}


class Invitation:
    """What all talks about one code share. `expires` is on the clock of the `now` of every call."""

    def __init__(self, code: InvitationCode, *, expires: float) -> None:
        self.code = code
        self.expires = expires
        self.state = InvitationState.OPEN

    def talk(self, random: Random) -> InviterTalk:
        """A talk for somebody who knocks. `random` gives that many random bytes."""
        return InviterTalk(self, random)

    def handle_timeout(self, now: float) -> None:
        """Let the invitation end if its time has come."""
        if self.state is InvitationState.OPEN and now >= self.expires:
            self.state = InvitationState.EXPIRED

    def check_open(self, now: float) -> None:
        """Raises PairingError (EXPIRED; CONFLICT: used up) where nobody can be let in any more."""
        self.handle_timeout(now)
        if self.state is InvitationState.EXPIRED:
            raise PairingError("the code has expired", kind=Kind.EXPIRED, hint=INVITE_ANEW)
        if self.state is not InvitationState.OPEN:
            raise PairingError(f"the code is {self.state.value}", kind=Kind.CONFLICT, hint=INVITE_ANEW)

    def guessed(self, right: bool) -> None:
        """Spend the one guess."""
        self.state = InvitationState.TAKEN if right else InvitationState.BURNT


class InviterTalk(Talk[InviterEvent]):
    """One connection to an invitation."""

    def __init__(self, invitation: Invitation, random: Random) -> None:
        super().__init__()
        self._invitation = invitation
        self._random = random
        self._state = _State.HELLO
        self._sealing: Sealing | None = None

    def respond(self, response: bytes) -> None:
        """Answer a request."""
        if self._state is not _State.ASKED or self._sealing is None or self.closed:
            raise misused("a response")
        self._send(FrameKind.RESPONSE, self._sealing.proof + self._sealing.seal(FrameKind.RESPONSE, response))
        self._state = _State.RESPONDED

    def report(self, report: bytes) -> None:
        """Say the last word."""
        if self._state is not _State.JOINED or self._sealing is None or self.closed:
            raise misused("a report")
        self._send(FrameKind.REPORT, self._sealing.seal(FrameKind.REPORT, report))
        self._end(None)

    def recheck(self, now: float) -> None:
        """Break off if the invitation lets nobody in any more: because of another talk, or of time."""
        if self._state in (_State.HELLO, _State.REQUEST):
            try:
                self._invitation.check_open(now)
            except PairingError as error:
                self._break_off(error)

    def _expected(self) -> FrameKind | None:
        return _EXPECTED.get(self._state)

    def _follow(self, found: Frame, now: float) -> None:
        if found.kind is FrameKind.HELLO:
            self._hello(found.body, now)
        elif found.kind is FrameKind.REQUEST:
            self._request(found.body, now)
        elif self._sealing is not None:
            self._sealing.open(FrameKind.JOINED, found.body)
            self._state = _State.JOINED
            self._events.append(Joined())

    def _hello(self, body: bytes, now: float) -> None:
        code = self._invitation.code
        if meeting_of(body) != code.meeting:
            raise PairingError("somebody knocked with another first word", kind=Kind.NO_SUCH_TARGET)
        self._invitation.check_open(now)
        exchange = inviter_exchange(code.secret, self._random)
        answer = exchange.start()
        agreed = agree(exchange, body[-len(answer) :], JOINER_SIDE)
        self._sealing = Sealing(agreed, body + answer, inviter=True)
        self._send(FrameKind.ANSWER, answer)
        self._state = _State.REQUEST

    def _request(self, body: bytes, now: float) -> None:
        self._invitation.check_open(now)
        sealing, proof, sealed = self._sealing, body[:PROOF], body[PROOF:]
        right = sealing is not None and sealing.proves(proof)
        self._invitation.guessed(right)
        if sealing is None or not right:
            raise PairingError(
                "somebody guessed the code wrong, or what was sent was changed on the way; the code is used up",
                kind=Kind.UNAUTHENTICATED,
                hint=INVITE_ANEW,
            )
        self._state = _State.ASKED
        self._events.append(Asked(request=sealing.open(FrameKind.REQUEST, sealed)))

    def _end(self, reason: PairingError | None) -> None:
        self._state = _State.CLOSED
        super()._end(reason)
