"""`EmbeddedPast`: an embedded store as of a snapshot.

It reads the same files as the store itself, with the rows of then (`_past_rows`). A compaction may move what it reads:
then it looks again. Once its snapshot is deleted it answers NOT_FOUND.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from sqlite3 import Connection

from btlib.kinds import Kind

from ..errors import StoreError
from ._cache import BlockCache
from ._group import Block
from ._index import HeadRow, Index
from ._interface import (
    Absent,
    Found,
    Head,
    HeadAnswer,
    HeadSummary,
    HeadWant,
    RecordRef,
    Records,
    StoreStatus,
    Unchanged,
)
from ._past_rows import IS_KEPT, LIVE_ID, PAST_COUNTS, PAST_HEAD, PAST_RUNS, PAST_SCAN
from ._placement import Run
from ._snapshots import HeadDigest, ReadOnlyStore, Snapshot, unknown_snapshot

PAST_CACHE_BYTES = 4 * 2**20  #: heads and placements that a store of the past keeps: there may be many
ATTEMPTS = 3  #: to read what a compaction moves meanwhile

ReadPlaced = Callable[[Block, Sequence[RecordRef]], list["bytes | memoryview | None"]]


class PastRows:
    """What `Index` answers about heads and runs, as of a cursor. Raises StoreError; NOT_FOUND once that is not kept."""

    def __init__(self, index: Index, snapshot: Snapshot) -> None:
        self._index = index
        self._snapshot = snapshot

    @contextmanager
    def moment(self) -> Iterator[Connection]:
        with self._index.one_moment() as db:
            if not db.execute(IS_KEPT, (self._snapshot.cursor,)).fetchone()[0]:
                raise unknown_snapshot(self._snapshot.name)
            yield db

    def heads(self, blocks: Sequence[bytes]) -> dict[bytes, HeadRow]:
        return {block: head for block, (head, _) in self.heads_and_smalls(blocks).items()}

    def heads_and_smalls(self, blocks: Sequence[bytes]) -> dict[bytes, tuple[HeadRow, bytes | None]]:
        with self.moment() as db:
            found = {block: self._head(db, block) for block in blocks}
        return {block: row for block, row in found.items() if row is not None}

    def runs(self, number: int) -> tuple[int, list[tuple[int, Run]]]:
        """Row ids say nothing about the past: version 0, which no head has, so that both are asked for together."""
        return 0, []

    def head_and_runs(self, block: bytes) -> tuple[HeadRow | None, list[tuple[int, Run]]]:
        with self.moment() as db:
            found = self._head(db, block)
            if found is None:
                return None, []
            (number,) = db.execute(LIVE_ID, (block,)).fetchone() or (0,)
            values = {"id": number, "block": block, "cursor": self._snapshot.cursor}
            rows = db.execute(PAST_RUNS, values).fetchall()
        return found[0], [(row[0], Run(*row[1:])) for row in rows]

    def scan(self, after: bytes | None, limit: int) -> list[tuple[bytes, int, bool, int, bytes]]:
        """Block, version, removed, bytes stored, signed header."""
        values = {"after": after or b"", "cursor": self._snapshot.cursor, "limit": limit}
        with self.moment() as db:
            return db.execute(PAST_SCAN, values).fetchall()

    def counts(self) -> tuple[int, int]:
        """Blocks, and the bytes they store."""
        with self.moment() as db:
            blocks, stored = db.execute(PAST_COUNTS, {"cursor": self._snapshot.cursor}).fetchone()
        return blocks, stored

    def _head(self, db: Connection, block: bytes) -> tuple[HeadRow, bytes | None] | None:
        row = db.execute(PAST_HEAD, {"block": block, "cursor": self._snapshot.cursor}).fetchone()
        if row is None:
            return None
        number, version, removed, stored, inline, signed, born, small = row
        return HeadRow(number, version, bool(removed), stored, bool(inline), signed, born), small


class EmbeddedPast(ReadOnlyStore):
    """See `Past`. Thread-safe. `check_open` raises once the store is closed; `present` is the store's status of now."""

    def __init__(
        self,
        snapshot: Snapshot,
        index: Index,
        read_placed: ReadPlaced,
        check_open: Callable[[], None],
        present: Callable[[], StoreStatus],
    ) -> None:
        super().__init__(snapshot)
        self._rows = PastRows(index, snapshot)
        self._cache = BlockCache(self._rows, PAST_CACHE_BYTES)
        self._read_placed = read_placed
        self._check_open = check_open
        self._present = present

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        self._check_open()
        found = self._cache.read_heads(wants)
        return [head_answer(want, row, small) for want, (row, small) in zip(wants, found, strict=True)]

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        self._check_open()
        for _ in range(ATTEMPTS):
            found = self._cache.load(block)
            if found is None:
                return Records(0, [None] * len(refs))
            version = found.head.version
            if found.head.inline:
                _, small = self._rows.heads_and_smalls([block])[block]
                return Records(version, [None if ref.level or ref.index else small for ref in refs])
            try:
                return Records(version, self._read_placed(found, refs))
            except FileNotFoundError:
                self._cache.drop(block)  # a compaction moved what this state names
        raise StoreError(Kind.INTEGRITY, f"a segment with block {block.hex()} as of {self.snapshot.name!r} is missing")

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        self._check_open()
        rows = self._rows.scan(after, limit)
        return [HeadSummary(block, version, bool(removed), stored) for block, version, removed, stored, _ in rows]

    def digests(self, after: bytes | None, limit: int) -> list[HeadDigest]:
        self._check_open()
        rows = self._rows.scan(after, limit)
        return [HeadDigest(block, version, hashlib.sha256(signed).digest()) for block, version, _, _, signed in rows]

    def status(self) -> StoreStatus:
        device = self._present()
        return StoreStatus(*self._rows.counts(), device.capacity, device.available)

    def close(self) -> None:
        """Nothing to release: the files are the store's."""


def head_answer(want: HeadWant, row: HeadRow | None, small: bytes | None) -> HeadAnswer:
    if row is None:
        return Absent()
    if row.version == want.known:
        return Unchanged()
    return Found(Head(want.block, row.version, row.signed, row.removed, small))
