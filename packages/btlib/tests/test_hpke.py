"""Our seals are HPKE as others make it: against RFC 9180's vectors and a second implementation written from the RFC."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from btlib import KeyPair, Label, Suite
from btlib.errors import SealError
from btlib.testing import make_keys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from .slow_hpke import AES_128_GCM, AES_256_GCM, ENC_SIZE, P256, X25519, SlowHpke, public_of, uncompressed
from .slow_hybrid import SlowHybridHpke

INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
PLAIN = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
AAD = b"Count-0"

# From RFC 9180, appendices A.1.1 and A.3.1, and from the vectors of the working group for AES-256-GCM:
# KEM, AEAD, skEm, skRm, enc, first ciphertext.
PUBLISHED = [
    (
        X25519,
        AES_128_GCM,
        "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
        "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
    ),
    (
        X25519,
        AES_256_GCM,
        "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
        "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
        "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
        "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
    ),
    (
        P256,
        AES_128_GCM,
        "4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb",
        "f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2",
        "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac9"
        "8536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4",
        "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434",
    ),
    (
        P256,
        AES_256_GCM,
        "90345e3a1d116c1dd39ae76d95ab858c142223a63e44f8f85318cfa91a84858e",
        "317f915db7bc629c48fe765587897e01e282d3e8445f79f27f65d031a88082b2",
        "04c06b4f6bebc7bb495cb797ab753f911aff80aefb86fd8b6fcc35525f3ab5f03e"
        "0b21bd31a86c6048af3cb2d98e0d3bf01da5cc4c39ff5370d331a4f1f7d5a4e0",
        "58c61a45059d0c5704560e9d88b564a8b63f1364b8d1fcb3c4c6ddc1d291742465e902cd216f8908da49f8f96f",
    ),
]

SLOW: dict[Suite, SlowHpke | SlowHybridHpke] = {
    Suite.ED25519_X25519: SlowHpke(X25519, AES_256_GCM),
    Suite.P256: SlowHpke(P256, AES_256_GCM),
    Suite.HYBRID_PQ: SlowHybridHpke(),
}
SUITES = pytest.mark.parametrize("suite", Suite)


@pytest.mark.parametrize(("kem", "aead", "ephemeral", "private", "enc", "ciphertext"), PUBLISHED)
def test_the_second_implementation_gives_the_published_results(
    kem: int, aead: int, ephemeral: str, private: str, enc: str, ciphertext: str
) -> None:
    slow, own = SlowHpke(kem, aead), bytes.fromhex(private)
    sealed = slow.seal(public_of(kem, own), bytes.fromhex(ephemeral), INFO, AAD, PLAIN)
    assert sealed.hex() == enc + ciphertext
    assert slow.open(own, INFO, AAD, sealed) == PLAIN


def private_sealing_key(suite: Suite, seed: bytes) -> bytes:
    """The derivation of the specification, a second time."""
    info = Label.SEED_SEAL.value + bytes([suite.value])
    material = HKDF(algorithm=SHA256(), length=48, salt=None, info=info).derive(seed)
    if suite is not Suite.P256:
        return material[:32]
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return (int.from_bytes(material) % (order - 1) + 1).to_bytes(32)


@SUITES
@settings(max_examples=20, deadline=None)
@given(info=st.binary(max_size=80), plain=st.binary(max_size=300), seed=st.binary(min_size=32, max_size=32))
def test_both_implementations_open_what_the_other_seals(suite: Suite, info: bytes, plain: bytes, seed: bytes) -> None:
    keys, slow = KeyPair.from_seed(suite, seed), SLOW[suite]
    private = private_sealing_key(suite, seed)
    full_info = Label.READCAP.value + info
    sealed = keys.public.seal(Label.READCAP, info, plain)
    assert slow.open(private, full_info, b"", sealed) == plain
    public = uncompressed(keys.public.sealing) if suite is Suite.P256 else keys.public.sealing
    ephemeral = hashlib.sha256(seed).digest()
    assert keys.open(Label.READCAP, info, slow.seal(public, ephemeral, full_info, b"", plain)) == plain


@SUITES
def test_a_seal_opens_only_for_its_principal_label_and_info(suite: Suite) -> None:
    keys, other = make_keys("alice", suite), make_keys("bob", suite)
    sealed = keys.public.seal(Label.READCAP, b"info", b"plain")
    assert keys.open(Label.READCAP, b"info", sealed) == b"plain"
    wrong: tuple[Callable[[], bytes], ...] = (
        lambda: other.open(Label.READCAP, b"info", sealed),
        lambda: keys.open(Label.ENROLL_RESPONSE, b"info", sealed),
        lambda: keys.open(Label.READCAP, b"info2", sealed),
    )
    for open_wrongly in wrong:
        with pytest.raises(SealError, match="does not open"):
            open_wrongly()


@SUITES
def test_a_seal_that_is_cut_flipped_or_extended_does_not_open(suite: Suite) -> None:
    keys = make_keys("alice", suite)
    sealed = keys.public.seal(Label.READCAP, b"", b"plain")
    damaged = [sealed[:size] for size in range(len(sealed))]
    damaged += [sealed[:i] + bytes([sealed[i] ^ 1 << i % 8]) + sealed[i + 1 :] for i in range(len(sealed))]
    for text in (*damaged, sealed + b"\0"):
        with pytest.raises(SealError, match="does not open"):
            keys.open(Label.READCAP, b"", text)


@SUITES
def test_the_same_text_is_sealed_differently_each_time(suite: Suite) -> None:
    public = make_keys("alice", suite).public
    assert public.seal(Label.READCAP, b"", b"x") != public.seal(Label.READCAP, b"", b"x")


@pytest.mark.parametrize("size", [0, 1, 31, 64, 65])
def test_zeros_in_place_of_an_encapsulated_key_do_not_open(size: int) -> None:
    for suite in Suite:
        with pytest.raises(SealError):
            make_keys("alice", suite).open(Label.READCAP, b"", bytes(size) + bytes(40))


def test_a_compressed_encapsulated_key_does_not_open() -> None:
    """HPKE knows one form of a point; another would be a second text for the same seal."""
    keys = make_keys("alice", Suite.P256)
    sealed = keys.public.seal(Label.READCAP, b"", b"plain")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sealed[: ENC_SIZE[P256]])
    short = bytes([2 + key.public_numbers().y % 2]) + key.public_numbers().x.to_bytes(32)
    with pytest.raises(SealError):
        keys.open(Label.READCAP, b"", short + sealed[ENC_SIZE[P256] :])
