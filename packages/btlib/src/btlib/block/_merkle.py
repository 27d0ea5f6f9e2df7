"""The arithmetic of a block's Merkle tree: hashes of leaves and nodes, and the shape of the tree.

    leaf(i)     = SHA-256(LEAF label ‖ u64 i ‖ stored sector)         a hole: 32 zero bytes
    node(l, i)  = the hashes of its up to 256 children in order, holes at the end left out; l ≥ 1
    hash(l, i)  = SHA-256(NODE label ‖ u8 l ‖ u64 i ‖ node(l, i))     a node without children: 32 zero bytes
    root        = hash(height, 0), where height is the least h with 256^h ≥ sector_count;
                  the leaf itself for one sector, 32 zero bytes for none

Integers are little-endian. Nodes are stored as records of their own; leaves are not, they stand in their parents.
Nothing here keeps state: `SectorTree` does.
"""

from __future__ import annotations

import hashlib

from ..errors import BlockError, IntegrityError
from ..labels import Label
from ._ids import DIGEST_SIZE, MAX_SECTORS

FANOUT_BITS = 8
FANOUT = 1 << FANOUT_BITS  #: 256 children: 1 TiB in four levels, and a node of 8 KiB is read in one go
NODE_SIZE = FANOUT * DIGEST_SIZE
HOLE = bytes(DIGEST_SIZE)  #: the hash of what is not there

_LEAF = Label.LEAF.value
_NODE = Label.NODE.value
_sha256 = hashlib.sha256


def leaf_hash(index: int, stored: bytes | bytearray | memoryview) -> bytes:
    """The hash of one stored sector, as it stands in its parent."""
    digest = _sha256(_LEAF + index.to_bytes(8, "little"))
    digest.update(stored)
    return digest.digest()


def node_hash(level: int, index: int, node: bytes | memoryview) -> bytes:
    """The hash of one stored node, as it stands in its parent or in the header."""
    digest = _sha256(_NODE + bytes((level,)) + index.to_bytes(8, "little"))
    digest.update(node)
    return digest.digest()


def record_hash(level: int, index: int, record: bytes | memoryview) -> bytes:
    """The hash of any record: a leaf's at level 0, a node's above."""
    return node_hash(level, index, record) if level else leaf_hash(index, record)


def tree_height(sector_count: int) -> int:
    """The least h with 256^h ≥ `sector_count`. Raises BlockError for more sectors than a block may have."""
    if sector_count > MAX_SECTORS:
        raise BlockError(f"a block has at most {MAX_SECTORS} sectors, not {sector_count}")
    return (max(sector_count - 1, 0).bit_length() + FANOUT_BITS - 1) // FANOUT_BITS


def level_size(level: int, sector_count: int) -> int:
    """How many records a tree can have at a level: ceil(sector_count / 256^level), none above its height."""
    if level > tree_height(sector_count):
        return 0
    return (sector_count + (1 << FANOUT_BITS * level) - 1) >> FANOUT_BITS * level


def child(node: bytes | memoryview, slot: int) -> bytes:
    """The hash in one slot of a node; a hole where the node ends before it."""
    return bytes(node[slot * DIGEST_SIZE : (slot + 1) * DIGEST_SIZE]) or HOLE


def trim(node: bytes | bytearray) -> bytes:
    """A node without the holes at its end."""
    used = len(node.rstrip(b"\0"))
    return bytes(node[: -(-used // DIGEST_SIZE) * DIGEST_SIZE])


def check_node_shape(level: int, index: int, node: bytes | memoryview, sector_count: int) -> None:
    """Refuse a node that no writer of ours stores, whatever its hash. Raises IntegrityError."""
    room = min(FANOUT, level_size(level - 1, sector_count) - (index << FANOUT_BITS))
    if not node or len(node) % DIGEST_SIZE or len(node) > room * DIGEST_SIZE:
        raise IntegrityError(f"Merkle node {level}/{index} has {len(node)} bytes; it can have {max(room, 0)} children")
    if child(node, len(node) // DIGEST_SIZE - 1) == HOLE:
        raise IntegrityError(f"Merkle node {level}/{index} ends in a hole, which is left out")
