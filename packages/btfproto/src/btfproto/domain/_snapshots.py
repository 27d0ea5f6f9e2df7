"""The record of a snapshot: what its maker signed, so that a store can show one past only.

    snapshot record   derive(SNAPSHOT, root digest, name)   cursor, time, and digests of all heads as of the cursor

A store knows every old head, each of them properly signed, and nobody's pins tell which belong together. So the record
binds it: the heads in order of block ids, cut into *stretches*, and a digest of each. Who reads a head asks the store
for the digests of its stretch, compares them with the record, and the head with them. Tombstones count too.

The record is PUBLIC, in the root scope: a keyless server checks that its writer may write there. It names no file. One
that was deleted stays, and says nothing more: its cursor is one that no store keeps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec
from btlib.block import BlockId, derive_block_id
from btlib.errors import IntegrityError
from btlib.labels import Label, tagged_hash
from btlib.principals import Principal
from btserde import U8, U32, U64, Fixed

from btfproto.store import Absent, HeadAnswer, HeadDigest, HeadWant, Past, Unchanged

from ._records import FORMAT

STRETCH = 512  #: heads of a stretch at the least: 28 kB to fetch for the first one that is read
MAX_STRETCHES = 4096  #: of a record, which is then 200 kB; with more heads the stretches are longer
STRETCHES_KEPT = 64  #: of a snapshot in memory, some 100 bytes a head

Digest = Annotated[bytes, Fixed[32]]


class Stretch(msgspec.Struct, frozen=True):
    """Some heads in order of block ids, from `first` up to the next stretch's."""

    first: BlockId
    digest: Digest


class SnapshotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """See above. `length`: heads of each stretch but the last."""

    format: U8 = FORMAT
    name: str
    cursor: U64
    taken: U64
    length: U32
    stretches: tuple[Stretch, ...]


def snapshot_block(root: Principal, name: str) -> bytes:
    """Where the record of a snapshot lies."""
    return derive_block_id(Label.SNAPSHOT, root.digest, name.encode())


def stretch_length(blocks: int) -> int:
    """How many heads make a stretch, where there are so many or a few more."""
    return max(STRETCH, -(-blocks * 2 // MAX_STRETCHES))


def stretches_of(digests: Iterable[HeadDigest], length: int) -> Iterator[Stretch]:
    """Cut digests that come in order of their blocks."""
    part: list[HeadDigest] = []
    for digest in digests:
        part.append(digest)
        if len(part) == length:
            yield Stretch(part[0].block, digest_of(part))
            part = []
    if part:
        yield Stretch(part[0].block, digest_of(part))


def digest_of(heads: Sequence[HeadDigest]) -> bytes:
    """What a record says of a stretch."""
    return tagged_hash(
        Label.SNAPSHOT_HEADS, *(head.block + head.version.to_bytes(8, "little") + head.digest for head in heads)
    )


def all_digests(past: Past, page: int = STRETCH) -> Iterator[HeadDigest]:
    """Of every head of a snapshot, in order. Raises StoreError."""
    after: bytes | None = None
    while found := past.digests(after, page):
        yield from found
        after = found[-1].block


class SnapshotHeads:
    """Judges what a store says of heads of a snapshot. Not thread-safe."""

    def __init__(self, past: Past, record: SnapshotRecord) -> None:
        """Raises IntegrityError for a record that makes no sense."""
        self._past = past
        self._record = record
        self._firsts = [stretch.first for stretch in record.stretches]
        if self._firsts != sorted(set(self._firsts)) or not record.length:
            raise IntegrityError(f"the record of the snapshot {record.name!r} is not in order")
        self._known: OrderedDict[int, dict[bytes, HeadDigest]] = OrderedDict()

    def check(self, want: HeadWant, answer: HeadAnswer, digest: bytes | None) -> None:
        """`digest`: SHA-256 of the signed header that was found. Raises IntegrityError, StoreError."""
        expected = self._expected(want.block)
        if isinstance(answer, Absent):
            right = expected is None
        elif isinstance(answer, Unchanged):
            right = expected is not None and expected.version == want.known
        else:
            right = expected is not None and (expected.version, expected.digest) == (answer.head.version, digest)
        if not right:
            raise IntegrityError(
                f"the store shows another head of block {want.block.hex()} than the snapshot {self._record.name!r} has"
            )

    def _expected(self, block: bytes) -> HeadDigest | None:
        at = bisect_right(self._firsts, block) - 1
        if at < 0:
            return None
        known = self._known.get(at)
        if known is None:
            known = self._known[at] = self._fetch(at)
            if len(self._known) > STRETCHES_KEPT:
                self._known.popitem(last=False)
        return known.get(block)

    def _fetch(self, at: int) -> dict[bytes, HeadDigest]:
        stretch, name = self._record.stretches[at], self._record.name
        heads: list[HeadDigest] = []
        after = _before(stretch.first)
        while len(heads) < self._record.length:
            page = self._past.digests(after, self._record.length - len(heads))
            if not page:
                break
            heads += page
            after = page[-1].block
        if digest_of(heads) != stretch.digest:
            raise IntegrityError(f"the store shows other heads from block {stretch.first.hex()} on than {name!r} has")
        return {head.block: head for head in heads}


def _before(block: bytes) -> bytes | None:
    """The greatest block id below this one; None where there is none."""
    number = int.from_bytes(block, "big")
    return None if not number else (number - 1).to_bytes(len(block), "big")
