"""The threat model names its proofs, and they are there."""

from __future__ import annotations

import pytest
from btlib.labels import Label

from tests.hostile.claims import ATTACKS, Claim, claims, every_test

CLAIMS = claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=[f"line {claim.line}" for claim in CLAIMS])
def test_a_claim_names_what_shows_it(claim: Claim) -> None:
    assert claim.shown, claim.text


def test_every_test_and_attack_that_is_named_exists() -> None:
    there = every_test()
    assert [name for claim in CLAIMS for name in claim.tests if name not in there] == []
    assert [name for claim in CLAIMS for name in claim.attacks if name not in ATTACKS] == []


def test_every_attack_stands_in_the_threat_model() -> None:
    assert ATTACKS - {name for claim in CLAIMS for name in claim.attacks} == set()


def test_a_claim_without_a_proof_would_be_found() -> None:
    assert not Claim(1, "| reads everything | nothing | nothing |").shown
    assert Claim(1, "| a | b | attacks `slow-loris`, `trickle` |").attacks == ["slow-loris", "trickle"]


def test_all_labels_keep_purposes_apart() -> None:
    """Whatever is hashed, signed, sealed or derived says what for; this lists them, so that a new one is looked at."""
    values = [label.value for label in Label]
    assert len(values) == len(set(values)) == len(Label.__members__)
    assert all(value.startswith(b"blocktree/1 ") and value.index(b"\0") == len(value) - 1 for value in values)
    assert not [(a, b) for a in values for b in values if a != b and a.startswith(b)]
