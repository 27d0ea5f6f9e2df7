"""Attacks on what holds without a network: signatures, capabilities, seals, trees. For whoever implements them again.

    class Mine: ...                                  # a `Judge`, over bytes; `BTLIB` is this package as one

    @pytest.mark.parametrize("name", ATTACKS)
    def test_my_judge(name: str) -> None:
        ATTACKS[name].run(Mine())

An attack raises AssertionError where it succeeds, and also where the honest thing beside it is refused: who refuses
everything does not pass. Everything is made from names, without a clock and without randomness but that of seals.
"""

from __future__ import annotations

from . import _attacks_chains, _attacks_forms, _attacks_seals  # noqa: F401 (they fill ATTACKS)
from ._attack import ATTACKS, BTLIB, Attack, Btlib, Judge, Question

__all__ = ["ATTACKS", "BTLIB", "Attack", "Btlib", "Judge", "Question"]
