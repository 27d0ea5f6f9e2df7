"""Writecaps: what they are as bytes, and that nobody can issue more than they hold."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from btlib import BlockPath, CapabilityError, Chain, Label, Rights, Suite, Writecap, issue_writecap
from btlib.testing import ROOT_SCOPE, make_domain_identities, make_keys, serial_of
from btlib.testing._forging import NOON, Terms, forge
from btlib.testing.strategies import chains
from btlib.writecaps import MAX_CAPS
from btserde import DecodeError, decode, encode
from hypothesis import given, settings

ROOT, ALICE, BOB = make_keys("root"), make_keys("alice"), make_keys("bob")
HOME = BlockPath(ROOT.public.principal)
TERMS: dict[str, Any] = {
    "subject": BOB.public.principal,
    "path": HOME.child("a").child("b"),
    "scope": ROOT_SCOPE,
    "rights": Rights.WRITE,
    "not_before": 10,
    "not_after": NOON,
    "may_delegate": True,
    "serial": serial_of("test"),
}


def alices_chain(**changes: Any) -> Chain:
    terms = TERMS | {"subject": ALICE.public.principal, "path": HOME.child("a")} | changes
    return issue_writecap(ROOT, Chain(), **terms)


def test_the_root_issues_from_the_empty_chain_and_others_from_their_own() -> None:
    chain = issue_writecap(ALICE, alices_chain(), **TERMS)
    assert [cap.issuer for cap in chain.caps] == [ROOT.public, ALICE.public]
    assert chain.last is not None
    assert chain.last.subject == BOB.public.principal


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"path": HOME}, "not below"),
        ({"path": HOME.child("ab")}, "not below"),
        ({"path": HOME.child("c")}, "not below"),
        ({"path": BlockPath(BOB.public.principal, ("a",))}, "not in the domain"),
        ({"rights": Rights.EXECUTE}, "right to execute, which writecap 1 does not hold"),
        ({"rights": Rights.WRITE | Rights.EXECUTE}, "right to execute, which writecap 1 does not hold"),
        ({"rights": Rights(0)}, "no rights 0"),
        ({"not_before": 9}, "begins on 1970-01-01 00:00:09 UTC, before writecap 1"),
        ({"not_after": NOON + 1}, "ends on 1970-01-12 13:46:41 UTC, after writecap 1"),
        ({"not_before": 20, "not_after": 19}, "end before it begins"),
    ],
)
def test_a_writecap_that_widens_cannot_be_issued(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(CapabilityError, match=reason):
        issue_writecap(ALICE, alices_chain(), **(TERMS | changes))


@pytest.mark.parametrize("changes", [{"rights": Rights.WRITE | Rights.EXECUTE, "path": HOME, "not_after": 2**62}])
def test_the_root_is_not_bounded_in_its_own_domain(changes: dict[str, Any]) -> None:
    assert len(issue_writecap(ROOT, Chain(), **(TERMS | changes)).caps) == 1


def test_the_root_cannot_issue_in_another_domain() -> None:
    with pytest.raises(CapabilityError, match="not in the domain"):
        issue_writecap(ALICE, Chain(), **TERMS)


def test_nobody_issues_from_another_ones_chain() -> None:
    with pytest.raises(CapabilityError, match=f"only {ALICE.public.principal} could issue one"):
        issue_writecap(BOB, alices_chain(), **TERMS)
    with pytest.raises(CapabilityError, match="only"):
        issue_writecap(ROOT, alices_chain(), **TERMS)


def test_a_writecap_that_may_not_be_delegated_ends_a_chain() -> None:
    with pytest.raises(CapabilityError, match="does not let"):
        issue_writecap(ALICE, alices_chain(may_delegate=False), **TERMS)


def test_a_chain_has_at_most_eight_writecaps() -> None:
    people = [make_keys(str(number)) for number in range(MAX_CAPS + 2)]
    longest = forge([ROOT, *people[:MAX_CAPS]], [Terms()] * MAX_CAPS)
    assert Chain.decode(encode(longest)) == longest
    with pytest.raises(CapabilityError, match="at most 8 writecaps, not 9"):
        issue_writecap(people[MAX_CAPS - 1], longest, **(TERMS | {"path": HOME}))


@settings(max_examples=30, deadline=None)
@given(chains())
def test_a_chain_that_is_encoded_decodes_with_the_same_id(chain: Chain) -> None:
    decoded = Chain.decode(encode(chain))
    assert decoded == chain
    assert decoded.id == chain.id
    assert hash(decoded) == hash(chain)


@settings(max_examples=20, deadline=None)
@given(chains())
def test_ids_and_signatures_cover_all_that_comes_before(chain: Chain) -> None:
    """The formulas of the specification, a second time."""
    label = b"blocktree/1 chain\0"
    previous = hashlib.sha256(label).digest()
    for number, cap in enumerate(chain.caps):
        terms = encode(cap).removesuffix(encode(cap.signature))
        assert cap.terms == terms
        cap.issuer.verify(Label.WRITECAP, previous + terms, cap.signature)
        previous = hashlib.sha256(label + previous + terms + cap.signature).digest()
        assert chain.ids[number + 1] == previous
    assert chain.id == previous


def test_every_cut_of_a_chain_is_refused_and_every_flip_is_refused_or_another_chain() -> None:
    chain = issue_writecap(ALICE, alices_chain(), **TERMS)
    good = encode(chain)
    for size in range(len(good)):
        with pytest.raises(CapabilityError):
            Chain.decode(good[:size])
    with pytest.raises(CapabilityError):
        Chain.decode(good + b"\0")
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(CapabilityError):
            assert Chain.decode(bytes(flipped)).id != chain.id


def test_a_chain_of_nine_or_of_boundless_size_is_refused_unread() -> None:
    for text in (b"\x09" + bytes(4000), b"\xfe\xff\xff\xff\xff", bytes(100_000)):
        with pytest.raises(CapabilityError, match="not a chain"):
            Chain.decode(text)


FIELDS: dict[str, Callable[[Writecap], object]] = {
    "path with a trailing slash": lambda cap: f"{cap.path}/",
    "path with dots": lambda cap: f"{cap.path}/..",
    "path of a petname": lambda _: "home:/photos",
    "path in upper case": lambda cap: cap.path.upper(),
}


@pytest.mark.parametrize("change", FIELDS.values(), ids=FIELDS)
def test_a_writecap_with_a_path_that_is_not_canonical_does_not_exist(change: Callable[[Writecap], object]) -> None:
    cap = alices_chain().caps[0]
    with pytest.raises(ValueError, match=r"no block path|cannot be a name"):
        msgspec.structs.replace(cap, path=change(cap))


@pytest.mark.parametrize("rights", [0, 4, 5, 255])
def test_unknown_rights_are_refused(rights: int) -> None:
    cap = alices_chain().caps[0]
    with pytest.raises(CapabilityError, match=f"no rights {rights}"):
        msgspec.structs.replace(cap, rights=rights)
    good = encode(cap)
    place = good.index(cap.scope) + len(cap.scope)
    with pytest.raises(DecodeError):
        decode(good[:place] + bytes([rights]) + good[place + 1 :], Writecap)


def test_the_sizes_are_those_of_the_specification() -> None:
    (cap,) = make_domain_identities("alice")["alice"].chains[0].caps
    assert len(encode(cap)) == 277
    assert len(encode(Chain((cap, cap, cap)))) == 1 + 3 * 277


def test_a_writecap_says_in_words_what_it_allows() -> None:
    (cap,) = alices_chain(rights=Rights.WRITE | Rights.EXECUTE).caps
    assert str(cap) == (
        f"{ROOT.public.principal} lets {ALICE.public.principal} write and execute at {HOME}/a "
        "from 1970-01-01 00:00:10 UTC to 1970-01-12 13:46:40 UTC; may delegate"
    )
    assert str(alices_chain(may_delegate=False).caps[0]).endswith("; may not delegate")


@pytest.mark.parametrize(
    ("rights", "text"),
    [(0, "nothing"), (1, "write"), (2, "execute"), (3, "write and execute")],
)
def test_rights_have_names(rights: int, text: str) -> None:
    assert Rights(rights).text == text


def test_suites_may_be_mixed_in_a_chain() -> None:
    domain = make_domain_identities("alice", suite=Suite.P256)
    (chain,) = domain["alice"].chains
    terms = TERMS | {"path": domain.path, "rights": Rights.WRITE}
    assert len(issue_writecap(domain["alice"].signer, chain, **terms).caps) == 2
