"""Scrubbing: reading everything a store holds, and saying what is damaged and in which file.

The Merkle tree in each signed header is the authority: no key is needed, and no second checksum. Signatures are not
checked here; a header whose bytes were damaged does not decode, or names a root that nothing matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from btlib.block import FANOUT, HOLE, Header, decode_header, decode_signed_header, record_hash, tree_height
from btlib.errors import IntegrityError
from btlib.kinds import Kind

from ..errors import StoreError
from ._interface import Found, HeadSummary, HeadWant, RecordRef, Store, Unchanged

PAGE = 256  #: heads of one scan
AT_ONCE = 64  #: records of one read: 1 MiB of sectors

Place = Callable[[bytes, int, int], str]


class Changed(Exception):
    """The block was committed while it was read; the newer version is to be read instead."""


def scrub(store: Store, place: Place, apart_from: Store | None = None) -> Iterator[StoreError]:
    """An INTEGRITY error for every damaged record or head. `place` says in which file a record lies.

    What has the same version in a newer store, `apart_from`, is the same there.
    """
    after: bytes | None = None
    while page := store.scan(after, PAGE):
        known = set() if apart_from is None else unchanged(page, apart_from)
        for summary in page:
            if summary.block not in known:
                yield from scrub_block(store, summary.block, place)
        after = page[-1].block


def unchanged(page: Sequence[HeadSummary], newer: Store) -> set[bytes]:
    """Those blocks that have the same version in a newer store."""
    answers = newer.read_heads([HeadWant(summary.block, summary.version) for summary in page])
    return {summary.block for summary, answer in zip(page, answers, strict=True) if isinstance(answer, Unchanged)}


def scrub_block(store: Store, block: bytes, place: Place) -> list[StoreError]:
    """The damage of one block. One that is committed faster than it can be read is left for another time."""
    for _ in range(3):
        try:
            return list(_damage_of(store, block, place))
        except Changed:
            continue
    return []


def _damage_of(store: Store, block: bytes, place: Place) -> Iterator[StoreError]:
    (answer,) = store.read_heads([HeadWant(block)])
    if not isinstance(answer, Found):
        return
    try:
        header = decode_header(decode_signed_header(answer.head.signed).header)
    except IntegrityError as error:
        yield StoreError(Kind.INTEGRITY, f"the head of block {block.hex()} is damaged: {error.message}")
        return
    if header.root != HOLE:
        yield from _Walk(store, header, place).check(tree_height(header.sector_count), {0: header.root})


class _Walk:
    """One version of a block, from the top of its tree down."""

    def __init__(self, store: Store, header: Header, place: Place) -> None:
        self._store = store
        self._header = header
        self._place = place

    def check(self, level: int, expected: dict[int, bytes]) -> Iterator[StoreError]:
        """Records of one level that must have these hashes, and all below them."""
        indexes = list(expected)
        for at in range(0, len(indexes), AT_ONCE):
            chunk = indexes[at : at + AT_ONCE]
            try:
                records = self._read(level, chunk)
            except StoreError as error:
                yield error
                continue
            for index, record in zip(chunk, records, strict=True):
                if record is None or record_hash(level, index, record) != expected[index]:
                    yield self._error(level, index, "missing" if record is None else "not what was signed")
                elif level:
                    yield from self.check(level - 1, children(index, record))

    def _read(self, level: int, indexes: list[int]) -> list[bytes | memoryview | None]:
        found = self._store.read_records(self._header.block, [RecordRef(level, index) for index in indexes])
        if found.version != self._header.version:
            raise Changed
        return found.records

    def _error(self, level: int, index: int, what: str) -> StoreError:
        block = self._header.block
        where = self._place(block, level, index)
        return StoreError(Kind.INTEGRITY, f"record {level}/{index} of block {block.hex()} in {where} is {what}")


def children(index: int, node: bytes | memoryview) -> dict[int, bytes]:
    """The hashes that the children of a node must have, without holes."""
    hashes = {index * FANOUT + slot: bytes(node[slot * 32 : slot * 32 + 32]) for slot in range(len(node) // 32)}
    return {child: digest for child, digest in hashes.items() if digest != HOLE}
