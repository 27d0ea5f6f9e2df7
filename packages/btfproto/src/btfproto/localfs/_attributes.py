"""`SealedAttributes`: what a block's header says, to those who can open it, about the inode.

It stands in btserde's canonical form, sealed under the block's key and bound to the header's version. A directory also
tells how many entries it has and which of its nodes are free. Reading refuses what no writer of ours would store.
"""

from __future__ import annotations

import msgspec
from btlib.errors import IntegrityError
from btserde import I64, U8, U16, U32, U64, Decoder, Encoder, SerdeError

from ..provider import FileKind

FORMAT = 1
MAX_SIZE = 1 << 54  #: bytes of a file: 2^42 sectors, a Merkle tree of six levels
MAX_TARGET = 4095  #: PATH_MAX without its NUL
MAX_XATTR_BYTES = 64 * 1024  #: all values and names of an inode together: they stand in its header
MAX_XATTR_NAME = 255


class SealedAttributes(msgspec.Struct, kw_only=True):
    """Times are nanoseconds since the epoch. `stored` counts the sectors that are no holes."""

    format: U8 = FORMAT
    kind: FileKind
    mode: U16
    uid: U32
    gid: U32
    links: U32
    device: U64
    size: U64
    stored: U64
    accessed: I64
    modified: I64
    changed: I64
    xattrs: dict[str, bytes]
    target: str  #: of a symlink; empty for everything else
    entries: U64  #: of a directory
    free: list[U32]  #: of a directory: nodes that may be used again


encode_attributes = Encoder(SealedAttributes).encode
_decode = Decoder(SealedAttributes).decode


def decode_attributes(data: bytes, sector_count: int, sector_size: int) -> SealedAttributes:
    """The attributes of an inode with so many sectors. Raises IntegrityError with what cannot be."""
    try:
        found = _decode(data)
    except SerdeError as error:
        raise IntegrityError(f"the attributes are malformed: {error}") from error
    if found.format != FORMAT:
        raise IntegrityError(f"the attributes have the unknown format {found.format}")
    if found.size > MAX_SIZE or found.mode > 0o7777:
        raise IntegrityError(f"the attributes claim {found.size} bytes and mode {found.mode:#o}")
    _check_content(found, sector_count, sector_size)
    if len(found.target.encode()) > MAX_TARGET or bool(found.target) != (found.kind is FileKind.SYMLINK):
        raise IntegrityError("the attributes have a symlink target that cannot be")
    return found


def _check_content(found: SealedAttributes, sector_count: int, sector_size: int) -> None:
    expected = sector_count if found.kind is FileKind.DIRECTORY else 0
    if found.kind is FileKind.FILE:
        expected = -(-found.size // sector_size)
    if expected != sector_count:
        raise IntegrityError(f"the attributes claim {found.size} bytes, but there are {sector_count} sectors")
    if found.kind is not FileKind.DIRECTORY and (found.entries or found.free):
        raise IntegrityError("the attributes of something that is no directory count entries")
