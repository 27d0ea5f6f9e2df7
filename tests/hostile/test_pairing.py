"""The attacks of `btlib.testing.pairing` on btlib; and each succeeds against ends without cryptography."""

from __future__ import annotations

import pytest
from btlib.kinds import Kind
from btlib.testing.pairing import ATTACKS, REPORT, RESPONSE, BtlibPairing, End, Inviter


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_an_enrolment_fails(name: str) -> None:
    ATTACKS[name].run(BtlibPairing())


class Gullible:
    """An end, and all of an implementation: the same frames, in which everything stands in clear and is believed."""

    def __init__(self, opening: bytes = b"", request: bytes = b"") -> None:
        self.believed: list[bytes] = []
        self.reason: Kind | None = None
        self._out, self._in, self._request = opening, b"", request

    def invite(self, code: str, expires: float) -> Inviter:
        return self

    def talk(self) -> End:
        return Gullible()

    def join(self, code: str, request: bytes) -> End:
        return Gullible(frame(1, b"btjoin/1" + bytes(35)), request)

    def send(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def receive(self, data: bytes, now: float) -> None:
        self._in += data
        while len(self._in) >= 5 and len(self._in) >= (end := 5 + int.from_bytes(self._in[1:5])):
            kind, body, self._in = self._in[0], self._in[5:end], self._in[end:]
            self._follow(kind, body)

    def _follow(self, kind: int, body: bytes) -> None:
        taken = {3: body[32:-16], 4: body[32:-16], 6: body[:-16]}
        if kind in taken:
            self.believed.append(taken[kind])
        answers = {
            1: frame(2, bytes(33)),
            2: frame(3, bytes(32) + self._request + bytes(16)),
            3: frame(4, bytes(32) + RESPONSE + bytes(16)),
            4: frame(5, bytes(16)),
            5: frame(6, REPORT + bytes(16)),
        }
        self._out += answers.get(kind, b"")


def frame(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(4) + body


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_an_enrolment_would_be_noticed(name: str) -> None:
    with pytest.raises(AssertionError, match=r"believed|goes on|told|unnoticed|takes|used up"):
        ATTACKS[name].run(Gullible())


class Fearful(Gullible):
    """Lets nobody in."""

    reason: Kind | None = Kind.UNAUTHENTICATED

    def talk(self) -> End:
        return Fearful()

    def receive(self, data: bytes, now: float) -> None:
        self.reason = Kind.UNAUTHENTICATED


@pytest.mark.parametrize("name", ATTACKS)
def test_who_lets_nobody_in_passes_no_attack(name: str) -> None:
    with pytest.raises(AssertionError, match="an honest joiner is not let in"):
        ATTACKS[name].run(Fearful())
