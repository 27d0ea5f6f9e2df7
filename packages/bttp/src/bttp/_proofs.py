"""Proofs on an open link: principals that speak on it later, or show new chains before the old ones expire. Pure.

Whoever proves something waits for the answer, ACCEPT or REFUSE; answers come in the order of asking. What is refused
changes nothing. A signature check costs some ms, so a peer may ask for few.
"""

from __future__ import annotations

from collections import deque

from btlib.identity import Identity

from ._auth import Auth
from ._events import ProofAnswered
from ._frames import FrameKind, frame
from ._handshake import Introduction
from ._limits import MAX_PRINCIPALS
from .errors import BttpError, RemoteProtocolError

MAX_PROOFS = 2 * MAX_PRINCIPALS  #: AUTH frames taken within `WITHIN`: all principals, twice
WITHIN = 10.0  # seconds


class Proofs:
    """What is proven on one open link, in both directions."""

    def __init__(self, introduction: Introduction) -> None:
        self._introduction = introduction
        self._asking: deque[object] = deque()  # tokens of those who wait for an answer
        self._taken: deque[float] = deque(maxlen=MAX_PROOFS)

    def prove(self, identity: Identity, token: object) -> bytes:
        """The AUTH frame; `token` comes back with ProofAnswered."""
        proof = self._introduction.prove(identity)
        self._asking.append(token)
        return frame(FrameKind.AUTH, 0, proof)

    def answered(self, error: BttpError | None) -> ProofAnswered:
        """The peer's answer to the oldest question."""
        if not self._asking:
            raise RemoteProtocolError("the peer answers an AUTH that was not sent")
        return ProofAnswered(self._asking.popleft(), error)

    def take(self, payload: bytes, now: float) -> Auth:
        """A proof of the peer. Raises AuthenticationError, or RemoteProtocolError for what is none, or one too many."""
        if len(self._taken) == MAX_PROOFS and now - self._taken[0] < WITHIN:
            raise RemoteProtocolError(f"more than {MAX_PROOFS} AUTH frames within {WITHIN:g} s")
        self._taken.append(now)
        return self._introduction.verify(payload)

    def end(self, error: BttpError) -> list[ProofAnswered]:
        """The link is closed: nobody answers any more."""
        return [ProofAnswered(self._asking.popleft(), error) for _ in range(len(self._asking))]
