"""A file of sectors, sealed by the reference, as a store would have them in one of its files."""

from __future__ import annotations

import os
from pathlib import Path

import btspeed
from btlib.block import NONCE_SIZE, SEAL_SIZE, SectorCipher, leaf_hash
from btlib.labels import Label

SECTOR, BITS = 4096, 12
RECORD = SECTOR + SEAL_SIZE
KEY, BLOCK = bytes(range(32)), bytes(range(16))
PAGE = 256
SKIPPED = 77  #: bytes before the first record


class Owner:
    """Keeps a descriptor open, as a segment does."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.descriptor)


class StoredFile:
    """`count` sectors, the last one short; their records one after another from byte `SKIPPED` of a file on."""

    def __init__(self, path: Path, count: int = 300) -> None:
        self.path = path
        self.plains = [os.urandom(SECTOR) for _ in range(count - 1)] + [b"the end"]
        self.size = (count - 1) * SECTOR + len(self.plains[-1])
        self.cipher = SectorCipher(KEY, BLOCK, 7)
        self.records = [self.cipher.seal(i, plain, os.urandom(NONCE_SIZE)) for i, plain in enumerate(self.plains)]
        self.hashes = list(map(leaf_hash, range(count), self.records))
        path.write_bytes(bytes(SKIPPED) + b"".join(self.records))

    def stretch(self, descriptor: int, first: int = 0, end: int | None = None) -> tuple[int, int, int, int, int, int]:
        end = len(self.records) if end is None else end
        return first, end - first, descriptor, SKIPPED + first * RECORD, RECORD, len(self.records[end - 1])

    def put(self, table: btspeed.ReadTable, file: int, page: int, owner: Owner, first: int = 0) -> None:
        self.cipher.read_by(table, file, self.size)
        hashes = b"".join(self.hashes[page * PAGE : (page + 1) * PAGE])
        table.put(file, page, hashes, (self.stretch(owner.descriptor, first),), owner)

    def table(self, file: int) -> btspeed.ReadTable:
        """With all pages of it."""
        table, owner = btspeed.ReadTable(BITS, Label.LEAF.value), Owner(self.path)
        for page in range(-(-len(self.records) // PAGE)):
            self.put(table, file, page, owner)
        return table
