"""The measures of a chunk: a mebibyte of a file, aligned, as one piece in the clean cache. Pure.

A chunk is what a sequential reader gets. Its sectors may be in the cache one by one at the same time; both are of the
committed version, or gone.
"""

from __future__ import annotations

from ._blocks import SECTOR_SIZE
from ._cache import BASE_BITS

CHUNK_BITS = 8
CHUNK_SECTORS = 1 << CHUNK_BITS  #: all of them under one Merkle node
CHUNK_SIZE = SECTOR_SIZE * CHUNK_SECTORS
CHUNK_SHIFT = CHUNK_SIZE.bit_length() - 1
CHUNK_MASK = CHUNK_SIZE - 1
CHUNKS = 1 << BASE_BITS - 1  #: what a chunk's key has above its file's base: more than a file has sectors
