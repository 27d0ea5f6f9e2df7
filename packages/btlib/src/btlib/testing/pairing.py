"""Attacks on an enrolment by a code: by who guesses, stands in between, replays. For whoever implements an end again.

    class Mine: ...                                  # a `Pairing`; `BtlibPairing` is this package as one

    @pytest.mark.parametrize("name", ATTACKS)
    def test_mine(name: str) -> None:
        ATTACKS[name].run(Mine())

An attack raises AssertionError where it succeeds, and also where two honest ends beside it do not come together. The
clock is a number; what connects the ends, passes on, changes or cuts is the attack.
"""

from __future__ import annotations

from . import _attacks_pairing  # noqa: F401 (it fills ATTACKS)
from ._pairing_ends import ATTACKS, REPORT, RESPONSE, BtlibPairing, End, Inviter, Pairing

__all__ = ["ATTACKS", "REPORT", "RESPONSE", "BtlibPairing", "End", "Inviter", "Pairing"]
