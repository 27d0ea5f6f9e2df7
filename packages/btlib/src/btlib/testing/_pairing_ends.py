"""What is attacked: both ends of an enrolment by a code, over bytes; and this package as those."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Protocol

from ..kinds import Kind
from ..pairing import (
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
from ._attack import Attack

RESPONSE, REPORT = b"your chains", b"what you may"  #: what every inviting end answers and reports


class End(Protocol):
    """One end of one connection, which goes on by itself: it answers, keeps and reports as its turn comes."""

    @property
    def believed(self) -> list[bytes]:
        """What it took as the other end's word: a request; or a response, and then a report."""
        ...

    @property
    def reason(self) -> Kind | None:
        """Why it broke off; None while it goes on, and where it came to its end."""
        ...

    def send(self) -> bytes:
        """What it has to send now; empty: nothing."""
        ...

    def receive(self, data: bytes, now: float) -> None:
        """Take what the other end sent, or somebody in between."""
        ...


class Inviter(Protocol):
    """One invitation."""

    def talk(self) -> End:
        """A talk for somebody who connects."""
        ...


class Pairing(Protocol):
    """An implementation under attack. Its randomness is fresh in every talk."""

    def invite(self, code: str, expires: float) -> Inviter: ...

    def join(self, code: str, request: bytes) -> End: ...


class _End:
    """An end of this package."""

    def __init__(self, talk: InviterTalk | Joiner) -> None:
        self._talk = talk
        self.believed: list[bytes] = []
        self.reason: Kind | None = None

    def send(self) -> bytes:
        return self._talk.data_to_send()

    def receive(self, data: bytes, now: float) -> None:
        self._talk.receive_data(data, now)
        while (event := self._talk.next_event()) is not None:
            self._follow(event)

    def _follow(self, event: Asked | Joined | Answered | Reported | Ended) -> None:
        talk = self._talk
        if isinstance(event, Asked) and isinstance(talk, InviterTalk):
            self.believed.append(event.request)
            talk.respond(RESPONSE)
        elif isinstance(event, Joined) and isinstance(talk, InviterTalk):
            talk.report(REPORT)
        elif isinstance(event, Answered) and isinstance(talk, Joiner):
            self.believed.append(event.response)
            talk.joined()
        elif isinstance(event, Reported):
            self.believed.append(event.report)
        elif isinstance(event, Ended) and event.reason is not None:
            self.reason = event.reason.kind


class _Inviter:
    def __init__(self, invitation: Invitation, random: Callable[[], Callable[[int], bytes]]) -> None:
        self._invitation, self._random = invitation, random

    def talk(self) -> End:
        return _End(self._invitation.talk(self._random()))


class BtlibPairing:
    """This package."""

    def __init__(self) -> None:
        self._moments = itertools.count()

    def invite(self, code: str, expires: float) -> Inviter:
        return _Inviter(Invitation(InvitationCode.parse(code), expires=expires), self._random)

    def join(self, code: str, request: bytes) -> End:
        return _End(Joiner(InvitationCode.parse(code), request, self._random()))

    def _random(self) -> Callable[[int], bytes]:
        """Another one each time, and the same in each run."""
        moment = str(next(self._moments)).encode()
        return lambda size: hashlib.shake_256(moment).digest(size)


ATTACKS: dict[str, Attack[Pairing]] = {}  #: filled by `attack`, in order of definition


def attack(name: str, tries: str) -> Callable[[Callable[[Pairing], None]], Callable[[Pairing], None]]:
    """Enter a function into ATTACKS."""

    def enter(run: Callable[[Pairing], None]) -> Callable[[Pairing], None]:
        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name=name, tries=tries, run=run)
        return run

    return enter
