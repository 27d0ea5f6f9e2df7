"""`WriterRecord`: by whose word a header was written, as a public block that names itself.

    id = SHA-256(WRITER label ‖ encoded record)          block id = id[:16]          header.chain = id

A header names its writer by 32 bytes; whoever checks it fetches the record once and keeps it. The record needs no
trust: its id proves its content, and its content is a chain that anyone can verify.
"""

from __future__ import annotations

import msgspec
from btserde import Decoder, Encoder, SerdeError

from ..errors import IntegrityError
from ..labels import Label, tagged_hash
from ..public_keys import PublicKeys
from ..writecaps import Chain
from ._ids import BLOCK_ID_SIZE


class WriterRecord(msgspec.Struct, frozen=True):
    """A chain of writecaps and the keys of its last subject (of the root itself, where the chain is empty)."""

    chain: Chain
    public: PublicKeys

    @property
    def id(self) -> bytes:
        """What headers name this record by. Computed at each use: keep it."""
        return writer_id(encode_writer(self))

    @property
    def block(self) -> bytes:
        """The id of the public block that holds this record."""
        return self.id[:BLOCK_ID_SIZE]


encode_writer = Encoder(WriterRecord).encode
_decode = Decoder(WriterRecord).decode


def writer_id(encoded: bytes | memoryview) -> bytes:
    """The id of an encoded writer record."""
    return tagged_hash(Label.WRITER, bytes(encoded))


def decode_writer(encoded: bytes | memoryview, expected: bytes) -> WriterRecord:
    """Read the writer record with the id `expected`. Raises IntegrityError."""
    if writer_id(encoded) != expected:
        raise IntegrityError(f"the writer record {expected.hex()} has another content than its id says")
    try:
        return _decode(encoded)
    except SerdeError as error:
        raise IntegrityError(f"the writer record {expected.hex()} is malformed: {error}") from error
