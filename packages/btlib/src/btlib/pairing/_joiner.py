"""The joining end: it proves first that it knows the code, and believes an answer only from who knows it too."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from ..errors import PairingError
from ..kinds import Kind
from ._code import InvitationCode
from ._frames import PROOF, PROTOCOL, Frame, FrameKind
from ._keys import INVITER_SIDE, Random, Sealing, agree, joiner_exchange
from ._talk import INVITE_ANEW, Talk, misused


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The inviting end knew the code, and answers this. Keep it, then call `joined`."""

    response: bytes


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """The last word of the inviting end."""

    report: bytes


JoinerEvent: TypeAlias = Answered | Reported


class _State(enum.Enum):
    ANSWER = "answer"
    RESPONSE = "response"
    ANSWERED = "answered"
    REPORT = "report"
    CLOSED = "closed"


_EXPECTED = {
    _State.ANSWER: FrameKind.ANSWER,
    _State.RESPONSE: FrameKind.RESPONSE,
    _State.REPORT: FrameKind.REPORT,
}


class Joiner(Talk[JoinerEvent]):
    """One try with a code. It has something to send from the start."""

    def __init__(self, code: InvitationCode, request: bytes, random: Random) -> None:
        """`random` gives that many random bytes."""
        super().__init__()
        self._request = request
        self._state = _State.ANSWER
        self._sealing: Sealing | None = None
        self._exchange = joiner_exchange(code.secret, random)
        self._hello = PROTOCOL + code.meeting.to_bytes(2) + self._exchange.start()
        self._send(FrameKind.HELLO, self._hello)

    def joined(self) -> None:
        """Tell that the answer was kept."""
        if self._state is not _State.ANSWERED or self._sealing is None or self.closed:
            raise misused("this word")
        self._send(FrameKind.JOINED, self._sealing.seal(FrameKind.JOINED, b""))
        self._state = _State.REPORT

    def _expected(self) -> FrameKind | None:
        return _EXPECTED.get(self._state)

    def _follow(self, found: Frame, now: float) -> None:
        if found.kind is FrameKind.ANSWER:
            self._answer(found.body)
        elif self._sealing is not None and found.kind is FrameKind.RESPONSE:
            self._response(self._sealing, found.body)
        elif self._sealing is not None:
            report = self._sealing.open(FrameKind.REPORT, found.body)
            self._events.append(Reported(report=report))
            self._end(None)

    def _answer(self, body: bytes) -> None:
        agreed = agree(self._exchange, body, INVITER_SIDE)
        self._sealing = Sealing(agreed, self._hello + body, inviter=False)
        self._send(FrameKind.REQUEST, self._sealing.proof + self._sealing.seal(FrameKind.REQUEST, self._request))
        self._state = _State.RESPONSE

    def _response(self, sealing: Sealing, body: bytes) -> None:
        if not sealing.proves(body[:PROOF]):
            raise PairingError(
                "who answered did not know the code, or what was sent was changed on the way; do not use it again",
                kind=Kind.UNAUTHENTICATED,
                hint=INVITE_ANEW,
            )
        self._events.append(Answered(response=sealing.open(FrameKind.RESPONSE, body[PROOF:])))
        self._state = _State.ANSWERED

    def _end(self, reason: PairingError | None) -> None:
        self._state = _State.CLOSED
        super()._end(reason)
