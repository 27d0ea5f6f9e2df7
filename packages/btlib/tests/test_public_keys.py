"""Public key sets: only canonical keys of full order, and one signature for a message."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from btlib import KeyPair, Label, PublicKeys, Suite
from btlib._ed25519 import _LOW_ORDER_U, _SMALL_ORDER_Y
from btlib._p256 import ORDER, canonical_signature
from btlib.errors import PrincipalError, SignatureError
from btlib.testing import make_keys
from btserde import DecodeError, decode, encode
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from . import slow_curve

SUITES = pytest.mark.parametrize("suite", Suite)
ED, P = make_keys("alice").public, make_keys("alice", Suite.P256).public
FIELD = slow_curve.FIELD


def raw(number: int) -> bytes:
    return number.to_bytes(32, "little")


@SUITES
def test_a_principal_is_the_labelled_hash_of_its_key_set(suite: Suite) -> None:
    public = make_keys("alice", suite).public
    assert public.principal.digest == hashlib.sha256(b"blocktree/1 principal\0" + encode(public)).digest()
    assert PublicKeys.decode(encode(public)) == public
    assert PublicKeys.decode(encode(public)).principal == public.principal


def test_the_encoding_is_suite_and_two_keys() -> None:
    assert encode(ED) == b"\x01\x20" + ED.signing + b"\x20" + ED.sealing
    assert encode(P) == b"\x02\x21" + P.signing + b"\x21" + P.sealing


def test_the_tables_hold_exactly_the_points_of_small_order() -> None:
    points = slow_curve.small_order_points()
    assert len(points) == 8
    assert {point[1] for point in points} == _SMALL_ORDER_Y
    on_the_twist = FIELD - 1  # of order four there
    assert {slow_curve.montgomery_u(point) for point in points} | {on_the_twist} == _LOW_ORDER_U


BAD_KEYS = {
    "signing key too short": (Suite.ED25519_X25519, ED.signing[:-1], ED.sealing, "31 bytes instead of 32"),
    "signing key too long": (Suite.ED25519_X25519, ED.signing + b"\0", ED.sealing, "33 bytes instead of 32"),
    "no signing key": (Suite.ED25519_X25519, b"", ED.sealing, "0 bytes"),
    "sealing key too short": (Suite.ED25519_X25519, ED.signing, ED.sealing[:-1], "31 bytes instead of 32"),
    "signing key not canonical": (Suite.ED25519_X25519, raw(FIELD + 3), ED.sealing, "not canonical"),
    "sealing key not canonical": (Suite.ED25519_X25519, ED.signing, raw(FIELD + 9), "not canonical"),
    "sealing key with the unused bit": (Suite.ED25519_X25519, ED.signing, raw(9 + (1 << 255)), "not canonical"),
    "keys of the other suite": (Suite.P256, ED.signing, ED.sealing, "no compressed point"),
    "keys of the first suite": (Suite.ED25519_X25519, P.signing, P.sealing, "33 bytes"),
    "point not on the curve": (Suite.P256, b"\x02" + b"\xff" * 32, P.sealing, "no point"),
    "sealing point not on the curve": (Suite.P256, P.signing, b"\x02" + b"\xff" * 32, "no point"),
    "point at infinity": (Suite.P256, b"\0", P.sealing, "no compressed point"),
    "wrong prefix of a point": (Suite.P256, b"\x04" + P.signing[1:], P.sealing, "no compressed point"),
    "P-256 key too long": (Suite.P256, P.signing + b"\0", P.sealing, "no compressed point"),
}


@pytest.mark.parametrize(("suite", "signing", "sealing", "reason"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_bad_keys_make_no_key_set(suite: Suite, signing: bytes, sealing: bytes, reason: str) -> None:
    with pytest.raises(PrincipalError, match=reason):
        PublicKeys(suite=suite, signing=signing, sealing=sealing)


@pytest.mark.parametrize("y", sorted(_SMALL_ORDER_Y))
@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_signing_keys_of_small_order_are_refused(y: int, sign: int) -> None:
    with pytest.raises(PrincipalError, match="small order"):
        PublicKeys(suite=Suite.ED25519_X25519, signing=raw(y | sign), sealing=ED.sealing)


@pytest.mark.parametrize("u", sorted(_LOW_ORDER_U))
def test_an_exchange_with_a_key_of_low_order_gives_nothing(u: int) -> None:
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(raw(u)))


@pytest.mark.parametrize("u", sorted(_LOW_ORDER_U))
def test_sealing_keys_of_low_order_are_refused(u: int) -> None:
    with pytest.raises(PrincipalError, match="low order"):
        PublicKeys(suite=Suite.ED25519_X25519, signing=ED.signing, sealing=raw(u))


@SUITES
def test_every_cut_or_flip_of_an_encoded_key_set_is_refused_or_another_principal(suite: Suite) -> None:
    public = make_keys("alice", suite).public
    good = encode(public)
    for size in range(len(good)):
        with pytest.raises(PrincipalError):
            PublicKeys.decode(good[:size])
    with pytest.raises(PrincipalError):
        PublicKeys.decode(good + b"\0")
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            other = PublicKeys.decode(bytes(flipped))
        except PrincipalError:
            continue
        assert other.principal != public.principal


@given(st.binary(max_size=80))
def test_any_bytes_are_a_canonical_key_set_or_refused(data: bytes) -> None:
    with contextlib.suppress(PrincipalError):
        assert encode(PublicKeys.decode(data)) == data


@pytest.mark.parametrize("number", [0, 3, 255])
def test_an_unknown_suite_is_refused(number: int) -> None:
    with pytest.raises(DecodeError):
        decode(bytes([number]) + encode(ED)[1:], PublicKeys)


@pytest.mark.parametrize("suite", Suite)
def test_suites_have_names(suite: Suite) -> None:
    assert Suite.parse(suite.text) is suite


def test_an_unknown_suite_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PrincipalError, match="choose one of ed25519-x25519, p256"):
        Suite.parse("rsa")


@SUITES
@settings(max_examples=10, deadline=None)
@given(message=st.binary(max_size=200))
def test_a_signature_counts_for_its_message_label_and_principal_alone(suite: Suite, message: bytes) -> None:
    keys = make_keys("alice", suite)
    signature = keys.sign(Label.COMMIT, message)
    keys.public.verify(Label.COMMIT, message, signature)
    for public, label, text in (
        (make_keys("bob", suite).public, Label.COMMIT, message),
        (keys.public, Label.WRITECAP, message),
        (keys.public, Label.COMMIT, message + b"\0"),
    ):
        with pytest.raises(SignatureError):
            public.verify(label, text, signature)


@SUITES
def test_the_error_of_a_wrong_signature_names_purpose_and_principal(suite: Suite) -> None:
    public = make_keys("alice", suite).public
    with pytest.raises(SignatureError, match=f"link_client signature is not by {public.principal}"):
        public.verify(Label.LINK_CLIENT, b"", bytes(64))


@SUITES
def test_every_cut_or_flip_of_a_signature_is_refused(suite: Suite) -> None:
    keys = make_keys("alice", suite)
    good = keys.sign(Label.COMMIT, b"message")
    step = 1 if len(good) == 64 else 37  # of a long one a part, at every place in a byte
    bad = [good[:size] for size in range(0, len(good), step)] + [good[:-1], good + b"\0"]
    for bit in range(0, 8 * len(good), step):
        bad.append(good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :])
    for signature in bad:
        with pytest.raises(SignatureError):
            keys.public.verify(Label.COMMIT, b"message", signature)


def test_the_high_twin_of_an_ecdsa_signature_is_refused() -> None:
    keys = make_keys("alice", Suite.P256)
    signature = keys.sign(Label.COMMIT, b"message")
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    twin = r.to_bytes(32) + (ORDER - s).to_bytes(32)
    with pytest.raises(SignatureError):
        keys.public.verify(Label.COMMIT, b"message", twin)
    assert canonical_signature(encode_dss_signature(r, ORDER - s)) == signature


@pytest.mark.parametrize("r", [0, 1, ORDER, ORDER + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER // 2 + 1, ORDER - 1, ORDER, 2**256 - 1])
def test_ecdsa_numbers_out_of_range_are_refused(r: int, s: int) -> None:
    with pytest.raises(SignatureError):
        P.verify(Label.COMMIT, b"message", r.to_bytes(32) + s.to_bytes(32))


def test_an_ecdsa_signature_in_der_is_refused() -> None:
    keys = make_keys("alice", Suite.P256)
    signature = keys.sign(Label.COMMIT, b"message")
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    with pytest.raises(SignatureError):
        keys.public.verify(Label.COMMIT, b"message", der)


def test_an_ed25519_signature_with_a_second_form_of_its_scalar_is_refused() -> None:
    keys = make_keys("alice")
    signature = keys.sign(Label.COMMIT, b"message")
    scalar = int.from_bytes(signature[32:], "little")
    for factor in range(1, 8):
        second = raw(scalar + factor * slow_curve.ORDER)
        with pytest.raises(SignatureError):
            keys.public.verify(Label.COMMIT, b"message", signature[:32] + second)


def test_an_ed25519_signature_with_a_second_form_of_its_point_is_refused() -> None:
    """Made with the private key and a nonce of zero: only such a point, the neutral one, has a second form."""
    signing = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = PublicKeys(suite=Suite.ED25519_X25519, signing=signing.public_key().public_bytes_raw(), sealing=ED.sealing)
    half = bytearray(hashlib.sha512(bytes(32)).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    scalar = int.from_bytes(half, "little")

    def signature(point: bytes) -> bytes:
        hashed = hashlib.sha512(point + public.signing + Label.COMMIT.value + b"message").digest()
        return point + raw(int.from_bytes(hashed, "little") * scalar % slow_curve.ORDER)

    public.verify(Label.COMMIT, b"message", signature(raw(1)))
    for point in (raw(FIELD + 1), raw(1 + (1 << 255)), raw(FIELD + 1 + (1 << 255))):
        with pytest.raises(SignatureError):
            public.verify(Label.COMMIT, b"message", signature(point))


def test_an_ed25519_signature_of_small_order_parts_is_refused() -> None:
    for y in sorted(_SMALL_ORDER_Y):
        with pytest.raises(SignatureError):
            ED.verify(Label.COMMIT, b"message", raw(y) + bytes(32))


@pytest.mark.parametrize("suite", [Suite.ED25519_X25519, Suite.P256])
def test_classic_signatures_have_64_bytes_and_are_deterministic(suite: Suite) -> None:
    keys = make_keys("alice", suite)
    signatures = {keys.sign(Label.COMMIT, b"message") for _ in range(3)}
    assert [len(signature) for signature in signatures] == [64]


@SUITES
def test_a_seed_gives_the_same_keys_always_and_suites_share_none(suite: Suite) -> None:
    seed = bytes(range(32))
    assert KeyPair.from_seed(suite, seed).public == KeyPair.from_seed(suite, seed).public
    others = [KeyPair.from_seed(other, seed).public for other in Suite if other is not suite]
    assert KeyPair.from_seed(suite, seed).public.principal not in {public.principal for public in others}
    assert KeyPair.generate(suite).public != KeyPair.generate(suite).public
