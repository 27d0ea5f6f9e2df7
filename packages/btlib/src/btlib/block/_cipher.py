"""`SectorCipher`: seals and opens the sectors and attributes of one block under one key epoch.

    stored sector      = nonce(12) ‖ AES-256-GCM(key, nonce, plain, AD) ‖ tag(16)
    AD of a sector     = SECTOR label ‖ block id(16) ‖ u32 key epoch ‖ u64 sector index
    AD of attributes   = ATTRIBUTES label ‖ block id(16) ‖ u32 key epoch ‖ u64 version

So a sector cannot move to another index, block or epoch. That it is the *newest* at its place is the Merkle tree's
task. Nonces are the caller's: random, fresh for every sealing, never derived from a counter that a crash could repeat.
With 96 random bits a key must be retired long before `MAX_SEALINGS`; the caller counts.

Many sectors at once go through `seal_all` and `open_all`, with their leaf hashes. Where the package `btspeed` is
installed, these do the same in compiled code, without the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import BlockError, IntegrityError
from ..labels import Label
from ._ids import BLOCK_ID_SIZE
from ._merkle import leaf_hash

try:
    import btspeed
except ImportError:
    COMPILED = False
else:
    COMPILED = True

if TYPE_CHECKING:
    from btspeed import ReadTable

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
SEAL_SIZE = NONCE_SIZE + TAG_SIZE  #: how much longer a stored sector is than its content
MAX_SEALINGS = 2**32  #: NIST SP 800-38D: random 96-bit nonces collide with probability 2^-32 after so many

Buffer = bytes | bytearray | memoryview

_LEAF = Label.LEAF.value


def leaf_hashes(indexes: list[int], stored: Sequence[Buffer]) -> list[bytes]:
    """The hashes of many stored sectors, as they stand in their parents."""
    if COMPILED:
        return btspeed.hash_sectors(_LEAF, indexes, stored)
    return list(map(leaf_hash, indexes, stored))


class SectorCipher:
    """The cipher of one block and key epoch. Immutable; may be shared between threads. Never shows its key."""

    __slots__ = (
        "_attributes",
        "_decrypt",
        "_encrypt",
        "_key",
        "_sector",
        "block",
        "key_epoch",
    )

    def __init__(self, key: bytes, block: bytes, key_epoch: int) -> None:
        if len(key) != KEY_SIZE or len(block) != BLOCK_ID_SIZE:
            raise BlockError(f"a block key has {KEY_SIZE} bytes and a block id {BLOCK_ID_SIZE}")
        aead = AESGCM(key)
        self._encrypt, self._decrypt = aead.encrypt, aead.decrypt
        self._key = key
        bound = block + key_epoch.to_bytes(4, "little")
        self._sector = Label.SECTOR.value + bound
        self._attributes = Label.ATTRIBUTES.value + bound
        self.block = block
        self.key_epoch = key_epoch

    def seal(self, index: int, plain: Buffer, nonce: bytes) -> bytes:
        """The stored form of a sector's content. `nonce` is 12 fresh random bytes."""
        return nonce + self._encrypt(nonce, plain, self._sector + index.to_bytes(8, "little"))

    def open(self, index: int, stored: Buffer) -> bytes:
        """The content of a stored sector. Raises IntegrityError."""
        view = memoryview(stored)
        try:
            return self._decrypt(view[:NONCE_SIZE], view[NONCE_SIZE:], self._sector + index.to_bytes(8, "little"))
        except (InvalidTag, ValueError) as error:
            raise self._refused(f"sector {index}", error) from None

    def seal_all(self, indexes: list[int], plains: Sequence[Buffer], nonces: bytes) -> tuple[list[bytes], list[bytes]]:
        """The stored forms of sectors, and their leaf hashes. `nonces` is 12 fresh random bytes for each."""
        if COMPILED:
            return btspeed.seal_sectors(self._key, self._sector, _LEAF, indexes, plains, nonces)
        stored = [
            self.seal(index, plain, nonces[at : at + NONCE_SIZE])
            for index, plain, at in zip(indexes, plains, range(0, len(nonces), NONCE_SIZE), strict=True)
        ]
        return stored, list(map(leaf_hash, indexes, stored))

    def open_all(
        self, indexes: list[int], records: Sequence[Buffer | None], expected: list[bytes], size: int
    ) -> list[bytes]:
        """The content of stored sectors of at most `size` bytes, each first compared with its leaf hash.

        Raises IntegrityError where one is missing, longer, or not what was hashed and sealed.
        """
        if COMPILED:
            opened = btspeed.open_sectors(self._key, self._sector, _LEAF, indexes, records, expected, size)
            if opened is not None:
                return opened
        return [self._checked(*sector, size + SEAL_SIZE) for sector in zip(indexes, records, expected, strict=True)]

    def open_joined(
        self, indexes: list[int], records: Sequence[Buffer | None], expected: list[bytes], size: int
    ) -> bytes:
        """The same as one piece: each filled up with zeros to `size` bytes. Raises IntegrityError."""
        if COMPILED:
            joined = btspeed.open_joined(self._key, self._sector, _LEAF, indexes, records, expected, size)
            if joined is not None:
                return joined
        return b"".join(plain.ljust(size, b"\0") for plain in self.open_all(indexes, records, expected, size))

    def open_stretches(
        self, first: int, hashes: bytes, runs: tuple[tuple[int, int, int, int, int, int], ...], size: int
    ) -> bytes | None:
        """The content of consecutive sectors from number `first` on, as many as there are hashes, as `open_joined`
        gives it; the stored forms lie in files: (first, length, descriptor, offset, size, last).

        None if they cannot be read or are not what was hashed: `open_joined` tells. Only where `COMPILED`.
        """
        return btspeed.open_stretches(self._key, self._sector, _LEAF, first, hashes, runs, size)

    def open_at(
        self, descriptor: int, offset: int, length: int, index: int, expected: bytes, size: int
    ) -> bytes | None:
        """The content of one sector of at most `size` bytes whose stored form lies in a file.

        None if it cannot be read or is not what `expected` says: `open_all` tells what is wrong. Only where `COMPILED`.
        """
        return btspeed.open_at(self._key, self._sector, _LEAF, descriptor, offset, length, index, expected, size)

    def read_by(self, table: ReadTable, file: int, size: int) -> None:
        """Let compiled code open sectors of this block, a file of so many bytes: see `btspeed.ReadTable.open`."""
        table.open(file, self._key, self._sector, size)

    def _checked(self, index: int, record: Buffer | None, expected: bytes, limit: int) -> bytes:
        if record is None:
            raise IntegrityError(f"sector {index} is missing from the store")
        if len(record) > limit or leaf_hash(index, record) != expected:
            raise IntegrityError(f"sector {index} does not match the hash that its writer signed")
        return self.open(index, record)

    def seal_attributes(self, version: int, plain: Buffer, nonce: bytes) -> bytes:
        """The sealed attributes as they stand in the header of `version`."""
        return nonce + self._encrypt(nonce, plain, self._attributes + version.to_bytes(8, "little"))

    def open_attributes(self, version: int, sealed: Buffer) -> bytes:
        """The attributes of a header of `version`. Raises IntegrityError."""
        view = memoryview(sealed)
        ad = self._attributes + version.to_bytes(8, "little")
        try:
            return self._decrypt(view[:NONCE_SIZE], view[NONCE_SIZE:], ad)
        except (InvalidTag, ValueError) as error:
            raise self._refused(f"the attributes of version {version}", error) from None

    def _refused(self, what: str, error: Exception) -> IntegrityError:
        why = "they were sealed with another key, for another place, or damaged"
        if not isinstance(error, InvalidTag):
            why = f"they have an impossible size ({error})" if str(error) else "they have an impossible size"
        return IntegrityError(f"block {self.block.hex()}: the bytes of {what} do not open; {why}")
