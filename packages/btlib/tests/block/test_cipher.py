"""Sealed sectors and attributes: they open at their place, with their key, whole, and nowhere else."""

from __future__ import annotations

import pytest
from btlib.block import SEAL_SIZE, SectorCipher
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
    buffer = bytearray(len(plain))
    assert CIPHER.open_into(index, stored, buffer) == len(plain)
    assert buffer == plain


def test_sealing_into_a_buffer_gives_the_same_bytes() -> None:
    buffer = memoryview(bytearray(100))
    CIPHER.seal_into(5, b"content", NONCE, buffer[10 : 10 + 7 + SEAL_SIZE])
    assert buffer[10 : 10 + 7 + SEAL_SIZE] == CIPHER.seal(5, b"content", NONCE)
    for size in (0, 12, 34, 36):
        with pytest.raises(BlockError, match="does not fit"):
            CIPHER.seal_into(5, b"content", NONCE, memoryview(bytearray(size)))


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
    with pytest.raises(IntegrityError, match="do not open"):
        cipher.open_into(index, stored, bytearray(6))


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
