"""Attacks on file systems and on servers without keys. For whoever implements either again.

    class Mine: ...                                  # an `Implementation`; `BTFPROTO` is this package as one

    @pytest.mark.parametrize("name", ATTACKS)
    def test_mine(name: str) -> None:
        ATTACKS[name].run(Mine())

A store lies to a reader or answers each differently, a writer has no right to what it commits, somebody is in a group
no more. An attack raises AssertionError where it succeeds,
and also where the honest thing beside it is refused. Worlds are made from numbers, and their clock stands still.
"""

from __future__ import annotations

from . import (  # noqa: F401 (they fill ATTACKS)
    _attacks_commits,
    _attacks_forks,
    _attacks_groups,
    _attacks_stores,
    _attacks_trees,
)
from ._attack import ATTACKS, BTFPROTO, Btfproto, ForkingStore, Implementation

__all__ = ["ATTACKS", "BTFPROTO", "Btfproto", "ForkingStore", "Implementation"]
