"""The attacks of `bttp.testing.attacks` on this package's server."""

from __future__ import annotations

import pytest
from bttp.testing.attacks import ATTACKS, BttpServer


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_a_link_fails(name: str) -> None:
    ATTACKS[name].run(BttpServer())
