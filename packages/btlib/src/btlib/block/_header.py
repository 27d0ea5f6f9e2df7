"""`Header`: what a writer says about one version of a block, and `SignedHeader`: the same with the proof that it did.

    offset  0  u8   format = 1                 offset  46  u8   sector_bits
            1  u8   flags                              47  u64  sector_count
            2  16   block                              55  32   root
           18  16   scope                              87  32   chain
           34  u64  version                           119  i64  written
           42  u32  key_epoch                         127  length ‖ attributes

A `SignedHeader` is what `Head.signed` carries; to a store it is opaque. Nothing here verifies: `verify_signed_header`.
"""

from __future__ import annotations

import msgspec
from btserde import I64, U8, U32, U64, Decoder, Encoder, SerdeError

from ..errors import BlockError, IntegrityError
from ._ids import MAX_SECTOR_BITS, MIN_SECTOR_BITS, SECTOR_BITS, BlockId, Digest
from ._merkle import HOLE, tree_height

FORMAT = 1

PUBLIC = 1  #: flag: records are stored in the clear and anyone may read them
REMOVED = 2  #: flag: a tombstone; the block had this version and is gone

MAX_ATTRIBUTES = 128 * 1024  #: sealed attributes with extended ones (64 KiB of values in Linux) and their names


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a block. Making one that contradicts itself raises BlockError."""

    format: U8 = FORMAT
    flags: U8 = 0
    block: BlockId
    scope: BlockId  #: the write scope that the block belongs to
    version: U64  #: grows with every commit of the block, from 1
    key_epoch: U32 = 0
    sector_bits: U8 = SECTOR_BITS
    sector_count: U64 = 0
    root: Digest = HOLE  #: Merkle root over the stored sectors
    chain: Digest  #: id of the writer record that allows the write
    written: I64  #: unix seconds, by the writer's clock
    attributes: bytes = b""  #: sealed inode attributes; empty for public blocks and tombstones

    def __post_init__(self) -> None:
        if self.format != FORMAT or self.flags > PUBLIC | REMOVED or not self.version:
            raise BlockError(f"no header of format {FORMAT}: format {self.format}, flags {self.flags:#x}")
        if not MIN_SECTOR_BITS <= self.sector_bits <= MAX_SECTOR_BITS or len(self.attributes) > MAX_ATTRIBUTES:
            raise BlockError(f"sectors of 2^{self.sector_bits} bytes or {len(self.attributes)} bytes of attributes")
        tree_height(self.sector_count)
        if not self.sector_count and self.root != HOLE:
            raise BlockError("a block without sectors has no Merkle root")
        if self.flags and self.attributes:
            raise BlockError("public blocks and tombstones have no attributes")
        if self.flags & REMOVED and self.sector_count:
            raise BlockError("a tombstone has no sectors")

    @property
    def public(self) -> bool:
        return bool(self.flags & PUBLIC)

    @property
    def removed(self) -> bool:
        return bool(self.flags & REMOVED)


class Proof(msgspec.Struct, frozen=True):
    """Where a header stands in its commit: the sibling hashes from the leaf to the commit's root, one after another."""

    index: U32
    count: U32
    siblings: bytes


class SignedHeader(msgspec.Struct, frozen=True):
    """An encoded header with its proof and the signature over the commit's root."""

    header: bytes
    proof: Proof
    signature: bytes


encode_header = Encoder(Header).encode
encode_signed_header = Encoder(SignedHeader).encode
_decode_header = Decoder(Header).decode
_decode_signed_header = Decoder(SignedHeader).decode


def decode_header(data: bytes | memoryview) -> Header:
    """Read an encoded header; says nothing about who wrote it. Raises IntegrityError."""
    try:
        return _decode_header(data)
    except SerdeError as error:
        raise IntegrityError(f"no block header: {error}") from error


def decode_signed_header(data: bytes | memoryview) -> SignedHeader:
    """Read what a store keeps as a head; verifies nothing. Raises IntegrityError."""
    try:
        return _decode_signed_header(data)
    except SerdeError as error:
        raise IntegrityError(f"no signed header: {error}") from error
