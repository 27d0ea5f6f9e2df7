"""Attacks on file systems and on servers without keys. For whoever implements either again.

    class Mine: ...                                  # an `Implementation`; `BTFPROTO` is this package as one

    @pytest.mark.parametrize("name", ATTACKS)
    def test_mine(name: str) -> None:
        ATTACKS[name].run(Mine())

A store lies to a reader, a writer has no right to what it commits. An attack raises AssertionError where it succeeds,
and also where the honest thing beside it is refused. Worlds are made from numbers, and their clock stands still.
"""

from __future__ import annotations

from . import _attacks_commits, _attacks_stores, _attacks_trees  # noqa: F401 (they fill ATTACKS)
from ._attack import ATTACKS, BTFPROTO, Btfproto, Implementation

__all__ = ["ATTACKS", "BTFPROTO", "Btfproto", "Implementation"]
