"""Attacks on an enrolment by a code: guesses, replays, reflections, substitutions, sizes."""

from __future__ import annotations

from collections.abc import Callable

from ..kinds import Kind
from ._pairing_ends import REPORT, RESPONSE, End, Inviter, Pairing, attack

CODE, WRONG = "lemon-rocket-absorb-winter", "lemon-rocket-absorb-zebra"
REQUEST = b"who I am: the fingerprint of my keys"
NOW, EXPIRES = 1000.0, 1600.0
HELLO, ANSWER, ASKS, RESPONDS, JOINED, REPORTS, REFUSAL = range(1, 8)
HEAD, PROOF = 5, 32
TURNS = 12  #: more than a whole talk has

Relay = Callable[[int, bytes], bytes]


def _honest_relay(kind: int, data: bytes) -> bytes:
    return data


def _meet(inviter: End, joiner: End, relay: Relay = _honest_relay, now: float = NOW) -> None:
    """Pass on what both say until they are silent; the relay sees each piece with the kind of its first frame."""
    for _ in range(TURNS):
        for source, target in ((joiner, inviter), (inviter, joiner)):
            if data := source.send():
                target.receive(relay(data[0], data), now)


def _start(under: Pairing, code: str = CODE) -> tuple[Inviter, End, End]:
    """An invitation, a talk of it, and somebody who joins with a code."""
    invitation = under.invite(CODE, EXPIRES)
    return invitation, invitation.talk(), under.join(code, REQUEST)


def _honest(under: Pairing) -> list[bytes]:
    """Two ends that share the code come together; what they said, in order."""
    said: list[bytes] = []

    def recorded(kind: int, data: bytes) -> bytes:
        said.append(data)
        return data

    _, inviter, joiner = _start(under)
    _meet(inviter, joiner, recorded)
    assert inviter.believed == [REQUEST], "an honest joiner is not let in"
    assert joiner.believed == [RESPONSE, REPORT], "an honest inviter is not believed"
    return said


def _nobody(*ends: End) -> None:
    for end in ends:
        assert end.believed == [], f"{end.believed[0]!r:.40} was believed"
        assert end.reason is not None, "an end goes on as if nothing had happened"


def _still_good(invitation: Inviter, under: Pairing) -> None:
    """The guess was not spent."""
    inviter, joiner = invitation.talk(), under.join(CODE, REQUEST)
    _meet(inviter, joiner)
    assert inviter.believed == [REQUEST], "the code is used up although nobody guessed"


def _burnt(invitation: Inviter, under: Pairing) -> None:
    """The guess was spent: who has the right code comes too late."""
    inviter, joiner = invitation.talk(), under.join(CODE, REQUEST)
    _meet(inviter, joiner)
    _nobody(inviter, joiner)


@attack("wrong-guess", "somebody guesses the code, and then guesses again")
def wrong_guess(under: Pairing) -> None:
    _honest(under)
    invitation, inviter, joiner = _start(under, WRONG)
    _meet(inviter, joiner)
    _nobody(inviter, joiner)
    assert (inviter.reason, joiner.reason) == (Kind.UNAUTHENTICATED,) * 2, "an end is not told that the code is used up"
    _burnt(invitation, under)


@attack("guesses-at-once", "many connect before one guesses, so that each has a guess; or one comes back with the code")
def guesses_at_once(under: Pairing) -> None:
    _honest(under)
    for first, second in ((WRONG, CODE), (CODE, CODE)):
        invitation = under.invite(CODE, EXPIRES)
        talks = [(invitation.talk(), under.join(code, REQUEST)) for code in (first, second)]
        for inviter, joiner in talks:
            inviter.receive(joiner.send(), NOW)
            joiner.receive(inviter.send(), NOW)
        for inviter, joiner in talks:
            _meet(inviter, joiner)
        _nobody(*talks[1])
        _burnt(invitation, under)


@attack("pretended-inviter", "somebody who does not know the code answers in the inviter's stead")
def pretended_inviter(under: Pairing) -> None:
    _honest(under)
    evil, joiner = under.invite(WRONG, EXPIRES).talk(), under.join(CODE, REQUEST)
    _meet(evil, joiner)
    _nobody(evil, joiner)


@attack("replayed-pairing", "what an end said is said again, to a fresh invitation or joiner with the same code")
def replayed(under: Pairing) -> None:
    said = _honest(under)
    invitation, inviter, joiner = _start(under)
    for data in said:
        if data[0] in (HELLO, ASKS, JOINED):
            inviter.receive(data, NOW)
    _nobody(inviter)
    _burnt(invitation, under)
    joiner.send()
    for data in said:
        if data[0] in (ANSWER, RESPONDS, REPORTS):
            joiner.receive(data, NOW)
    _nobody(joiner)


@attack("reflected-pairing", "an end hears what it said itself, under its own name or the other's")
def reflected(under: Pairing) -> None:
    _honest(under)
    for side in (b"A", b"B"):
        joiner = under.join(CODE, REQUEST)
        joiner.receive(_frame(ANSWER, side + joiner.send()[-32:]), NOW)
        assert joiner.send()[:1] != bytes([ASKS]), "an end takes its own point for another's"
        _nobody(joiner)
    _, inviter, joiner = _start(under)
    inviter.receive(joiner.send(), NOW)
    joiner.receive(inviter.send(), NOW)
    asked = joiner.send()
    joiner.receive(bytes([RESPONDS]) + asked[1:], NOW)
    _nobody(joiner)
    invitation, inviter, joiner = _start(under)
    hello = joiner.send()
    inviter.receive(hello, NOW)
    again = invitation.talk()
    again.receive(hello[:-33] + inviter.send()[-33:], NOW)
    _nobody(again)
    _still_good(invitation, under)


@attack("substituted-principal", "who stands in between puts another request, response or report behind a true proof")
def substituted(under: Pairing) -> None:
    other = {data[0]: data for data in _honest(under)}
    for kind, spoilt in ((ASKS, 0), (RESPONDS, 0), (REPORTS, 1)):
        for change in (_other_seal(other[kind]), _flip(-1), _flip(HEAD + PROOF)):
            _, inviter, joiner = _start(under)
            _meet(inviter, joiner, lambda seen, data, k=kind, c=change: c(data) if seen == k else data)  # type: ignore[misc]
            victim = inviter if kind == ASKS else joiner
            assert len(victim.believed) == spoilt, "what was put in between was believed"
            assert victim.reason is not None, "what was put in between goes unnoticed"
            assert inviter.believed in ([], [REQUEST]), "another request was believed"


def _other_seal(other: bytes) -> Callable[[bytes], bytes]:
    """The proof of this talk, and what was sealed in another of the same code."""
    start = HEAD + (0 if other[0] == REPORTS else PROOF)
    return lambda data: other[:HEAD] + data[HEAD:start] + other[start:]


def _flip(place: int) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[min(place, len(data) - 1)] ^= 1
        return bytes(changed)

    return flipped


@attack("crossed-joiners", "a server at which the ends meet hands what is for one joiner to another with the same code")
def crossed(under: Pairing) -> None:
    _honest(under)
    invitation, inviter, first = _start(under)
    second = under.join(CODE, b"another's keys")
    hello, _ = first.send(), second.send()
    inviter.receive(hello, NOW)
    answer = inviter.send()
    second.receive(answer, NOW)
    inviter.receive(second.send(), NOW)
    _nobody(inviter)
    _burnt(invitation, under)
    _, inviter, first = _start(under)
    second = under.join(CODE, b"another's keys")
    inviter.receive(first.send(), NOW)
    second.send()
    answer = inviter.send()
    first.receive(answer, NOW)
    second.receive(answer, NOW)
    inviter.receive(first.send(), NOW)
    second.receive(inviter.send(), NOW)
    _nobody(second)


@attack("late-guess", "somebody comes with the right code after its time, or begins before and goes on after")
def late(under: Pairing) -> None:
    _honest(under)
    for moment in (EXPIRES, EXPIRES + 1):
        _, inviter, joiner = _start(under)
        _meet(inviter, joiner, now=moment)
        _nobody(inviter, joiner)
        assert (inviter.reason, joiner.reason) == (Kind.EXPIRED,) * 2, "an end is not told that the time is over"
    _, inviter, joiner = _start(under)
    inviter.receive(joiner.send(), EXPIRES - 1)
    joiner.receive(inviter.send(), EXPIRES - 1)
    _meet(inviter, joiner, now=EXPIRES)
    _nobody(inviter, joiner)


@attack("oversize-pairing", "a message that is longer or shorter than its kind may be, or of another kind or version")
def oversize(under: Pairing) -> None:
    hello = _honest(under)[0]
    sizes = {HELLO: 44, ANSWER: 34, ASKS: 2**18 + 49, RESPONDS: 2**18 + 49, JOINED: 17, REPORTS: 4113, REFUSAL: 2}
    for kind, size in {**sizes, 0: 0, 10: 0, 255: 1}.items():
        for length in (size, 2**32 - 1):
            head = bytes([kind]) + length.to_bytes(4)
            invitation, inviter, joiner = _start(under)
            joiner.send()
            for end in (inviter, joiner):
                end.receive(head, NOW)
                _nobody(end)
            _still_good(invitation, under)
    for other in (hello.replace(b"btjoin/1", b"btjoin/2"), _frame(HELLO, hello[HEAD:-1]), _frame(JOINED, bytes(16))):
        invitation, inviter, _ = _start(under)
        inviter.receive(other, NOW)
        _nobody(inviter)
        _still_good(invitation, under)


FIELD = 2**255 - 19
#: Of order 4; neutral; of order 2; neutral, not canonical; not canonical; on no curve.
BAD_POINTS = tuple(number.to_bytes(32, "little") for number in (0, 1, FIELD - 1, FIELD + 1, 2**255 - 1, 2))


@attack("points-of-small-order", "a point that is none of the group, or has a second form, so that the key is known")
def small_order(under: Pairing) -> None:
    _honest(under)
    for point in BAD_POINTS:
        invitation, inviter, joiner = _start(under)
        inviter.receive(joiner.send()[:-32] + point, NOW)
        joiner.receive(_frame(ANSWER, b"A" + point), NOW)
        _nobody(inviter, joiner)
        _still_good(invitation, under)


def _frame(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(4) + body
