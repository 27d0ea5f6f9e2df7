"""Sealed messages: what opens where, for whom, and what of them anybody can check."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from btlib import BlockPath, Identity, Revocations, Rights, Suite
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.testing import make_domain_identities, make_identity
from bttp.sealed import RefusedMessageError, TopicKeyError
from bttp.sealed._group_keys import GroupKey
from bttp.sealed._message import Credential, Envelope, SessionKey, check, decode_credential, encode_credential
from hypothesis import given, settings
from hypothesis import strategies as st

DOMAIN = make_domain_identities("alice", "bob")
TOPIC = DOMAIN.path.child("warm")
KEY = GroupKey(topic=TOPIC, epoch=7, key=bytes(range(32)), not_before=0, not_after=10**10)
SESSION = b"a random session"
NOW = 1_000_000
SUITES = pytest.mark.parametrize("suite", Suite)


def credential_of(identity: Identity) -> bytes:
    return encode_credential(Credential(public=identity.public, chain=identity.chains[0]))


def sealed_by(identity: Identity, body: bytes = b"21.5", at: BlockPath = TOPIC, sequence: int = 3) -> bytes:
    key = SessionKey(KEY, at, identity.principal, SESSION)
    return key.seal(identity.signer, credential_of(identity), sequence, NOW * 1000, body)


def opened(message: bytes, at: BlockPath = TOPIC, key: GroupKey = KEY) -> bytes:
    envelope = Envelope.decode(message)
    publisher = check(envelope, at, NOW).public.principal
    return SessionKey(key, at, publisher, envelope.session).open(envelope)


def forged(message: bytes, by: Identity, **changes: object) -> Envelope:
    """The message with other fields, signed as it then stands."""
    envelope = msgspec.structs.replace(Envelope.decode(message), credential=credential_of(by), **changes)
    bound = hashlib.sha256(Label.TOPIC.value + str(TOPIC).encode()).digest() + by.principal.digest + envelope.header
    signed = bound + hashlib.sha256(envelope.sealed).digest()
    return msgspec.structs.replace(envelope, signature=by.signer.sign(Label.TOPIC_MESSAGE, signed))


@SUITES
@settings(max_examples=20, deadline=None)
@given(body=st.binary(max_size=10_000), sequence=st.integers(0, 2**64 - 1))
def test_what_is_sealed_opens_and_shows_who_published_it(suite: Suite, body: bytes, sequence: int) -> None:
    alice = make_domain_identities("alice", suite=suite)
    topic = alice.path.child("warm")
    key = key_for(topic)
    session = SessionKey(key, topic, alice["alice"].principal, SESSION)
    message = session.seal(alice["alice"].signer, credential_of(alice["alice"]), sequence, NOW * 1000, body)
    envelope = Envelope.decode(message)
    assert check(envelope, topic, NOW).public == alice["alice"].public
    assert session.open(envelope) == body
    assert (envelope.sequence, envelope.sent, envelope.epoch) == (sequence, NOW * 1000, 7)


def key_for(topic: BlockPath) -> GroupKey:
    return GroupKey(topic=topic, epoch=7, key=bytes(range(32)), not_before=0, not_after=10**10)


def test_the_bytes_that_travel_show_neither_body_nor_topic_nor_key() -> None:
    message = sealed_by(DOMAIN["alice"], b"canary " * 10)
    assert b"canary" not in message
    assert b"warm" not in message
    assert KEY.key not in message
    assert "000102" not in repr(KEY)


def test_one_number_makes_one_text_and_another_number_or_session_another() -> None:
    """Nothing but key and number goes into the nonce; so whoever uses a number twice would show it here."""
    texts = {bytes(Envelope.decode(sealed_by(DOMAIN["alice"], sequence=n)).sealed) for n in range(100)}
    assert len(texts) == 100
    keys = {
        KEY.session_key(topic, who.principal, session)
        for topic in (TOPIC, TOPIC.child("a"))
        for who in DOMAIN.members.values()
        for session in (SESSION, b"another session.")
    }
    other = GroupKey(topic=TOPIC, epoch=8, key=KEY.key, not_before=0, not_after=1)
    keys.add(other.session_key(TOPIC, DOMAIN["alice"].principal, SESSION))
    assert len(keys) == 9
    assert other.id != KEY.id


def test_on_another_topic_it_counts_for_nothing() -> None:
    message = sealed_by(DOMAIN["alice"])
    for other in (TOPIC.child("a"), DOMAIN.path.child("cold"), DOMAIN.path):
        with pytest.raises(RefusedMessageError, match="forged, damaged, or of another topic"):
            opened(message, other)


def test_the_label_of_the_specification_is_what_is_signed() -> None:
    envelope = Envelope.decode(sealed_by(DOMAIN["alice"]))
    check(forged(sealed_by(DOMAIN["alice"]), DOMAIN["alice"]), TOPIC, NOW)
    for label in Label:
        if label is not Label.TOPIC_MESSAGE:
            signed = DOMAIN["alice"].signer.sign(label, b"")
            with pytest.raises(RefusedMessageError):
                check(msgspec.structs.replace(envelope, signature=signed), TOPIC, NOW)


def test_nobody_puts_his_name_on_what_another_sealed() -> None:
    """Bob may publish too, but does not know the key, and signs Alice's sealed text as his own."""
    stolen = forged(sealed_by(DOMAIN["alice"]), DOMAIN["bob"])
    assert check(stolen, TOPIC, NOW).public == DOMAIN["bob"].public
    with pytest.raises(RefusedMessageError, match="does not open, though it is signed"):
        SessionKey(KEY, TOPIC, DOMAIN["bob"].principal, stolen.session).open(stolen)


@pytest.mark.parametrize(
    "changes", [{"sequence": 4}, {"sent": 1}, {"session": b"another session."}, {"epoch": 8}, {"key_id": bytes(32)}]
)
def test_not_even_its_publisher_can_change_a_header_without_sealing_anew(changes: dict[str, object]) -> None:
    message = sealed_by(DOMAIN["alice"])
    with pytest.raises(RefusedMessageError, match="forged"):
        check(msgspec.structs.replace(Envelope.decode(message), **changes), TOPIC, NOW)
    envelope = forged(message, DOMAIN["alice"], **changes)
    check(envelope, TOPIC, NOW)
    with pytest.raises(RefusedMessageError, match="does not open"):
        SessionKey(KEY, TOPIC, DOMAIN["alice"].principal, envelope.session).open(envelope)


def test_who_may_not_write_at_the_topic_publishes_nothing() -> None:
    reader = DOMAIN.issue("reader", rights=Rights.EXECUTE)
    elsewhere = DOMAIN.issue("elsewhere", ("cold",))
    stranger = make_domain_identities("stranger", root="another root")["stranger"]
    late = DOMAIN.issue("late", time=(0, NOW - 1))
    for who, kind in (
        (reader, Kind.FORBIDDEN),
        (elsewhere, Kind.FORBIDDEN),
        (stranger, Kind.FORBIDDEN),
        (late, Kind.EXPIRED),
    ):
        with pytest.raises(RefusedMessageError, match="may not publish") as refused:
            opened(sealed_by(who))
        assert refused.value.kind is kind


def test_another_s_chain_helps_nobody() -> None:
    eve = make_identity("eve")
    credential = encode_credential(Credential(public=eve.public, chain=DOMAIN["alice"].chains[0]))
    key = SessionKey(KEY, TOPIC, eve.principal, SESSION)
    with pytest.raises(RefusedMessageError, match="may not publish"):
        opened(key.seal(eve.signer, credential, 0, NOW * 1000, b"x"))


def test_a_revoked_publisher_is_refused() -> None:
    revoked = Revocations(version=1, principals={DOMAIN["alice"].principal: NOW})
    with pytest.raises(RefusedMessageError, match="revoked"):
        check(Envelope.decode(sealed_by(DOMAIN["alice"])), TOPIC, NOW, revocations=revoked)


def test_every_cut_or_flip_is_refused() -> None:
    good = sealed_by(DOMAIN["alice"])
    for size in range(len(good)):
        with pytest.raises(RefusedMessageError):
            opened(good[:size])
    with pytest.raises(RefusedMessageError):
        opened(good + b"\0")
    for place in range(len(good)):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(RefusedMessageError):
            opened(bytes(flipped))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_anything_else_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(RefusedMessageError):
        Envelope.decode(data)


def test_a_boundless_credential_is_refused_before_it_is_read() -> None:
    envelope = Envelope.decode(sealed_by(DOMAIN["alice"]))
    with pytest.raises(RefusedMessageError, match="at most 65536 bytes"):
        msgspec.structs.replace(envelope, credential=bytes(65537))
    with pytest.raises(RefusedMessageError, match="shows no publisher"):
        decode_credential(b"nobody")


def test_its_size_is_that_of_the_specification() -> None:
    message = sealed_by(DOMAIN["alice"], bytes(64))
    credential = len(credential_of(DOMAIN["alice"]))
    assert len(message) == 69 + (3 + credential) + (1 + 64) + (1 + 64 + 16)


def test_errors_name_keys_and_messages_apart() -> None:
    assert RefusedMessageError("x").kind is Kind.INTEGRITY
    assert TopicKeyError("x").kind is Kind.STALE
