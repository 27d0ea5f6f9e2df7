"""Names and sizes of blocks: block ids, sectors, and the limits that both impose.

Pure: a random block id comes from the caller. A derived one names a well-known public block, so that everyone finds it
from what it is about, without a directory entry.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from btserde import Fixed

from ..labels import Label

BlockId = Annotated[bytes, Fixed[16]]
Digest = Annotated[bytes, Fixed[32]]

BLOCK_ID_SIZE = 16
DIGEST_SIZE = 32

SECTOR_BITS = 12  #: default: 4 KiB, the page and thus the smallest write of most programs: none needs to read first
MIN_SECTOR_BITS = 9  #: 512 bytes, a disk's sector: anything smaller would be mostly nonce and tag
MAX_SECTOR_BITS = 20  #: 1 MiB, so that one record always fits a message
MAX_SECTORS = 2**48  #: keeps the tree at six levels; at 4 KiB that is 2^60 bytes


def derive_block_id(label: Label, *parts: bytes) -> bytes:
    """The id of a well-known public block: the first half of SHA-256(label ‖ each part with its u32 length)."""
    digest = hashlib.sha256(label.value)
    for part in parts:
        digest.update(len(part).to_bytes(4, "little"))
        digest.update(part)
    return digest.digest()[:BLOCK_ID_SIZE]
