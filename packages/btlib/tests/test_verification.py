"""What a chain allows: every reason to refuse, one by one, against a chain that is otherwise good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from btlib import (
    BlockPath,
    CapabilityError,
    Chain,
    Decision,
    KeyPair,
    Kind,
    Principal,
    Revocations,
    Rights,
    Suite,
    issue_writecap,
    verify_chain,
)
from btlib._p256 import ORDER as P256_ORDER
from btlib.testing import ROOT_SCOPE, make_keys, serial_of
from btlib.testing._forging import BOTH, NOON, Terms, append, forge, signed
from btlib.testing.strategies import chains, names
from btlib.verification import Stage, VerifiedLinks
from btserde import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from .slow_curve import ORDER as ED25519_ORDER

ROOT, ALICE, BOB, CAROL, EVE = (make_keys(name) for name in ("root", "alice", "bob", "carol", "eve"))
ROOT_ID, ALICE_ID, BOB_ID, CAROL_ID, EVE_ID = (keys.public.principal for keys in (ROOT, ALICE, BOB, CAROL, EVE))
INNER_SCOPE, INMOST_SCOPE, OTHER_SCOPE = b"an inner scope..", b"an inmost scope.", b"some other scope"

FIRST = Terms(names=("a",))
SECOND = FIRST.but(names=("a", "b"), scope=INNER_SCOPE, begins=10, ends=NOON + 100)
THIRD = SECOND.but(names=("a", "b", "c"), scope=INMOST_SCOPE, begins=20, may_delegate=False)
HOLDERS = [ROOT, ALICE, BOB, CAROL]
GOOD = forge(HOLDERS, [FIRST, SECOND, THIRD])
TARGET = BlockPath(ROOT_ID, ("a", "b", "c", "file"))
LINEAGE = [INMOST_SCOPE, INNER_SCOPE, ROOT_SCOPE]
QUESTION: dict[str, Any] = {
    "root": ROOT_ID,
    "subject": CAROL_ID,
    "right": Rights.WRITE,
    "now": NOON,
    "path": TARGET,
    "lineage": LINEAGE,
}


def decide(chain: Chain = GOOD, **changes: Any) -> Decision:
    return verify_chain(chain, **(QUESTION | changes))


def with_terms(number: int, **changes: Any) -> Chain:
    """The good chain, truly signed, with one cap's terms changed."""
    terms = [FIRST, SECOND, THIRD]
    terms[number - 1] = terms[number - 1].but(**changes)
    return forge(HOLDERS, terms)


def with_cap(number: int, **changes: Any) -> Chain:
    """The good chain with one cap changed after it was signed."""
    caps = list(GOOD.caps)
    caps[number - 1] = msgspec.structs.replace(caps[number - 1], **changes)
    return Chain(tuple(caps))


def test_a_good_chain_allows_and_says_by_what_and_until_when() -> None:
    decision = decide()
    assert decision.allowed
    assert decision.stage is Stage.ALLOWED
    assert decision.not_after == NOON + 100
    assert decision.reason == f"{CAROL_ID} may write at {TARGET} by writecap 3 until 1970-01-12 13:48:20 UTC"
    decision.require()
    assert len(decision.steps) == 4
    assert decision.steps[0].startswith(f"1. {ROOT_ID} lets {ALICE_ID} write and execute at /{ROOT_ID}/a from ")
    assert decision.steps[-1] == decision.reason


@pytest.mark.parametrize("right", [Rights.WRITE, Rights.EXECUTE, BOTH, Rights(0)])
def test_each_right_of_the_last_cap_is_allowed(right: Rights) -> None:
    assert decide(right=right).allowed


@pytest.mark.parametrize("missing", ["path", "lineage"])
def test_whoever_does_not_know_path_or_scope_may_leave_it_out(missing: str) -> None:
    assert verify_chain(GOOD, **(QUESTION | {missing: None})).allowed


@pytest.mark.parametrize("now", [20, NOON, NOON + 100])
def test_both_ends_of_the_time_belong_to_it(now: int) -> None:
    assert decide(now=now).allowed


def test_the_root_needs_no_writecap_and_has_no_end() -> None:
    decision = decide(Chain(), subject=ROOT_ID)
    assert decision.allowed
    assert decision.not_after is None
    assert decision.reason == f"{ROOT_ID} is the root of the domain and may do everything in it"
    assert decision.steps == (decision.reason,)


Case = tuple[Chain, dict[str, Any], Stage, Kind, str]


def refusals() -> Iterator[tuple[str, Case]]:
    """name → chain, changed question, stage, kind, words of the reason."""
    forbidden = Kind.FORBIDDEN
    yield from structure_refusals()
    yield from signature_refusals()
    for number, subject in ((1, ALICE_ID), (2, BOB_ID), (3, CAROL_ID)):
        serial = GOOD.caps[number - 1].serial
        yield (
            f"cap {number} revoked",
            (
                GOOD,
                {"revocations": Revocations(serials={serial: NOON})},
                Stage.REVOCATION,
                forbidden,
                f"writecap {number} for {subject} was revoked on 1970-01-12 13:46:40 UTC",
            ),
        )
        yield (
            f"subject of cap {number} revoked",
            (
                GOOD,
                {"revocations": Revocations(principals={subject: 30})},
                Stage.REVOCATION,
                forbidden,
                f"{subject}, the subject of writecap {number}, was revoked on 1970-01-01 00:00:30 UTC",
            ),
        )
    yield "another's chain", (GOOD, {"subject": EVE_ID}, Stage.SUBJECT, forbidden, f"for {CAROL_ID}, not for {EVE_ID}")
    yield "a delegator's chain", (GOOD, {"subject": BOB_ID}, Stage.SUBJECT, forbidden, f"not for {BOB_ID}")
    yield "no chain", (Chain(), {}, Stage.SUBJECT, forbidden, f"{CAROL_ID} is not the root {ROOT_ID} and shows no")
    yield from place_refusals()
    write_only = with_terms(3, rights=int(Rights.WRITE))
    yield "right", (write_only, {"right": Rights.EXECUTE}, Stage.RIGHT, forbidden, "the right to execute at /")
    yield "one right of two", (write_only, {"right": BOTH}, Stage.RIGHT, forbidden, "the right to execute at /")
    expired, begins = (
        "expired on 1970-01-12 13:48:20 UTC",
        "begins on 1970-01-01 00:00:20 UTC; it is 1970-01-01 00:00:19",
    )
    yield "expired", (GOOD, {"now": NOON + 101}, Stage.TIME, Kind.EXPIRED, expired)
    yield "long expired", (GOOD, {"now": 2**63 - 1}, Stage.TIME, Kind.EXPIRED, "writecap 1 for")
    yield "too early", (GOOD, {"now": 19}, Stage.TIME, forbidden, begins)
    yield "before time", (GOOD, {"now": -1}, Stage.TIME, forbidden, "it is 1969-12-31 23:59:59 UTC")


def structure_refusals() -> Iterator[tuple[str, Case]]:
    def case(chain: Chain, reason: str, **changes: Any) -> Case:
        return chain, changes, Stage.CHAIN, Kind.FORBIDDEN, reason

    yield "another root", case(GOOD, f"issued by {ROOT_ID}, but at this place only {EVE_ID}", root=EVE_ID)
    yield "first cap missing", case(Chain(GOOD.caps[1:]), f"writecap 1 is issued by {ALICE_ID}")
    yield "middle cap missing", case(Chain((GOOD.caps[0], GOOD.caps[2])), f"writecap 2 is issued by {BOB_ID}")
    yield "caps swapped", case(Chain((GOOD.caps[0], GOOD.caps[2], GOOD.caps[1])), f"writecap 2 is issued by {BOB_ID}")
    yield "a stranger issues", case(_strangers_chain(), f"writecap 3 is issued by {EVE_ID}")
    yield "path above", case(with_terms(2, names=()), "is not below")
    yield "path beside", case(with_terms(3, names=("a", "x")), "is not below")
    yield "path with the same beginning", case(with_terms(2, names=("ab",)), f"/{ROOT_ID}/ab, which is not below /")
    yield "path in another domain", case(with_terms(1, root="eve"), f"not in the domain of {ROOT_ID}")
    yield "path leaves the domain", case(with_terms(3, root="eve"), f"not in the domain of {ROOT_ID}")
    narrow = forge(HOLDERS, [FIRST, SECOND.but(rights=1), THIRD])
    yield "rights grow", case(narrow, "writecap 3 gives the right to execute, which writecap 2 does not hold")
    swapped = forge(HOLDERS, [FIRST.but(rights=2), SECOND.but(rights=1), THIRD.but(rights=1)])
    yield "rights change", case(swapped, "writecap 2 gives the right to write")
    yield "time begins earlier", case(with_terms(3, begins=9), "writecap 3 begins on 1970-01-01 00:00:09 UTC, before")
    yield "time ends later", case(with_terms(3, ends=NOON + 101), "writecap 3 ends on 1970-01-12 13:48:21 UTC, after")
    yield "may not delegate", case(with_terms(2, may_delegate=False), f"writecap 2 does not let {BOB_ID} delegate")
    yield "root may not delegate", case(with_terms(1, may_delegate=False), f"writecap 1 does not let {ALICE_ID}")


def _strangers_chain() -> Chain:
    return append(forge(HOLDERS[:3], [FIRST, SECOND]), EVE, CAROL, THIRD, 3)


def signature_refusals() -> Iterator[tuple[str, Case]]:
    def case(chain: Chain, number: int, issuer: Principal) -> Case:
        reason = f"writecap {number} is not signed by its issuer {issuer}"
        return chain, {}, Stage.SIGNATURE, Kind.INTEGRITY, reason

    def cap_signed_by(signer: KeyPair, number: int) -> Chain:
        caps = list(GOOD.caps)
        caps[number - 1] = signed(Chain(GOOD.caps[: number - 1]), caps[number - 1], signer)
        return Chain(tuple(caps))

    for number, issuer in ((1, ROOT_ID), (2, ALICE_ID), (3, BOB_ID)):
        yield f"cap {number} signed by another", case(cap_signed_by(EVE, number), number, issuer)
        yield f"cap {number} unsigned", case(with_cap(number, signature=b""), number, issuer)
        yield f"cap {number} signed with zeros", case(with_cap(number, signature=bytes(64)), number, issuer)
        yield f"cap {number} with another serial", case(with_cap(number, serial=bytes(16)), number, issuer)
        yield f"cap {number} with another scope", case(with_cap(number, scope=OTHER_SCOPE), number, issuer)
    yield "later end by hand", case(with_cap(1, not_after=2**62), 1, ROOT_ID)
    yield "earlier begin by hand", case(with_cap(3, not_before=15), 3, BOB_ID)
    yield "wider path by hand", case(with_cap(3, path=GOOD.caps[1].path), 3, BOB_ID)
    yield "right to delegate by hand", case(with_cap(3, may_delegate=True), 3, BOB_ID)
    yield "another subject by hand", case(with_cap(3, subject=EVE_ID), 3, BOB_ID)
    other = forge(HOLDERS, [FIRST.but(ends=3 * NOON), SECOND, THIRD])
    yield "cap moved to a longer chain", case(Chain((other.caps[0], *GOOD.caps[1:])), 2, ALICE_ID)
    yield "signature of another cap", case(with_cap(3, signature=other.caps[2].signature), 3, BOB_ID)


def place_refusals() -> Iterator[tuple[str, Case]]:
    def path(names: tuple[str, ...], reason: str, root: Principal = ROOT_ID) -> Case:
        return GOOD, {"path": BlockPath(root, names)}, Stage.PATH, Kind.FORBIDDEN, reason

    def scope(lineage: list[bytes], reason: str, chain: Chain = GOOD) -> Case:
        return chain, {"lineage": lineage}, Stage.SCOPE, Kind.FORBIDDEN, reason

    yield (
        "target above",
        path(("a", "b"), f"/{ROOT_ID}/a/b is not below /{ROOT_ID}/a/b/c, where writecap 3 gives {CAROL_ID}"),
    )
    yield "target at the root", path((), "is not below")
    yield "target with the same beginning", path(("a", "b", "cc"), f"/{ROOT_ID}/a/b/cc is not below")
    yield "target in another domain", path(("a", "b", "c"), f"not in the domain of {ROOT_ID}", EVE_ID)
    yield "scope outside", scope([OTHER_SCOPE, ROOT_SCOPE], f"writecap 2 is for write scope {INNER_SCOPE.hex()}, and")
    yield "scope above", scope([INNER_SCOPE, ROOT_SCOPE], f"writecap 3 is for write scope {INMOST_SCOPE.hex()}, and")
    yield "scope of another domain", scope([OTHER_SCOPE], "writecap 1 is for write scope")
    yield "no scope at all", scope([], "writecap 1 is for write scope")
    climbing = forge(HOLDERS, [FIRST.but(scope=INNER_SCOPE), SECOND.but(scope=ROOT_SCOPE), THIRD])
    yield "scope climbs", scope(LINEAGE, f"scope {ROOT_SCOPE.hex()} of writecap 2 lies outside", climbing)


CASES = dict(refusals())


@pytest.mark.parametrize(("chain", "changes", "stage", "kind", "reason"), CASES.values(), ids=CASES)
def test_refused_with_the_reason(chain: Chain, changes: dict[str, Any], stage: Stage, kind: Kind, reason: str) -> None:
    decision = decide(chain, **changes)
    assert not decision.allowed
    assert (decision.stage, decision.kind) == (stage, kind)
    assert reason in decision.reason
    assert decision.not_after is None
    assert decision.steps[-1] == decision.reason
    with pytest.raises(CapabilityError, match=re.escape(reason)) as caught:
        decision.require()
    assert caught.value.kind is kind


def test_the_table_reaches_every_stage() -> None:
    assert {case[2] for case in CASES.values()} == set(Stage) - {Stage.ALLOWED}


def test_a_cap_cannot_be_spliced_into_another_domain() -> None:
    """Alice is a member of two domains. What she delegated in one is worth nothing in the other."""
    other_root = make_keys("other root")
    theirs = forge([other_root, ALICE], [Terms(root="other root")])
    spliced = Chain((*theirs.caps, GOOD.caps[1]))
    decision = decide(spliced, root=other_root.public.principal, subject=BOB_ID, path=None, lineage=None)
    assert not decision.allowed
    assert "not in the domain" in decision.reason
    same_path_text = append(theirs, ALICE, BOB, Terms(root="other root"), 2)
    moved = Chain((*forge([ROOT, ALICE], [Terms()]).caps, same_path_text.caps[1]))
    assert not decide(moved, subject=BOB_ID, path=None, lineage=None).allowed


def test_a_cap_cannot_be_spliced_between_two_chains_of_one_domain() -> None:
    """The root gives Alice a short and a long time; what she issued under one does not count under the other."""
    short = forge([ROOT, ALICE, BOB], [FIRST, SECOND])
    long = forge([ROOT, ALICE], [FIRST.but(ends=9 * NOON)])
    decision = decide(Chain((*long.caps, short.caps[1])), subject=BOB_ID, path=None, lineage=None)
    assert decision.stage is Stage.SIGNATURE


@pytest.mark.parametrize("suite", Suite)
def test_malleable_signatures_do_not_make_a_second_chain(suite: Suite) -> None:
    root = make_keys("root", suite)
    chain = issue_writecap(
        root,
        Chain(),
        subject=ALICE_ID,
        path=BlockPath(root.public.principal),
        scope=ROOT_SCOPE,
        rights=BOTH,
        not_before=0,
        not_after=NOON,
        may_delegate=True,
        serial=bytes(16),
    )
    signature = chain.caps[0].signature
    scalar = signature[-32:]
    if suite is Suite.P256:
        twin = signature[:-32] + (P256_ORDER - int.from_bytes(scalar)).to_bytes(32)
    else:
        twin = signature[:-32] + (int.from_bytes(scalar, "little") + ED25519_ORDER).to_bytes(32, "little")
    question = QUESTION | {"root": root.public.principal, "subject": ALICE_ID, "path": None, "lineage": None}
    assert verify_chain(chain, **question).allowed
    decision = verify_chain(Chain((msgspec.structs.replace(chain.caps[0], signature=twin),)), **question)
    assert decision.stage is Stage.SIGNATURE


def test_a_decision_ends_before_a_revocation_that_is_to_come() -> None:
    revoked = Revocations(principals={ALICE_ID: NOON + 10, ROOT_ID: NOON + 5}, serials={serial_of("cap 3"): NOON + 20})
    assert decide(now=NOON, revocations=revoked).not_after == NOON + 9
    assert decide(now=NOON).not_after > NOON + 9  # type: ignore[operator]


def test_a_revocation_counts_from_its_moment_on() -> None:
    revoked = Revocations(principals={ALICE_ID: NOON}, serials={serial_of("cap 3"): NOON})
    assert decide(now=NOON - 1, revocations=revoked).allowed
    assert not decide(now=NOON, revocations=revoked).allowed


def test_the_root_cannot_be_revoked_in_its_own_domain() -> None:
    revoked = Revocations(principals={ROOT_ID: 0})
    assert decide(Chain(), subject=ROOT_ID, revocations=revoked).allowed
    assert decide(revocations=revoked).allowed
    through_the_root = forge([ROOT, ALICE, ROOT, CAROL], [FIRST, SECOND, THIRD])
    assert decide(through_the_root, revocations=revoked).allowed


def test_revoking_others_changes_nothing() -> None:
    assert decide(revocations=Revocations(principals={EVE_ID: 0}, serials={bytes(16): 0})).allowed


def test_a_scope_may_stay_the_same_along_a_chain() -> None:
    chain = forge(HOLDERS, [FIRST, SECOND.but(scope=ROOT_SCOPE), THIRD.but(scope=ROOT_SCOPE)])
    assert decide(chain, lineage=[INMOST_SCOPE, ROOT_SCOPE]).allowed


@settings(max_examples=40, deadline=None)
@given(chain=chains(min_caps=1), below=st.lists(names(), max_size=2))
def test_every_genuine_chain_allows_what_its_last_cap_says_and_nothing_else(chain: Chain, below: list[str]) -> None:
    last = chain.caps[-1]
    path = BlockPath(last.block_path.root, (*last.block_path.names, *below))
    question: dict[str, Any] = {
        "root": chain.caps[0].issuer.principal,
        "subject": last.subject,
        "right": Rights(last.rights),
        "now": last.not_after,
        "path": path,
    }
    assert verify_chain(chain, **question).allowed
    assert verify_chain(Chain.decode(encode(chain)), **question).allowed
    wrong: list[dict[str, Any]] = [
        {"subject": EVE_ID},
        {"root": EVE_ID},
        {"now": last.not_after + 1},
        {"now": last.not_before - 1},
        {"path": BlockPath(EVE_ID, path.names)},
        {"lineage": [OTHER_SCOPE]},
    ]
    if last.block_path.parent is not None:
        wrong.append({"path": last.block_path.parent})
    if last.rights != BOTH:
        wrong.append({"right": BOTH})
    for change in wrong:
        assert not verify_chain(chain, **(question | change)).allowed


def test_every_flipped_bit_of_a_chain_is_refused() -> None:
    good = encode(GOOD)
    known = VerifiedLinks()
    assert decide(verified=known).allowed
    for bit in range(0, 8 * len(good), 5):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            chain = Chain.decode(bytes(flipped))
        except CapabilityError:
            continue
        assert not decide(chain, path=None, lineage=None, right=Rights(0), verified=known).allowed
