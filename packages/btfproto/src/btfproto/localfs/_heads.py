"""`Heads`: what the store says about blocks, once it has been verified. The only way in for heads.

A head is good if somebody with the right to wrote it (`DomainReader`), if it is not older than one already seen
(`Pins`), and if its write scope fits where the block was found: that of its directory, one around it (a subtree that
is still being re-homed), or a scope whose record says that it begins at this very directory.
"""

from __future__ import annotations

from collections.abc import Sequence

from btlib.block import SECTOR_BITS, Header
from btlib.errors import BlocktreeError, IntegrityError
from btlib.kinds import Kind
from btlib.revocations import Revocations

from ..domain import DomainReader, RevocationSource
from ..errors import FsError
from ..provider import FileKind
from ..store import Absent, HeadAnswer, HeadWant, Unchanged
from ._attributes import SealedAttributes, decode_attributes
from ._blocks import SECTOR_SIZE, StoredBlock
from ._pins import Pins
from ._store_pin import ON_PURPOSE

UNAFFECTED = "the rest of the tree is unaffected"
RESTORE = "restore it from a backup, or look at the store's disk"


def refused(path: str, error: BlocktreeError) -> FsError:
    """What a caller is told about something that cannot be trusted or read: where, what, and what to do."""
    if isinstance(error, FsError) and error.kind not in (Kind.INTEGRITY, Kind.ROLLBACK):
        return error
    if error.kind in (Kind.INTEGRITY, Kind.ROLLBACK):
        return FsError(error.kind, f"{path}: {error.message}; {UNAFFECTED}", error.hint or RESTORE)
    return FsError(error.kind, f"{path}: {error.message}", error.hint)


class Heads:
    """Reads and verifies. Thread-safe as its parts are."""

    def __init__(self, reader: DomainReader, pins: Pins) -> None:
        self._reader = reader
        self._pins = pins

    def follow(self, revocations: RevocationSource) -> None:
        """Refuse what was written by somebody after it was revoked there."""
        self._reader.follow(revocations)

    @property
    def revocations(self) -> Revocations:
        """What was taken back. Raises FsError, IntegrityError, StoreError."""
        return self._reader.revocations

    def fetch(self, wants: Sequence[tuple[bytes, int]]) -> list[HeadAnswer]:
        """Unverified answers for (block id, known version). Raises StoreError."""
        return self._reader.store.read_heads([HeadWant(block, known) for block, known in wants])

    def adopt(self, answer: HeadAnswer, block: StoredBlock, kind: FileKind) -> tuple[Header, SealedAttributes]:
        """Verify an answer about `block`, whose scope is that of its directory, and let it take the header over.

        Raises IntegrityError, FsError (ROLLBACK).
        """
        if isinstance(answer, Absent | Unchanged):
            raise IntegrityError(self._missing(block))
        head = answer.head
        header = self._reader.verify(head)
        self._check_version(header, block)
        if header.removed or head.removed:
            raise IntegrityError("it was removed, though a directory still names it")
        if header.block != block.block or header.public or header.sector_bits != SECTOR_BITS:
            raise IntegrityError("its header is that of another block, or of a form that this version cannot read")
        self._check_scope(header, block.scope, kind)
        block.adopt(header, None if head.small is None else bytes(head.small))
        plain = _open(block, header)
        block.rest()
        attributes = decode_attributes(plain, header.sector_count, SECTOR_SIZE)
        if attributes.kind is not kind:
            raise IntegrityError(f"it is a {attributes.kind.name.lower()}, but its directory says {kind.name.lower()}")
        self._pins.note({header.block: header.version})
        return header, attributes

    def lineage(self, scope: bytes) -> tuple[bytes, ...]:
        """The scopes from one up to the root scope. Raises IntegrityError, FsError, StoreError."""
        return self._reader.lineage(scope)

    def _missing(self, block: StoredBlock) -> str:
        seen = self._pins.seen(block.block)
        known = f" (version {seen} was seen before)" if seen else ""
        return f"its block {block.block.hex()} is missing from the store{known}"

    def _check_version(self, header: Header, block: StoredBlock) -> None:
        seen = max(self._pins.seen(header.block), block.version)
        if header.version < seen:
            raise FsError(
                Kind.ROLLBACK,
                f"the store shows version {header.version}, but version {seen} was seen before: it went back in time",
                ON_PURPOSE,
            )

    def _check_scope(self, header: Header, above: bytes, kind: FileKind) -> None:
        if header.scope == above or header.scope in self._reader.lineage(above):
            return
        if kind is FileKind.DIRECTORY:
            record = self._reader.scope(header.scope)
            if record.parent == above and record.directory == header.block:
                return
        raise IntegrityError(
            "it belongs to a write scope that does not begin here: its writer had no right to this place"
        )


def _open(block: StoredBlock, header: Header) -> bytes:
    """The attributes. Their writer signed them; so where they do not open, the key that was known is an old one."""
    try:
        return block.cipher.open_attributes(header.version, header.attributes)
    except IntegrityError as error:
        if not header.key_epoch:
            raise
        raise FsError(
            Kind.STALE,
            f"its key was changed (epoch {header.key_epoch}), and the one known here does not open it",
            "look its name up again; a mount of this very directory has to be made again",
        ) from error
