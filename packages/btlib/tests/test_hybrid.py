"""The suite `hybrid-pq` is the composition of its drafts, and either half alone is worth nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from btlib import KeyPair, Label, PublicKeys, Suite
from btlib._hybrid import MLDSA_KEY_SIZE, MLDSA_SIGNATURE_SIZE, MLKEM_KEY_SIZE, HybridPq
from btlib.errors import PrincipalError, SealError, SignatureError
from btlib.testing import make_keys
from btserde import encode
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from . import slow_hybrid

PUBLISHED = Path(__file__).resolve().parent / "published"
ALICE = make_keys("alice", Suite.HYBRID_PQ)
BOB = make_keys("bob", Suite.HYBRID_PQ)
FIELD = 2**255 - 19


def published(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((PUBLISHED / name).read_text(encoding="utf-8"))
    return found


def material(label: Label, seed: bytes) -> bytes:
    """The derivation of the specification, a second time."""
    return HKDF(algorithm=SHA256(), length=64, salt=None, info=label.value + b"\x03").derive(seed)


def test_the_composite_signature_is_that_of_the_draft() -> None:
    vector = published("composite-mldsa65-ed25519-sha512.json")
    public, message, signature = (bytes.fromhex(vector[name]) for name in ("public", "message", "signature"))
    assert HybridPq().verify(public, message, signature)
    assert not HybridPq().verify(public, message + b"\0", signature)
    slow_hybrid.composite_verify(public, message, signature)
    private = bytes.fromhex(vector["private"])
    assert slow_hybrid.composite_public(private) == public
    assert HybridPq().derive(private, bytes(64)).signing_public == public


def test_the_sealing_keys_are_those_of_x_wing() -> None:
    vector = published("xwing.json")
    private, sent = bytes.fromhex(vector["private"]), bytes.fromhex(vector["ciphertext"])
    public = HybridPq().derive(bytes(64), private).sealing_public
    assert public.hex().startswith(vector["public_begins"])
    assert public.hex().endswith(vector["public_ends"])
    assert slow_hybrid.xwing_public(private) == public
    assert slow_hybrid.xwing_decapsulate(private, sent).hex() == vector["shared"]


@settings(max_examples=20, deadline=None)
@given(message=st.binary(max_size=300), seed=st.binary(min_size=32, max_size=32))
def test_both_implementations_verify_what_the_other_signs(message: bytes, seed: bytes) -> None:
    keys = KeyPair.from_seed(Suite.HYBRID_PQ, seed)
    private = material(Label.SEED_SIGN, seed)
    assert slow_hybrid.composite_public(private) == keys.public.signing
    labelled = Label.COMMIT.value + message
    slow_hybrid.composite_verify(keys.public.signing, labelled, keys.sign(Label.COMMIT, message))
    keys.public.verify(Label.COMMIT, message, slow_hybrid.composite_sign(private, labelled))


def test_the_sealing_key_comes_from_the_seed_as_the_specification_says() -> None:
    seed = bytes(range(32))
    public = KeyPair.from_seed(Suite.HYBRID_PQ, seed).public
    assert slow_hybrid.xwing_public(material(Label.SEED_SEAL, seed)[:32]) == public.sealing


def test_the_sizes_are_those_of_the_specification() -> None:
    assert (len(ALICE.public.signing), len(ALICE.public.sealing)) == (1984, 1216)
    assert len(encode(ALICE.public)) == 3207
    assert len(ALICE.sign(Label.COMMIT, b"")) == 3373
    assert len(ALICE.public.seal(Label.READCAP, b"", b"")) == 1136


def halves(signature: bytes) -> tuple[bytes, bytes]:
    return signature[:MLDSA_SIGNATURE_SIZE], signature[MLDSA_SIGNATURE_SIZE:]


def test_a_signature_needs_both_its_halves() -> None:
    lattice, classic = halves(ALICE.sign(Label.COMMIT, b"message"))
    other_lattice, other_classic = halves(BOB.sign(Label.COMMIT, b"message"))
    ALICE.public.verify(Label.COMMIT, b"message", lattice + classic)
    for signature in (
        lattice + other_classic,
        other_lattice + classic,
        lattice + bytes(64),
        bytes(MLDSA_SIGNATURE_SIZE) + classic,
        classic + lattice,
        lattice,
        classic,
    ):
        with pytest.raises(SignatureError):
            ALICE.public.verify(Label.COMMIT, b"message", signature)


def test_halves_of_signatures_of_two_messages_make_none() -> None:
    (first, _), (_, second) = halves(ALICE.sign(Label.COMMIT, b"one")), halves(ALICE.sign(Label.COMMIT, b"two"))
    for message in (b"one", b"two"):
        with pytest.raises(SignatureError):
            ALICE.public.verify(Label.COMMIT, message, first + second)


def test_the_classic_half_is_no_signature_of_a_classic_principal_with_the_same_key() -> None:
    classic = PublicKeys(
        suite=Suite.ED25519_X25519,
        signing=ALICE.public.signing[MLDSA_KEY_SIZE:],
        sealing=ALICE.public.sealing[MLKEM_KEY_SIZE:],
    )
    _, half = halves(ALICE.sign(Label.COMMIT, b"message"))
    with pytest.raises(SignatureError):
        classic.verify(Label.COMMIT, b"message", half)


def test_a_signature_without_the_label_of_the_composition_is_refused() -> None:
    private = material(Label.SEED_SIGN, bytes(range(32)))
    public = KeyPair.from_seed(Suite.HYBRID_PQ, bytes(range(32))).public
    lattice, classic = slow_hybrid._signing_keys(private)
    text = slow_hybrid.representative(Label.COMMIT.value + b"message")
    with pytest.raises(SignatureError):
        public.verify(Label.COMMIT, b"message", lattice.sign(text) + classic.sign(text))
    with pytest.raises(InvalidSignature):
        slow_hybrid.composite_verify(public.signing, Label.COMMIT.value + b"message", lattice.sign(text) + bytes(64))


@pytest.mark.parametrize("place", [0, 1000, 1087, 1088, 1119, 1120])
def test_either_half_of_an_encapsulated_key_counts(place: int) -> None:
    sealed = bytearray(ALICE.public.seal(Label.READCAP, b"info", b"plain"))
    sealed[place] ^= 1
    with pytest.raises(SealError):
        ALICE.open(Label.READCAP, b"info", bytes(sealed))


def raw(number: int) -> bytes:
    return number.to_bytes(32, "little")


SIGNING, SEALING = ALICE.public.signing, ALICE.public.sealing
BAD_KEYS = {
    "signing key too short": (SIGNING[:-1], SEALING, "1983 bytes instead of 1984"),
    "signing key too long": (SIGNING + b"\0", SEALING, "1985 bytes instead of 1984"),
    "sealing key too short": (SIGNING, SEALING[:-1], "1215 bytes instead of 1216"),
    "the classic half alone": (SIGNING[MLDSA_KEY_SIZE:], SEALING, "32 bytes instead of 1984"),
    "classic signing half of small order": (SIGNING[:MLDSA_KEY_SIZE] + raw(1), SEALING, "small order"),
    "classic signing half not canonical": (SIGNING[:MLDSA_KEY_SIZE] + raw(FIELD + 3), SEALING, "not canonical"),
    "classic sealing half of low order": (SIGNING, SEALING[:MLKEM_KEY_SIZE] + raw(0), "low order"),
    "classic sealing half not canonical": (SIGNING, SEALING[:MLKEM_KEY_SIZE] + raw(FIELD + 9), "not canonical"),
    "coefficient not below the modulus": (SIGNING, b"\xff\xff" + SEALING[2:], "sealing key is not canonical"),
}


@pytest.mark.parametrize(("signing", "sealing", "reason"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_bad_keys_make_no_key_set(signing: bytes, sealing: bytes, reason: str) -> None:
    with pytest.raises(PrincipalError, match=reason):
        PublicKeys(suite=Suite.HYBRID_PQ, signing=signing, sealing=sealing)


@pytest.mark.parametrize("index", range(0, 768, 37))
def test_every_coefficient_of_a_sealing_key_is_checked(index: int) -> None:
    """Twelve bits each; 3329 is the modulus, so 3329 to 4095 would be second forms of 0 to 766."""
    number = int.from_bytes(SEALING[:1152], "little")
    number = number & ~(0xFFF << 12 * index) | 3329 << 12 * index
    with pytest.raises(PrincipalError, match="sealing key is not canonical"):
        PublicKeys(suite=Suite.HYBRID_PQ, signing=SIGNING, sealing=number.to_bytes(1152, "little") + SEALING[1152:])


def test_two_signatures_of_one_message_differ_and_both_count() -> None:
    first, second = (ALICE.sign(Label.COMMIT, b"message") for _ in range(2))
    assert first != second
    for signature in (first, second):
        ALICE.public.verify(Label.COMMIT, b"message", signature)
