"""Key bundles: a key for the members, from a keeper, and for and from nobody else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import pytest
from btlib import BlockPath, Chain, Identity, Label, Revocations, Rights, Suite, issue_writecap, seal_readcap
from btlib.kinds import Kind
from btlib.testing import make_domain_identities, make_keys
from btserde import encode
from bttp.sealed import TopicKeeper, TopicKeyError
from bttp.sealed._bundle import KeyBundle, Member, Terms, issue_bundle, open_bundle
from bttp.sealed._group_keys import GroupKey, topic_id
from bttp.sealed._ring import MAX_KEYS, KeyRing
from hypothesis import given, settings
from hypothesis import strategies as st

DOMAIN = make_domain_identities("keeper", "alice", "bob", "carol")
TOPIC = DOMAIN.path.child("warm")
NOW = 1_000_000
ALICE = DOMAIN["alice"]


def key_of(epoch: int = 7, secret: bytes = bytes(range(32)), topic: BlockPath = TOPIC) -> GroupKey:
    return GroupKey(topic=topic, epoch=epoch, key=secret, not_before=NOW, not_after=NOW + 1000)


def bundle_of(*members: str, keeper: Identity = DOMAIN["keeper"], key: GroupKey = key_of()) -> KeyBundle:  # noqa: B008
    return issue_bundle(keeper, key, [DOMAIN[name].public for name in members])


def signed_anew(bundle: KeyBundle, terms: Terms) -> KeyBundle:
    signature = DOMAIN["keeper"].signer.sign(Label.TOPIC_KEYS, hashlib.sha256(encode(terms)).digest())
    return msgspec.structs.replace(bundle, terms=terms, signature=signature)


@pytest.mark.parametrize("suite", Suite)
def test_every_member_gets_the_same_key(suite: Suite) -> None:
    domain = make_domain_identities("keeper", "alice", "bob", suite=suite)
    topic = domain.path.child("warm")
    key = key_of(topic=topic)
    bundle = issue_bundle(domain["keeper"], key, [domain["alice"].public, domain["bob"].public])
    read = KeyBundle.decode(bundle.encode())
    for name in ("alice", "bob"):
        assert open_bundle(read, topic, domain[name].opener, NOW) == key
    assert key.key not in bundle.encode()
    with pytest.raises(TopicKeyError, match=f"are not for {domain['keeper'].principal}; ask the keeper"):
        open_bundle(read, topic, domain["keeper"].opener, NOW)


def test_only_who_may_delegate_writing_at_the_topic_keeps_its_keys() -> None:
    """A stranger's seal under a member's public key is a seal too: its key would show the stranger everything."""
    last = make_domain_identities("keeper")
    strict = last.issue("strict", may_delegate=False)
    runner = last.issue("runner", rights=Rights.EXECUTE)
    elsewhere = last.issue("elsewhere", ("cold",))
    for who in (strict, runner, elsewhere):
        with pytest.raises(Exception, match=r"keeper|right to|below"):
            issue_bundle(who, key_of(), [ALICE.public])
        forged = bundle_of("alice")
        forged = msgspec.structs.replace(
            forged,
            keeper=who.public,
            chain=who.chains[0],
            signature=who.signer.sign(Label.TOPIC_KEYS, hashlib.sha256(encode(forged.terms)).digest()),
        )
        with pytest.raises(TopicKeyError, match="is no keeper of") as refused:
            open_bundle(forged, TOPIC, ALICE.opener, NOW)
        assert refused.value.kind is Kind.FORBIDDEN


def test_the_root_keeps_keys_without_a_chain() -> None:
    bundle = bundle_of("alice", keeper=DOMAIN.root)
    assert bundle.chain == Chain()
    assert open_bundle(bundle, TOPIC, ALICE.opener, NOW) == key_of()


def test_a_revoked_or_expired_keeper_keeps_nothing() -> None:
    revoked = Revocations(version=1, principals={DOMAIN["keeper"].principal: NOW})
    with pytest.raises(TopicKeyError, match="revoked"):
        open_bundle(bundle_of("alice"), TOPIC, ALICE.opener, NOW, revocations=revoked)
    short = DOMAIN.issue("keeper", time=(0, NOW + 10))
    bundle = bundle_of("alice", keeper=short)
    with pytest.raises(TopicKeyError) as refused:
        open_bundle(bundle, TOPIC, ALICE.opener, NOW + 11)
    assert refused.value.kind is Kind.EXPIRED


def test_every_term_is_signed() -> None:
    bundle = bundle_of("alice", "bob")
    for changes in (
        {"epoch": 8},
        {"key_id": bytes(32)},
        {"not_after": NOW + 2000},
        {"not_before": NOW - 1},
        {"members": bundle.terms.members[:1]},
    ):
        terms = msgspec.structs.replace(bundle.terms, **changes)
        with pytest.raises(TopicKeyError, match="not signed by"):
            open_bundle(msgspec.structs.replace(bundle, terms=terms), TOPIC, ALICE.opener, NOW)


def test_a_keeper_cannot_give_members_different_keys_of_one_name() -> None:
    bundle, other = bundle_of("alice", "bob"), bundle_of("alice", key=key_of(secret=bytes(32)))
    swapped = tuple(
        other.terms.members[0] if member.subject == ALICE.principal else member for member in bundle.terms.members
    )
    twofold = signed_anew(bundle, msgspec.structs.replace(bundle.terms, members=swapped))
    assert open_bundle(twofold, TOPIC, DOMAIN["bob"].opener, NOW) == key_of()
    with pytest.raises(TopicKeyError, match="another key than it says"):
        open_bundle(twofold, TOPIC, ALICE.opener, NOW)


def test_a_seal_of_another_topic_or_epoch_does_not_open() -> None:
    bundle = bundle_of("alice")
    for other in (key_of(epoch=6), key_of(topic=DOMAIN.path.child("cold"))):
        moved = msgspec.structs.replace(bundle.terms, members=bundle_of("alice", key=other).terms.members)
        with pytest.raises(TopicKeyError, match="does not open"):
            open_bundle(signed_anew(bundle, moved), TOPIC, ALICE.opener, NOW)
    with pytest.raises(TopicKeyError, match="another topic"):
        open_bundle(bundle, TOPIC.child("a"), ALICE.opener, NOW)


def test_a_seal_that_names_another_place_is_none_of_this_topic() -> None:
    """A key of something else, resealed by who holds it under this topic's number."""
    bundle, block = bundle_of("alice"), topic_id(TOPIC)[:16]
    readcap = seal_readcap(ALICE.public, block=block, key_epoch=7, key=key_of().key, path=TOPIC.child("a"))
    moved = msgspec.structs.replace(bundle.terms, members=(Member(subject=ALICE.principal, sealed=readcap.sealed),))
    with pytest.raises(TopicKeyError, match="is another's"):
        open_bundle(signed_anew(bundle, moved), TOPIC, ALICE.opener, NOW)


def test_keys_have_their_time() -> None:
    bundle = bundle_of("alice")
    for now, kind in ((NOW + 1001, Kind.EXPIRED), (NOW - 301, Kind.INVALID)):
        with pytest.raises(TopicKeyError) as refused:
            open_bundle(bundle, TOPIC, ALICE.opener, now)
        assert refused.value.kind is kind
    for now in (NOW - 300, NOW + 1000):
        open_bundle(bundle, TOPIC, ALICE.opener, now)


def test_every_cut_or_flip_is_refused() -> None:
    good = bundle_of("alice", "bob").encode()
    for size in range(len(good)):
        with pytest.raises(TopicKeyError):
            open_bundle(KeyBundle.decode(good[:size]), TOPIC, ALICE.opener, NOW)
    with pytest.raises(TopicKeyError):
        KeyBundle.decode(good + b"\0")
    for place in range(len(good)):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(TopicKeyError):
            open_bundle(KeyBundle.decode(bytes(flipped)), TOPIC, ALICE.opener, NOW)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_anything_else_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(TopicKeyError):
        KeyBundle.decode(data)


def test_terms_have_one_form() -> None:
    terms = bundle_of("alice", "bob").terms
    for changes, kind in (
        ({"format": 2}, Kind.NOT_SUPPORTED),
        ({"members": terms.members[::-1]}, Kind.PROTOCOL),
        ({"members": (terms.members[0], terms.members[0])}, Kind.PROTOCOL),
        ({"not_after": NOW - 1}, Kind.PROTOCOL),
    ):
        with pytest.raises(TopicKeyError) as refused:
            msgspec.structs.replace(terms, **changes)
        assert refused.value.kind is kind


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bttp.sealed._bundle.MAX_MEMBERS", 2)
    bundle_of("alice", "bob")
    with pytest.raises(TopicKeyError, match="at most 2 members, not 3"):
        bundle_of("alice", "bob", "carol")


def test_a_ring_never_goes_back() -> None:
    ring = KeyRing(TOPIC, ALICE.opener)
    with pytest.raises(TopicKeyError, match="no keys of"):
        ring.newest(NOW)
    ring.take(bundle_of("alice").encode(), NOW)
    ring.take(bundle_of("alice", "bob").encode(), NOW)  # the same key again
    for other, kind in ((key_of(epoch=6), Kind.ROLLBACK), (key_of(secret=bytes(32)), Kind.CONFLICT)):
        with pytest.raises(TopicKeyError) as refused:
            ring.take(bundle_of("alice", key=other).encode(), NOW)
        assert refused.value.kind is kind
    assert ring.newest(NOW) == key_of()
    with pytest.raises(TopicKeyError, match="have ended, and none were fetched since") as refused:
        ring.newest(NOW + 1001)
    assert refused.value.kind is Kind.EXPIRED


def test_a_ring_opens_under_few_old_keys_until_they_end() -> None:
    ring = KeyRing(TOPIC, ALICE.opener)
    keys = [key_of(epoch=epoch, secret=bytes([epoch]) * 32) for epoch in range(1, MAX_KEYS + 2)]
    for key in keys:
        ring.take(bundle_of("alice", key=key).encode(), NOW)
    assert [ring.find(key.epoch, key.id, NOW) for key in keys[1:]] == keys[1:]
    with pytest.raises(Exception, match="which has ended"):
        ring.find(keys[0].epoch, keys[0].id, NOW)
    with pytest.raises(Exception, match="which has ended"):
        ring.find(keys[1].epoch, keys[1].id, NOW + 1301)
    with pytest.raises(Exception, match="another key of epoch"):
        ring.find(keys[1].epoch, keys[0].id, NOW)
    with pytest.raises(TopicKeyError, match="newest here is 9") as refused:
        ring.find(10, bytes(32), NOW)
    assert refused.value.kind is Kind.STALE


def test_a_keeper_makes_a_new_key_whenever_somebody_comes_or_goes_or_half_its_life_is_over() -> None:
    clock = [float(NOW)]
    keeper = TopicKeeper(DOMAIN["keeper"], TOPIC, [ALICE.public], lifetime=1000, clock=lambda: clock[0])
    seen = [keeper.bundle]
    assert keeper.bundle is seen[0]

    def later(seconds: int) -> None:
        clock[0] += seconds

    acts: list[Callable[[], None]] = [
        lambda: keeper.admit(DOMAIN["bob"].public),
        lambda: keeper.remove(ALICE.principal),
        keeper.rotate,
        lambda: later(499),
        lambda: later(1),
    ]
    for act in acts:
        act()
        seen.append(keeper.bundle)
    terms = [KeyBundle.decode(data).terms for data in seen]
    assert [each.epoch for each in terms] == [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 3, NOW + 500]
    assert [len(each.members) for each in terms] == [1, 2, 1, 1, 1, 1]
    assert len({each.key_id for each in terms}) == 5
    assert keeper.members == (DOMAIN["bob"].principal,)
    restarted = TopicKeeper(DOMAIN["keeper"], TOPIC, [], clock=lambda: clock[0] + 1)
    assert KeyBundle.decode(restarted.bundle).terms.epoch == NOW + 501


def test_a_keeper_that_may_not_be_one_is_told_at_once() -> None:
    keys = make_keys("narrow")
    chain = issue_writecap(
        DOMAIN["keeper"].signer,
        DOMAIN["keeper"].chains[0],
        subject=keys.public.principal,
        path=TOPIC,
        scope=DOMAIN.scope,
        rights=Rights.WRITE,
        not_before=0,
        not_after=2**39,
        may_delegate=False,
        serial=bytes(16),
    )
    with pytest.raises(TopicKeyError, match="let the keys be made by who may delegate"):
        TopicKeeper(Identity(signer=keys, opener=keys, chains=(chain,)), TOPIC, [])


def test_a_member_struct_is_what_the_specification_says() -> None:
    member = bundle_of("alice").terms.members[0]
    assert member == Member(subject=ALICE.principal, sealed=member.sealed)
    assert len(member.sealed) == 304
