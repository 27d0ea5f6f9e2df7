"""Headers and their signatures: one form, one meaning, one signature a commit."""

from __future__ import annotations

import msgspec
import pytest
from btlib.block import (
    HOLE,
    MAX_COMMIT_HEADERS,
    PUBLIC,
    REMOVED,
    Header,
    Proof,
    SignedHeader,
    VerifiedRoots,
    decode_header,
    decode_signed_header,
    encode_header,
    encode_signed_header,
    sign_commit,
    verify_signed_header,
)
from btlib.errors import BlockError, BlocktreeError, IntegrityError, SignatureError
from btlib.key_pairs import KeyPair
from btlib.labels import Label
from btlib.public_keys import PublicKeys, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

KEYS = KeyPair.from_seed(Suite.ED25519_X25519, bytes(32))
OTHER = KeyPair.from_seed(Suite.ED25519_X25519, bytes([1]) * 32)

IDS = st.binary(min_size=16, max_size=16)
DIGESTS = st.binary(min_size=32, max_size=32)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Any header that may exist."""
    flags = draw(st.integers(0, 3))
    sectors = 0 if flags & REMOVED else draw(st.integers(0, 2**48))
    return Header(
        flags=flags,
        block=draw(IDS),
        scope=draw(IDS),
        version=draw(st.integers(1, 2**64 - 1)),
        key_epoch=draw(st.integers(0, 2**32 - 1)),
        sector_bits=draw(st.integers(9, 20)),
        sector_count=sectors,
        root=draw(DIGESTS) if sectors else HOLE,
        chain=draw(DIGESTS),
        written=draw(st.integers(-(2**63), 2**63 - 1)),
        attributes=b"" if flags else draw(st.binary(max_size=300)),
    )


def header(number: int = 0) -> Header:
    return Header(
        block=bytes([number % 256]) * 16,
        scope=bytes(16),
        version=number + 1,
        sector_count=1,
        root=bytes([7]) * 32,
        chain=bytes([9]) * 32,
        written=1_800_000_000,
        attributes=b"sealed attributes",
    )


class CountingKeys(PublicKeys, frozen=True, kw_only=True, dict=True):
    """Public keys that count how often they verify."""

    def verify(self, label: Label, message: bytes, signature: bytes) -> None:
        self.__dict__["count"] = self.__dict__.get("count", 0) + 1
        super().verify(label, message, signature)


def counting(keys: KeyPair = KEYS) -> CountingKeys:
    return CountingKeys(suite=keys.public.suite, signing=keys.public.signing, sealing=keys.public.sealing)


@given(headers())
def test_a_header_survives_encoding(value: Header) -> None:
    assert decode_header(encode_header(value)) == value


def test_the_fields_stand_where_the_specification_says() -> None:
    data = encode_header(header(3))
    assert data[:2] == b"\1\0"
    assert data[2:18] == b"\3" * 16
    assert data[34:42] == (4).to_bytes(8, "little")
    assert data[46] == 12
    assert data[55:87] == b"\7" * 32
    assert data[87:119] == b"\x09" * 32
    assert data[127:] == b"\x11sealed attributes"


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 2},
        {"flags": 4},
        {"version": 0},
        {"sector_bits": 8},
        {"sector_bits": 21},
        {"sector_count": 2**48 + 1},
        {"sector_count": 0},
        {"flags": PUBLIC},
        {"flags": REMOVED, "attributes": b""},
        {"attributes": bytes(128 * 1024 + 1)},
    ],
)
def test_a_header_that_contradicts_itself_can_neither_be_made_nor_decoded(wrong: dict[str, object]) -> None:
    fields = {**msgspec.structs.asdict(header()), **wrong}
    with pytest.raises(BlockError):
        Header(**fields)


@pytest.mark.parametrize(("at", "byte"), [(0, 2), (1, 4), (46, 8), (46, 21), (54, 1)])
def test_a_decoder_refuses_what_cannot_exist(at: int, byte: int) -> None:
    data = bytearray(encode_header(header()))
    data[at] = byte
    with pytest.raises(IntegrityError):
        decode_header(bytes(data))


def test_every_truncation_and_trailing_byte_is_refused() -> None:
    signed = sign_commit(KEYS, [header(0), header(1)])[0]
    for data, decode in ((signed.header, decode_header), (encode_signed_header(signed), decode_signed_header)):
        for size in range(len(data)):
            with pytest.raises(IntegrityError):
                decode(data[:size])
        with pytest.raises(IntegrityError):
            decode(data + b"\0")


def test_every_flipped_byte_of_a_signed_header_is_refused() -> None:
    data = encode_signed_header(sign_commit(KEYS, [header(n) for n in range(5)])[4])
    verified = VerifiedRoots()
    verify_signed_header(decode_signed_header(data), KEYS.public, verified)
    for at in range(len(data)):
        for bit in (0x01, 0x80):
            flipped = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            with pytest.raises(BlocktreeError):
                verify_signed_header(decode_signed_header(flipped), KEYS.public, verified)


@given(st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_every_header_of_a_commit_verifies_with_one_signature(count: int) -> None:
    signed = sign_commit(KEYS, [header(number) for number in range(count)])
    public, verified = counting(), VerifiedRoots()
    assert [verify_signed_header(s, public, verified) for s in signed] == [header(n) for n in range(count)]
    assert public.__dict__["count"] == 1


def test_p256_keys_sign_commits_too() -> None:
    keys = KeyPair.from_seed(Suite.P256, bytes(32))
    (signed,) = sign_commit(keys, [header()])
    assert verify_signed_header(signed, keys.public, VerifiedRoots()) == header()


def test_another_principal_signed_nothing() -> None:
    (signed,) = sign_commit(KEYS, [header()])
    verified = VerifiedRoots()
    verify_signed_header(signed, KEYS.public, verified)
    with pytest.raises(SignatureError):
        verify_signed_header(signed, OTHER.public, verified)


def test_a_header_cannot_take_the_place_of_another_in_the_commit() -> None:
    first, second, third = sign_commit(KEYS, [header(0), header(1), header(2)])
    for wrong in (
        SignedHeader(first.header, second.proof, first.signature),
        SignedHeader(second.header, Proof(0, 3, second.proof.siblings), second.signature),
        SignedHeader(third.header, Proof(2, 4, third.proof.siblings), third.signature),
        SignedHeader(third.header, Proof(1, 2, third.proof.siblings), third.signature),
    ):
        with pytest.raises(BlocktreeError):
            verify_signed_header(wrong, KEYS.public, VerifiedRoots())


@pytest.mark.parametrize("proof", [Proof(1, 1, b""), Proof(0, 0, b""), Proof(0, 2**17, bytes(32) * 17)])
def test_a_proof_of_an_impossible_place_is_refused(proof: Proof) -> None:
    (signed,) = sign_commit(KEYS, [header()])
    with pytest.raises(IntegrityError, match="cannot be number"):
        verify_signed_header(SignedHeader(signed.header, proof, signed.signature), KEYS.public, VerifiedRoots())


@pytest.mark.parametrize("siblings", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_proof_of_the_wrong_length_is_refused(siblings: bytes) -> None:
    signed = sign_commit(KEYS, [header(0), header(1)])[0]
    wrong = SignedHeader(signed.header, Proof(0, 2, siblings), signed.signature)
    with pytest.raises(IntegrityError):
        verify_signed_header(wrong, KEYS.public, VerifiedRoots())


def test_a_failed_verification_is_not_remembered() -> None:
    (signed,) = sign_commit(KEYS, [header()])
    forged = SignedHeader(signed.header, signed.proof, bytes(64))
    verified = VerifiedRoots()
    for _ in range(2):
        with pytest.raises(SignatureError):
            verify_signed_header(forged, KEYS.public, verified)
    assert len(verified) == 0


def test_verified_roots_are_bounded_and_older_ones_go_first() -> None:
    verified, public = VerifiedRoots(4), counting()
    signed = [sign_commit(KEYS, [header(number)])[0] for number in range(5)]
    for one in (*signed, *signed[2:], signed[0]):
        verify_signed_header(one, public, verified)
    assert len(verified) <= 4
    assert public.__dict__["count"] == 6


@pytest.mark.parametrize("count", [0, MAX_COMMIT_HEADERS + 1])
def test_a_commit_of_none_or_too_many_headers_is_not_signed(count: int) -> None:
    with pytest.raises(BlockError, match="a commit signs"):
        sign_commit(KEYS, [header()] * count)
