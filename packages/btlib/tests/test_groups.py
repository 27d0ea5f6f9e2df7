"""Groups: members open and sign nothing, managers do both, and what another made does not count."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from btlib import CapabilityError, KeyPair, Label, Principal, Suite
from btlib.errors import BlocktreeError, SealError, SignatureError
from btlib.groups import (
    GROUP_LIMITS,
    MAX_MANAGERS,
    ManagedGroup,
    Membership,
    NewMember,
    create_membership,
    membership_fault,
    open_as_manager,
    open_as_member,
    with_managers,
    with_members,
    without,
)
from btlib.testing import make_keys
from btserde import SerdeError, decode, encode
from hypothesis import given
from hypothesis import strategies as st

SEED, NEXT, GROUP = b"s" * 32, b"n" * 32, b"g" * 16
NOW = 1_800_000_000
BOSS, ALICE, BOB, EVE = (make_keys(name) for name in ("boss", "alice", "bob", "eve"))
HERE = Path(__file__).resolve().parent
VECTORS = sorted((HERE / "vectors" / "groups").glob("*.json"))
SUITES = pytest.mark.parametrize("suite", Suite)


def created(suite: Suite = Suite.ED25519_X25519, name: str = "family") -> ManagedGroup:
    keys = KeyPair.from_seed(suite, SEED)
    return open_as_manager(BOSS, create_membership(keys, SEED, name, GROUP, [BOSS.public]))


def member(keys: KeyPair, until: int = NOW + 10) -> NewMember:
    return NewMember(keys=keys.public, since=NOW, until=until, by=BOSS.public.principal)


def populated(suite: Suite = Suite.ED25519_X25519) -> ManagedGroup:
    return open_as_manager(BOSS, with_members(created(suite), [member(ALICE), member(BOB)]))


@SUITES
def test_a_member_opens_what_is_sealed_for_the_group_and_cannot_sign(suite: Suite) -> None:
    group = populated(suite)
    joined = open_as_member(ALICE, group.membership)
    sealed = group.membership.terms.keys.seal(Label.READCAP, b"info", b"a key")
    (opener,) = joined.openers
    assert (joined.name, opener.open(Label.READCAP, b"info", sealed)) == ("family", b"a key")
    assert opener.public == group.membership.terms.keys
    assert not hasattr(opener, "sign")
    with pytest.raises(SealError):
        opener.open(Label.READCAP, b"other", sealed)
    with pytest.raises(TypeError):
        pickle.dumps(opener)


@SUITES
def test_after_a_removal_the_rest_opens_for_both_keys_and_the_removed_for_the_old_alone(suite: Suite) -> None:
    group = populated(suite)
    fresh = without(group, {BOB.public.principal}, NEXT, NOW, BOSS.public.principal)
    fresh.check()
    kept = open_as_member(ALICE, fresh)
    assert [opener.public for opener in kept.openers] == [fresh.terms.keys, group.membership.terms.keys]
    with pytest.raises(CapabilityError, match="is not in the group"):
        open_as_member(BOB, fresh)
    new = fresh.terms.keys.seal(Label.READCAP, b"", b"later")
    with pytest.raises(SealError):
        open_as_member(BOB, group.membership).openers[0].open(Label.READCAP, b"", new)
    managed = open_as_manager(BOSS, fresh)
    assert managed.former_keys is not None
    assert managed.former_keys.public == group.membership.terms.keys
    assert [one.principal for one in fresh.terms.former] == [BOB.public.principal]


def test_a_member_is_no_manager_and_neither_seal_opens_as_the_other() -> None:
    group = populated()
    with pytest.raises(CapabilityError, match="does not manage"):
        open_as_manager(ALICE, group.membership)
    terms = group.membership.terms
    (manager,) = terms.managers
    crossed = msgspec.structs.replace(
        terms, managers=(msgspec.structs.replace(manager, keys=ALICE.public, sealed=terms.members[0].sealed),)
    )
    with pytest.raises(SealError):
        open_as_manager(ALICE, msgspec.structs.replace(group.membership, terms=crossed))


def test_a_seal_of_another_group_or_for_another_member_does_not_open() -> None:
    group = populated()
    terms = group.membership.terms
    alice, bob = terms.members
    swapped = (msgspec.structs.replace(alice, sealed=bob.sealed), bob)
    elsewhere = msgspec.structs.replace(terms, group=b"another group...")
    for changed in (msgspec.structs.replace(terms, members=swapped), elsewhere):
        with pytest.raises(SealError):
            open_as_member(ALICE, msgspec.structs.replace(group.membership, terms=changed))


def test_an_expired_or_absent_member_is_named_with_the_date() -> None:
    membership = populated().membership
    assert membership.refusal(ALICE.public.principal, NOW + 10) is None
    assert "was in the group" in str(membership.refusal(ALICE.public.principal, NOW + 11))
    assert "is not in the group" in str(membership.refusal(EVE.public.principal, NOW))


def test_every_change_of_the_terms_breaks_the_signature() -> None:
    membership = populated().membership
    terms = membership.terms
    for changes in (
        {"version": 9},
        {"group": b"another group..."},
        {"members": terms.members[:1]},
        {"managers": (*terms.managers, msgspec.structs.replace(terms.managers[0], keys=EVE.public))},
    ):
        forged = msgspec.structs.replace(membership, terms=msgspec.structs.replace(terms, **changes))
        with pytest.raises(SignatureError):
            forged.check()


def test_it_follows_or_says_why_not() -> None:
    group = populated()
    old = group.membership
    fresh = without(group, {BOB.public.principal}, NEXT, NOW, BOSS.public.principal)
    assert membership_fault(old, fresh) is None
    assert membership_fault(old, old) is None
    assert membership_fault(old, with_managers(group, [EVE.public])) is None
    assert "was replaced by version" in str(membership_fault(fresh, old))
    silent = msgspec.structs.replace(old.terms, version=old.terms.version + 1, members=old.terms.members[:1])
    left = msgspec.structs.replace(old, terms=silent)
    assert "the keys stayed the same" in str(membership_fault(old, left))
    assert "two memberships of version" in str(
        membership_fault(old, msgspec.structs.replace(old, terms=msgspec.structs.replace(silent, version=2)))
    )
    other = create_membership(KeyPair.from_seed(Suite.ED25519_X25519, NEXT), NEXT, "x", b"o" * 16, [BOSS.public])
    assert "another group" in str(membership_fault(old, other))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: create_membership(KeyPair.from_seed(Suite.P256, SEED), SEED, "x", GROUP, []), "1 to 16 managers"),
        (lambda: created(name=""), "1 to 64 bytes"),
        (lambda: created(name="é" * 33), "1 to 64 bytes"),
        (lambda: created(name="a\nb"), "printable"),
        (lambda: with_members(created(), [member(KeyPair.from_seed(Suite.ED25519_X25519, SEED))]), "in itself"),
        (lambda: with_managers(created(), [make_keys(f"m{n}").public for n in range(MAX_MANAGERS)]), "managers, not"),
    ],
)
def test_what_is_no_group_cannot_be_made(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(CapabilityError, match=text):
        make()


def test_nothing_secret_shows() -> None:
    group = populated()
    shown = repr(group) + repr(open_as_member(ALICE, group.membership))
    assert repr(SEED)[2:-1] not in shown
    assert "family" not in str(encode(group.membership))


def test_truncated_and_flipped_records_are_refused() -> None:
    encoded = encode(populated().membership)
    for cut in range(0, len(encoded), 7):
        with pytest.raises((SerdeError, BlocktreeError)):
            decode(encoded[:cut], Membership, GROUP_LIMITS).check()
    for place in range(0, len(encoded), 11):
        flipped = bytearray(encoded)
        flipped[place] ^= 1
        with pytest.raises((SerdeError, BlocktreeError)):
            decode(bytes(flipped), Membership, GROUP_LIMITS).check()


@given(names=st.lists(st.sampled_from(("a", "b", "c", "d")), max_size=6))
def test_any_order_of_comings_and_goings_leaves_exactly_who_is_in(names: list[str]) -> None:
    group, inside = created(), set[str]()
    for number, name in enumerate(names):
        keys = make_keys(name)
        if name in inside:
            seed = bytes([number + 1]) * 32
            fresh = without(group, {keys.public.principal}, seed, NOW, BOSS.public.principal)
        else:
            fresh = with_members(group, [member(keys)])
        fresh.check()
        assert membership_fault(group.membership, fresh) is None
        inside ^= {name}
        group = open_as_manager(BOSS, fresh)
    for name in ("a", "b", "c", "d"):
        if name in inside:
            assert open_as_member(make_keys(name), group.membership).openers[0].public == group.keys.public
        else:
            with pytest.raises(CapabilityError):
                open_as_member(make_keys(name), group.membership)


@pytest.mark.parametrize("file", VECTORS, ids=[file.stem for file in VECTORS])
def test_the_vector_holds(file: Path) -> None:
    vector = json.loads(file.read_text(encoding="utf-8"))
    encoded = bytes.fromhex(vector["membership"])
    if vector["expect"] == "refuse":
        with pytest.raises((SerdeError, BlocktreeError)) as refused:
            decode(encoded, Membership, GROUP_LIMITS).check()
        assert isinstance(refused.value, SerdeError) or vector["comment"] in str(refused.value)
        return
    membership = decode(encoded, Membership, GROUP_LIMITS)
    membership.check()
    assert encode(membership) == encoded
    suite = Suite.parse(vector["suite"])
    assert open_as_manager(make_keys("boss", suite), membership).name == "family"
    for one in membership.terms.members:
        keys = next(keys for keys in (make_keys(who, suite) for who in ("alice", "bob")) if keys.public == one.keys)
        assert len(open_as_member(keys, membership).openers) == (1 if membership.terms.previous is None else 2)
    assert isinstance(membership.principal, Principal)


def test_no_vector_is_missing() -> None:
    command = [sys.executable, str(HERE / "groups" / "make_vectors.py"), "--check"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
