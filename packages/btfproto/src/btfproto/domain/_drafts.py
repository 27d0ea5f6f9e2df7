"""`Draft`: block changes that will be committed together under one signature.

It computes the Merkle trees of public blocks, finishes the headers, signs them all at once and makes the commit. It
reads no store, clock or randomness: versions, times and ids are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from btlib.block import (
    BLOCK_ID_SIZE,
    HOLE,
    PUBLIC,
    REMOVED,
    SECTOR_BITS,
    Header,
    SectorTree,
    WriterRecord,
    encode_signed_header,
    leaf_hash,
    sign_commit,
)
from btlib.errors import BlockError
from btlib.signing import Signer
from btlib.writecaps import Chain
from btserde import encode

from btfproto.store import BlockChange, Commit, RecordHole, RecordRun

PUBLIC_SECTOR_BITS = 14  #: 16 KiB: a record is read and written as a whole, so that small sectors would only cost
SECTOR = 1 << PUBLIC_SECTOR_BITS
MAX_PUBLIC_SECTORS = 256  #: 4 MiB: one node above the sectors at the most


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a block's sectors become: the tree's root and size, and the records to write and to drop."""

    root: bytes = HOLE
    sector_count: int = 0
    runs: tuple[RecordRun, ...] = ()
    holes: tuple[RecordHole, ...] = ()


EMPTY = Content()


def public_content(data: bytes, previous_sectors: int = 0) -> Content:
    """The content of a public block, replacing one of `previous_sectors`. Raises BlockError where it is too long."""
    sectors = [data[start : start + SECTOR] for start in range(0, len(data), SECTOR)]
    if len(sectors) > MAX_PUBLIC_SECTORS:
        raise BlockError(f"a public block has at most {MAX_PUBLIC_SECTORS} sectors, not {len(sectors)}")
    leaves = {index: leaf_hash(index, sector) for index, sector in enumerate(sectors)}
    update = SectorTree(HOLE, 0, _no_node).update(leaves, len(sectors))
    runs = [RecordRun(0, 0, list(sectors))] if sectors else []
    runs += [RecordRun(level, index, [node]) for (level, index), node in sorted(update.nodes.items()) if node]
    return Content(
        root=update.root, sector_count=len(sectors), runs=tuple(runs), holes=_dropped(len(sectors), previous_sectors)
    )


class Draft:
    """Collects changes by one writer; `commit` signs them. Not thread-safe."""

    def __init__(self, signer: Signer, chain: Chain, *, now: int) -> None:
        self._signer = signer
        self.writer = WriterRecord(chain=chain, public=signer.public)
        self.writer_id = self.writer.id
        self._now = now
        self._headers: list[Header] = []
        self._changes: list[tuple[int, Content]] = []

    def __len__(self) -> int:
        return len(self._headers)

    @property
    def headers(self) -> tuple[Header, ...]:
        """What will be signed, so far."""
        return tuple(self._headers)

    def put_public(self, block: bytes, scope: bytes, record: msgspec.Struct, previous: Header | None = None) -> None:
        """Create or replace a public record."""
        content = public_content(encode(record), previous.sector_count if previous else 0)
        self.put(
            block=block, scope=scope, content=content, flags=PUBLIC, sector_bits=PUBLIC_SECTOR_BITS, previous=previous
        )

    def put_writer(self, scope: bytes) -> None:
        """Add the writer's own record; for the first commit of a writer to a store."""
        self.put_public(self.writer_id[:BLOCK_ID_SIZE], scope, self.writer)

    def put(
        self,
        *,
        block: bytes,
        scope: bytes,
        content: Content,
        flags: int = 0,
        key_epoch: int = 0,
        sector_bits: int = SECTOR_BITS,
        attributes: bytes = b"",
        previous: Header | None = None,
    ) -> None:
        """Create or replace any block."""
        version = previous.version + 1 if previous else 1
        header = Header(
            flags=flags,
            block=block,
            scope=scope,
            version=version,
            key_epoch=key_epoch,
            sector_bits=sector_bits,
            sector_count=content.sector_count,
            root=content.root,
            chain=self.writer_id,
            written=self._now,
            attributes=attributes,
        )
        self._add(header, previous.version if previous else 0, content)

    def rehome(self, header: Header, scope: bytes, attributes: bytes) -> None:
        """Move a block to another scope; its records stay. `attributes` are sealed anew for the next version."""
        moved = msgspec.structs.replace(
            header,
            scope=scope,
            version=header.version + 1,
            chain=self.writer_id,
            written=self._now,
            attributes=attributes,
        )
        self._add(moved, header.version, EMPTY)

    def remove(self, header: Header) -> None:
        """Leave a tombstone of a block."""
        gone = msgspec.structs.replace(
            header,
            flags=REMOVED,
            version=header.version + 1,
            sector_count=0,
            root=HOLE,
            chain=self.writer_id,
            written=self._now,
            attributes=b"",
        )
        self._add(gone, header.version, EMPTY)

    def commit(self, request: bytes, fences: Sequence[tuple[bytes, int]] = ()) -> Commit:
        """Sign everything; `request` is a fresh random id of 16 bytes."""
        signed = sign_commit(self._signer, self._headers)
        changes = [
            BlockChange(
                block=header.block,
                expected=expected,
                version=header.version,
                signed=encode_signed_header(proof),
                removed=header.removed,
                holes=list(content.holes),
                runs=list(content.runs),
            )
            for header, proof, (expected, content) in zip(self._headers, signed, self._changes, strict=True)
        ]
        return Commit(request=request, changes=changes, fences=list(fences))

    def _add(self, header: Header, expected: int, content: Content) -> None:
        if any(header.block == other.block for other in self._headers):
            raise BlockError(f"block {header.block.hex()} is already in this draft")
        self._headers.append(header)
        self._changes.append((expected, content))


def _dropped(sectors: int, previous: int) -> tuple[RecordHole, ...]:
    holes = []
    if previous > sectors:
        holes.append(RecordHole(0, sectors, previous - sectors))
    if previous > 1 >= sectors:
        holes.append(RecordHole(1, 0, 1))
    return tuple(holes)


def _no_node(level: int, index: int) -> bytes | None:
    return None
