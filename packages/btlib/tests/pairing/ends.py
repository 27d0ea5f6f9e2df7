"""Two ends of an enrolment by a code, joined in memory, with known randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from btlib.pairing import (
    Answered,
    Asked,
    Ended,
    Invitation,
    InvitationCode,
    InviterTalk,
    Joined,
    Joiner,
    Reported,
)

CODE = InvitationCode.parse("lemon-rocket-absorb-winter")
NOW, EXPIRES = 1000.0, 1600.0
REQUEST, RESPONSE, REPORT = b"who I am", b"your chains", b"what you may"

Event = Asked | Joined | Answered | Reported | Ended
Relay = Callable[[bytes], bytes]


def known(seed: str) -> Callable[[int], bytes]:
    """Randomness that is the same each time."""
    return lambda size: hashlib.shake_256(seed.encode()).digest(size)


def invite() -> Invitation:
    return Invitation(CODE, expires=EXPIRES)


def join(code: InvitationCode = CODE, seed: str = "joiner") -> Joiner:
    return Joiner(code, REQUEST, known(seed))


def honest(data: bytes) -> bytes:
    return data


@dataclass
class Meeting:
    """What happened at both ends, until neither has anything to say."""

    inviter: InviterTalk
    joiner: Joiner
    to_inviter: Relay = honest
    to_joiner: Relay = honest
    now: float = NOW
    events: list[Event] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def run(self) -> Meeting:
        """Pass everything on, answering as the shells do."""
        while self._pass_on():
            pass
        return self

    def step(self) -> bytes:
        """What the joiner sends now, unseen by the inviter."""
        return self.joiner.data_to_send()

    @property
    def ends(self) -> list[Ended]:
        return [event for event in self.events if isinstance(event, Ended)]

    def _pass_on(self) -> bool:
        up, down = self.joiner.data_to_send(), self.inviter.data_to_send()
        self.sent += [data for data in (up, down) if data]
        if up:
            self.inviter.receive_data(self.to_inviter(up), self.now)
        if down:
            self.joiner.receive_data(self.to_joiner(down), self.now)
        return self._react() or bool(up or down)

    def _react(self) -> bool:
        found = False
        for end in (self.inviter, self.joiner):
            while (event := end.next_event()) is not None:
                self.events.append(event)
                self._answer(event)
                found = True
        return found

    def _answer(self, event: Event) -> None:
        if isinstance(event, Asked):
            self.inviter.respond(RESPONSE)
        elif isinstance(event, Answered):
            self.joiner.joined()
        elif isinstance(event, Joined):
            self.inviter.report(REPORT)


def meet(invitation: Invitation | None = None, joiner: Joiner | None = None) -> Meeting:
    talk = (invitation or invite()).talk(known("inviter"))
    return Meeting(talk, joiner or join())
