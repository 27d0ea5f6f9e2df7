"""Scrubbing without keys: every head and every record of a store, against what was signed.

- A head is good if its signature is that of a writer whose chain leads to the domain's root (`DomainReader`).
- A record is good if its hash is the one that its parent, or the signed header, gives it; nodes also need a shape
  that a reader accepts. Record by record, so one bad sector does not hide another.
- A block that is committed while it is read is read anew; after three times it is left: what was just written was
  just checked.

It works over any store, also one on a server, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec
from btlib.block import (
    FANOUT,
    HOLE,
    SEAL_SIZE,
    Header,
    decode_header,
    decode_signed_header,
    level_size,
    record_hash,
    tree_height,
)
from btlib.errors import BlocktreeError, IntegrityError
from btlib.kinds import Kind
from btlib.principals import Principal

from ..domain import DomainReader
from ..store import Absent, Found, Head, HeadSummary, HeadWant, RecordRef, Snapshots, Store, Unchanged

PAGE = 256  #: heads of one scan
AT_ONCE = 64  #: records of one read: 1 MiB of sectors
ATTEMPTS = 3  #: to read a block that others commit meanwhile
DIGEST = 32

#: What bytes of a store can cause. Anything else (unreachable, closed…) is no damage, and ends the scrub.
DAMAGE = {Kind.INTEGRITY, Kind.ROLLBACK, Kind.NOT_FOUND, Kind.NOT_SUPPORTED, Kind.INVALID, Kind.FORBIDDEN}


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not what was signed. `what` is a sentence without the block's name."""

    block: bytes
    what: str

    @property
    def inode(self) -> int:
        """The number under which a file system knows the block."""
        return int.from_bytes(self.block[:8], "little")


class Meter(Protocol):
    """What is told of the progress."""

    def item(self, path: str) -> None: ...
    def bytes(self, count: int) -> None: ...


def scrub_store(
    store: Store,
    root: Principal,
    meter: Meter,
    after: bytes | None = None,
    reached: Callable[[bytes], object] = lambda block: None,
) -> Iterator[Damage]:
    """All damage in the store of a domain. Raises StoreError where the store cannot be read at all.

    It goes by block id, and begins behind `after`; `reached` is told each block that is done with, after its damage.
    Then follows what only snapshots have, the newest first, always from the beginning.
    """
    yield from _scrub_moment(store, DomainReader(store, root), meter, after, reached, None)
    newer: Store = store
    if not isinstance(store, Snapshots):
        return
    for snapshot in reversed(store.snapshots()):
        past = store.at(snapshot.name)
        for damage in _scrub_moment(past, DomainReader(past, root), meter, None, lambda block: None, newer):
            yield msgspec.structs.replace(damage, what=f"in the snapshot {snapshot.name}: {damage.what}")
        newer = past


def _scrub_moment(
    store: Store,
    reader: DomainReader,
    meter: Meter,
    after: bytes | None,
    reached: Callable[[bytes], object],
    newer: Store | None,
) -> Iterator[Damage]:
    """Of a store as of one moment; without what a newer one has as well."""
    while page := store.scan(after, PAGE):
        after, known = page[-1].block, set[bytes]() if newer is None else _unchanged(page, newer)
        blocks = [summary.block for summary in page if summary.block not in known]
        for block, answer in zip(blocks, store.read_heads([HeadWant(block) for block in blocks]), strict=True):
            meter.item(block.hex())
            if isinstance(answer, Found):
                yield from _scrub_block(store, reader, answer.head, meter)
            elif isinstance(answer, Absent):
                yield Damage(block=block, what="it is listed, but has no head")
            reached(block)


def _unchanged(page: Sequence[HeadSummary], newer: Store) -> set[bytes]:
    answers = newer.read_heads([HeadWant(summary.block, summary.version) for summary in page])
    return {summary.block for summary, answer in zip(page, answers, strict=True) if isinstance(answer, Unchanged)}


class _Changed(Exception):
    """The block was committed while it was read."""


def _scrub_block(store: Store, reader: DomainReader, head: Head, meter: Meter) -> Iterator[Damage]:
    for _ in range(ATTEMPTS):
        try:
            yield from list(_damage_of(store, reader, head, meter))
        except _Changed:
            (answer,) = store.read_heads([HeadWant(head.block)])
            if not isinstance(answer, Found):
                return
            head = answer.head
        else:
            return


def _damage_of(store: Store, reader: DomainReader, head: Head, meter: Meter) -> Iterator[Damage]:
    try:
        header = decode_header(decode_signed_header(head.signed).header)
    except IntegrityError as error:
        yield Damage(block=head.block, what=f"its head is damaged: {error.message}")
        return
    try:
        reader.verify(head)
    except BlocktreeError as error:
        if error.kind not in DAMAGE:
            raise
        yield Damage(block=head.block, what=f"its head does not verify: {error.message}")
    if header.root != HOLE and not head.removed:
        yield from _Walk(store, head, header, meter).check(tree_height(header.sector_count), {0: header.root})


class _Walk:
    """One version of a block, from the top of its tree down."""

    def __init__(self, store: Store, head: Head, header: Header, meter: Meter) -> None:
        self._store = store
        self._head = head
        self._header = header
        self._meter = meter

    def check(self, level: int, expected: dict[int, bytes]) -> Iterator[Damage]:
        """Records of one level that must have these hashes, and all below them."""
        indexes = list(expected)
        for at in range(0, len(indexes), AT_ONCE):
            chunk = indexes[at : at + AT_ONCE]
            for index, record in zip(chunk, self._read(level, chunk), strict=True):
                fault = self._fault(level, index, record, expected[index])
                if fault is not None:
                    yield Damage(block=self._head.block, what=f"{_record_name(level, index)} {fault}")
                elif level and record is not None and not isinstance(record, str):
                    yield from self.check(level - 1, _children(index, record))

    def _read(self, level: int, indexes: list[int]) -> list[bytes | memoryview | str | None]:
        """The records; a sentence where one cannot be read."""
        if self._head.small is not None and not level:
            return [self._head.small]
        try:
            return self._read_together(level, indexes)
        except BlocktreeError as error:
            if error.kind not in (Kind.INTEGRITY, Kind.IO):
                raise
            if len(indexes) == 1:
                return [f"cannot be read: {error.message}"]
        return [record for index in indexes for record in self._read(level, [index])]

    def _read_together(self, level: int, indexes: list[int]) -> list[bytes | memoryview | str | None]:
        found = self._store.read_records(self._head.block, [RecordRef(level, index) for index in indexes])
        if found.version != self._head.version:
            raise _Changed
        return list(found.records)

    def _fault(self, level: int, index: int, record: bytes | memoryview | str | None, expected: bytes) -> str | None:
        if record is None:
            return "is missing"
        if isinstance(record, str):
            return record
        self._meter.bytes(len(record))
        if record_hash(level, index, record) != expected:
            return "is not what was signed"
        limit = (1 << self._header.sector_bits) + SEAL_SIZE
        if level:
            limit = DIGEST * min(FANOUT, level_size(level - 1, self._header.sector_count) - index * FANOUT)
        if not 0 < len(record) <= limit or (level and len(record) % DIGEST):
            return f"was signed with a length that no reader accepts: {len(record)} bytes"
        return None


def _record_name(level: int, index: int) -> str:
    return f"sector {index}" if not level else f"Merkle node {level}/{index}"


def _children(index: int, node: bytes | memoryview) -> dict[int, bytes]:
    """The hashes that the children of a node must have, without holes."""
    hashes = {index * FANOUT + slot: bytes(node[slot * DIGEST :][:DIGEST]) for slot in range(len(node) // DIGEST)}
    return {child: digest for child, digest in hashes.items() if digest != HOLE}
