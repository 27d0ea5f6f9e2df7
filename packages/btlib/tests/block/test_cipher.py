"""Sealed sectors and attributes: they open at their place, with their key, whole, and nowhere else."""

from __future__ import annotations

import pytest
from btlib.block import SEAL_SIZE, SectorCipher, leaf_hash
from btlib.errors import BlockError, IntegrityError
from btlib.labels import Label
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

KEY, BLOCK, NONCE = bytes(range(32)), bytes(range(16)), bytes(range(12))
CIPHER = SectorCipher(KEY, BLOCK, 3)


@given(st.binary(max_size=2000), st.integers(0, 2**64 - 1))
def test_a_sector_opens_as_it_was_sealed(plain: bytes, index: int) -> None:
    stored = CIPHER.seal(index, plain, NONCE)
    assert len(stored) == len(plain) + SEAL_SIZE
    assert CIPHER.open(index, stored) == CIPHER.open(index, memoryview(stored)) == plain


def test_the_stored_form_is_as_specified() -> None:
    ad = Label.SECTOR.value + BLOCK + (3).to_bytes(4, "little") + (9).to_bytes(8, "little")
    assert CIPHER.seal(9, memoryview(b"plain"), NONCE) == NONCE + AESGCM(KEY).encrypt(NONCE, b"plain", ad)
    ad = Label.ATTRIBUTES.value + BLOCK + (3).to_bytes(4, "little") + (9).to_bytes(8, "little")
    assert CIPHER.seal_attributes(9, b"plain", NONCE) == NONCE + AESGCM(KEY).encrypt(NONCE, b"plain", ad)


@pytest.mark.parametrize(
    ("cipher", "index"),
    [
        (CIPHER, 8),
        (SectorCipher(bytes(32), BLOCK, 3), 9),
        (SectorCipher(KEY, bytes(16), 3), 9),
        (SectorCipher(KEY, BLOCK, 4), 9),
    ],
    ids=["another index", "another key", "another block", "another epoch"],
)
def test_a_sector_opens_nowhere_else(cipher: SectorCipher, index: int) -> None:
    stored = CIPHER.seal(9, b"secret", NONCE)
    with pytest.raises(IntegrityError, match="do not open"):
        cipher.open(index, stored)


def test_attributes_and_sectors_are_never_taken_for_each_other() -> None:
    with pytest.raises(IntegrityError):
        CIPHER.open(9, CIPHER.seal_attributes(9, b"secret", NONCE))
    with pytest.raises(IntegrityError):
        CIPHER.open_attributes(9, CIPHER.seal(9, b"secret", NONCE))


def test_attributes_open_only_for_their_version() -> None:
    sealed = CIPHER.seal_attributes(9, b"mode", NONCE)
    assert CIPHER.open_attributes(9, sealed) == b"mode"
    with pytest.raises(IntegrityError, match="version 8"):
        CIPHER.open_attributes(8, sealed)


def test_every_flipped_byte_and_every_truncation_is_refused() -> None:
    stored = CIPHER.seal(9, b"secret", NONCE)
    for at in range(len(stored)):
        with pytest.raises(IntegrityError):
            CIPHER.open(9, stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :])
        with pytest.raises(IntegrityError):
            CIPHER.open(9, stored[:at])


@pytest.mark.parametrize(("key", "block"), [(bytes(31), BLOCK), (KEY, bytes(17))])
def test_keys_and_block_ids_of_another_size_are_refused(key: bytes, block: bytes) -> None:
    with pytest.raises(BlockError):
        SectorCipher(key, block, 0)


def test_a_cipher_does_not_show_its_key() -> None:
    assert KEY.hex() not in repr(CIPHER)
    assert not hasattr(CIPHER, "__dict__")


@pytest.fixture(params=["compiled", "python"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to work on many sectors, where both are there."""
    if request.param == "compiled":
        pytest.importorskip("btspeed", exc_type=ImportError)
    monkeypatch.setattr("btlib.block._cipher.COMPILED", request.param == "compiled")
    return str(request.param)


PLAINS = [b"", b"a", b"b" * 4095, b"c" * 4096, b"d" * 100]
INDEXES = [0, 7, 255, 256, 2**40]
NONCES = bytes(range(12 * len(PLAINS)))


@pytest.mark.usefixtures("loops")
def test_many_sectors_are_sealed_and_opened_as_each_alone() -> None:
    stored, hashes = CIPHER.seal_all(INDEXES, PLAINS, NONCES)
    assert stored == [
        CIPHER.seal(i, p, NONCES[12 * n : 12 * n + 12]) for n, (i, p) in enumerate(zip(INDEXES, PLAINS, strict=True))
    ]
    assert hashes == [leaf_hash(index, record) for index, record in zip(INDEXES, stored, strict=True)]
    assert CIPHER.open_all(INDEXES, stored, hashes, 4096) == PLAINS
    assert CIPHER.open_joined(INDEXES, stored, hashes, 4096) == b"".join(p.ljust(4096, b"\0") for p in PLAINS)
    assert CIPHER.open_all([], [], [], 4096) == []


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "sector 255 is missing from the store"),
        (b"", "sector 255 does not match the hash"),
        (b"x" * 4125, "sector 255 does not match the hash"),
    ],
)
def test_one_wrong_sector_among_many_is_named(record: bytes | None, reason: str) -> None:
    stored, hashes = CIPHER.seal_all(INDEXES, PLAINS, NONCES)
    wrong = [*stored[:2], record, *stored[3:]]
    for opening in (CIPHER.open_all, CIPHER.open_joined):
        with pytest.raises(IntegrityError, match=reason):
            opening(INDEXES, wrong, hashes, 4096)


@pytest.mark.usefixtures("loops")
def test_sectors_that_are_hashed_right_and_sealed_for_elsewhere_do_not_open() -> None:
    moved = [index + 1 for index in INDEXES]
    stored, _ = CIPHER.seal_all(INDEXES, PLAINS, NONCES)
    hashes = [leaf_hash(index, record) for index, record in zip(moved, stored, strict=True)]
    with pytest.raises(IntegrityError, match="the bytes of sector 1 do not open"):
        CIPHER.open_all(moved, stored, hashes, 4096)
