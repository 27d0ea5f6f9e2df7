"""Remembering signatures changes the time that a decision takes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from btlib import Chain, Suite
from btlib.testing import make_keys
from btlib.verification import Stage, VerifiedLinks
from btserde import encode

from .test_verification import CASES, GOOD, decide, with_cap


@pytest.mark.parametrize(("chain", "changes"), [case[:2] for case in CASES.values()], ids=CASES)
def test_every_refusal_is_the_same_with_a_memory(chain: Chain, changes: dict[str, Any]) -> None:
    known = VerifiedLinks()
    assert decide(verified=known).allowed
    expected = decide(chain, **changes)
    for _ in range(2):
        assert decide(chain, verified=known, **changes) == expected


def test_a_known_chain_costs_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    known = VerifiedLinks()
    first = decide(verified=known)
    monkeypatch.setattr("btlib.verification.suite_code", _no_suite)
    assert decide(Chain.decode(encode(GOOD)), verified=known) == first
    with pytest.raises(AssertionError, match="a signature was verified"):
        decide(verified=VerifiedLinks())


def test_a_bad_signature_is_not_remembered() -> None:
    known = VerifiedLinks()
    bad = with_cap(3, signature=bytes(64))
    assert [decide(bad, verified=known).allowed for _ in range(2)] == [False, False]
    assert bad.id not in known


def test_a_known_chain_is_still_looked_at_under_another_root() -> None:
    """A memory may be shared between domains: what one root began says nothing about another."""
    known = VerifiedLinks()
    assert decide(verified=known).allowed
    other = make_keys("another root").public.principal
    refused = decide(verified=known, root=other, path=None)
    assert refused.stage is Stage.CHAIN
    assert refused == decide(root=other, path=None)


def test_it_forgets_the_oldest_and_stays_bounded() -> None:
    known = VerifiedLinks(limit=10)
    ids = [bytes([number]) for number in range(100)]
    for link_id in ids:
        known.add(link_id)
        assert link_id in known
        assert sum(other in known for other in ids) <= 10
    assert ids[0] not in known


def _no_suite(_: Suite) -> Callable[..., bool]:
    raise AssertionError("a signature was verified")
