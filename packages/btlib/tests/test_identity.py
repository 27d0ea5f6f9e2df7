"""An identity shows the chain that fits, or says what comes closest."""

from __future__ import annotations

import pytest
from btlib import BlockPath, CapabilityError, Chain, Identity, Kind, Rights
from btlib.testing import ROOT_SCOPE, make_domain_identities, make_identity, make_keys

DOMAIN = make_domain_identities("alice")
NOON = 1_000_000


def alice_with(*chains: Chain) -> Identity:
    return make_identity("alice", *chains)


def chain(*names: str, rights: Rights = Rights.WRITE, ends: int = NOON, scope: bytes = ROOT_SCOPE) -> Chain:
    return DOMAIN.issue("alice", names, rights=rights, time=(0, ends), scope=scope).chains[0]


def path(*names: str) -> BlockPath:
    return BlockPath(DOMAIN.principal, names)


def test_a_member_may_do_what_its_chain_says() -> None:
    alice = DOMAIN["alice"]
    assert alice.chain_for(DOMAIN.principal, Rights.WRITE | Rights.EXECUTE, NOON, path("x")) == alice.chains[0]


def test_the_root_shows_the_empty_chain() -> None:
    assert DOMAIN.root.chain_for(DOMAIN.principal, Rights.WRITE, NOON, path("x"), [b"any"]) == Chain()


def test_of_several_chains_that_fit_the_longest_lasting_is_shown() -> None:
    first, longest, elsewhere = chain("a"), chain("a", "b", ends=2 * NOON), chain("c", ends=9 * NOON)
    alice = alice_with(first, longest, elsewhere)
    assert alice.chain_for(DOMAIN.principal, Rights.WRITE, 5, path("a", "b", "x")) == longest
    assert alice.chain_for(DOMAIN.principal, Rights.WRITE, 5, path("a", "x")) == first


def test_the_scope_decides_where_paths_are_unknown() -> None:
    inner = chain("a", scope=b"an inner scope..")
    alice = alice_with(inner)
    lineage = [b"an inner scope..", ROOT_SCOPE]
    assert alice.chain_for(DOMAIN.principal, Rights.WRITE, 5, lineage=lineage) == inner
    with pytest.raises(CapabilityError, match="write scope"):
        alice.chain_for(DOMAIN.principal, Rights.WRITE, 5, lineage=[ROOT_SCOPE])


@pytest.mark.parametrize(
    ("target", "right", "now", "kind", "reason"),
    [
        (path("a"), Rights.WRITE, NOON + 1, Kind.EXPIRED, "writecap 1 for .* expired on 1970-01-12 13:46:40 UTC"),
        (path("a"), Rights.EXECUTE, 5, Kind.FORBIDDEN, "does not give .* the right to execute at /bt1.*/a"),
        (path("x"), Rights.WRITE, 5, Kind.FORBIDDEN, "/x is not below /bt1.*/a"),
        (path(), Rights.WRITE, 5, Kind.FORBIDDEN, "is not below /bt1.*/a"),
    ],
)
def test_the_reason_of_the_closest_chain_is_given(
    target: BlockPath, right: Rights, now: int, kind: Kind, reason: str
) -> None:
    with pytest.raises(CapabilityError, match=reason) as caught:
        alice_with(chain("a"), chain("a", "b")).chain_for(DOMAIN.principal, right, now, target)
    assert caught.value.kind is kind


def test_whoever_holds_nothing_is_told_so() -> None:
    eve = make_identity("eve")
    with pytest.raises(
        CapabilityError, match=f"{eve.principal} is not the root {DOMAIN.principal} and shows no writecap"
    ):
        eve.chain_for(DOMAIN.principal, Rights.WRITE, 5)


def test_a_chain_of_another_domain_does_not_help() -> None:
    alice = alice_with(make_domain_identities("alice", root="other")["alice"].chains[0])
    with pytest.raises(CapabilityError, match="is not the root"):
        alice.chain_for(DOMAIN.principal, Rights.WRITE, 5)


def test_chains_are_added_once() -> None:
    alice = alice_with(chain("a")).with_chains(chain("a"), chain("b"))
    assert alice.chains == (chain("a"), chain("b"))
    assert alice.principal == make_keys("alice").public.principal
