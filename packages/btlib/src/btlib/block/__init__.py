"""Blocks: what files, directories, symlinks and public records are stored as.

A block is a signed `Header` and sealed sectors under a Merkle tree. Whoever holds the read key can open the sectors and
cannot forge one; whoever holds no key can still tell a forged or damaged write from a good one.

The formats are specified in `docs/spec/block.md`. Nothing here stores, fetches, or knows names and attributes.
"""

from ._check import check_tree_update
from ._cipher import COMPILED, KEY_SIZE, NONCE_SIZE, SEAL_SIZE, SectorCipher
from ._commits import MAX_COMMIT_HEADERS, VerifiedRoots, sign_commit, verify_signed_header
from ._header import (
    PUBLIC,
    REMOVED,
    Header,
    Proof,
    SignedHeader,
    decode_header,
    decode_signed_header,
    encode_header,
    encode_signed_header,
)
from ._ids import BLOCK_ID_SIZE, DIGEST_SIZE, MAX_SECTORS, SECTOR_BITS, BlockId, Digest, derive_block_id
from ._merkle import FANOUT, HOLE, leaf_hash, level_size, node_hash, record_hash, tree_height
from ._tree import Dropped, SectorTree, TreeUpdate
from ._writer import WriterRecord, decode_writer, encode_writer, writer_id

__all__ = [
    "BLOCK_ID_SIZE",
    "COMPILED",
    "DIGEST_SIZE",
    "FANOUT",
    "HOLE",
    "KEY_SIZE",
    "MAX_COMMIT_HEADERS",
    "MAX_SECTORS",
    "NONCE_SIZE",
    "PUBLIC",
    "REMOVED",
    "SEAL_SIZE",
    "SECTOR_BITS",
    "BlockId",
    "Digest",
    "Dropped",
    "Header",
    "Proof",
    "SectorCipher",
    "SectorTree",
    "SignedHeader",
    "TreeUpdate",
    "VerifiedRoots",
    "WriterRecord",
    "check_tree_update",
    "decode_header",
    "decode_signed_header",
    "decode_writer",
    "derive_block_id",
    "encode_header",
    "encode_signed_header",
    "encode_writer",
    "leaf_hash",
    "level_size",
    "node_hash",
    "record_hash",
    "sign_commit",
    "tree_height",
    "verify_signed_header",
    "writer_id",
]
