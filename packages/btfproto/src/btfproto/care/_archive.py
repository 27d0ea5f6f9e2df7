"""`ArchivedStore`: a backup, read as the store that it is a copy of, without opening it for writing.

The heads and small bodies come from its index, everything else through a `Fetch`, which knows where the bytes of a
segment lie: in a file of a directory, or in the middle of an archive. So what verifies a store verifies a backup.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from btlib.kinds import Kind

from ..errors import StoreError
from ..store import (
    Absent,
    Commit,
    CommitAnswer,
    Events,
    Found,
    Head,
    HeadAnswer,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseRequest,
    RecordRef,
    Records,
    StoreStatus,
    Unchanged,
)
from ..store._cache import BlockCache
from ..store._index import INDEX_NAME, Index
from ..store._placement import Level

CACHE_BYTES = 4 * 2**20  #: a scrub asks for each block once; this keeps the one that it is at

Fetch = Callable[[int, int, int], bytes]  # segment, size, offset → exactly these bytes, or StoreError


class ArchivedStore:
    """See `Store`; whatever would change it raises StoreError (READ_ONLY). For one thread."""

    def __init__(self, directory: Path, fetch: Fetch) -> None:
        """`directory` has the index. Raises StoreError where it is none."""
        if not (directory / INDEX_NAME).exists():
            raise StoreError(Kind.NOT_FOUND, f"there is no backup in {directory}", "name one that bt backup made")
        self._directory = directory
        self._fetch = fetch
        self._index = Index(directory, bytes(16))
        self._cache = BlockCache(self._index, CACHE_BYTES)

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        answers: list[HeadAnswer] = []
        for want, (row, small) in zip(wants, self._cache.read_heads(wants), strict=True):
            if row is None:
                answers.append(Absent())
            elif row.version == want.known:
                answers.append(Unchanged())
            else:
                answers.append(Found(Head(want.block, row.version, row.signed, row.removed, small)))
        return answers

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        found = self._cache.load(block)
        if found is None:
            return Records(0, [None] * len(refs))
        if found.head.inline:
            _, small = self._index.heads_and_smalls([block])[block]
            return Records(found.head.version, [None if ref.level or ref.index else small for ref in refs])
        levels = found.levels or {}
        return Records(found.head.version, [self._read_one(levels.get(ref.level, Level()), ref.index) for ref in refs])

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        return self._index.scan(after, limit)

    def status(self) -> StoreStatus:
        state, usage = self._index.state(), shutil.disk_usage(self._directory)
        return StoreStatus(state.blocks, state.stored, usage.total, usage.free)

    def commit(self, commit: Commit) -> CommitAnswer:
        raise self._read_only()

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        return Events(self._index.state().cursor, [])

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        raise self._read_only()

    def close(self) -> None:
        self._index.close()

    def _read_one(self, level: Level, index: int) -> bytes | None:
        run = level.find(index)
        if run is None:
            return None
        record = run.cut(index, index + 1)
        return self._fetch(record.segment, record.last, record.offset)

    def _read_only(self) -> StoreError:
        return StoreError(Kind.READ_ONLY, f"{self._directory} is a backup", "restore it first: bt restore")
