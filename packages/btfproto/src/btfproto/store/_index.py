"""The index: an SQLite file with the heads, the small bodies, and where in the segments everything else lies.

One connection writes, in one transaction a group, with `synchronous=FULL` on a write-ahead log: when `write` returns,
it is durable. Another reads; it sees a consistent snapshot in each call and does not wait for the writer. Both are
guarded, so any thread may call. It neither caches nor decides anything; an SQLite error becomes a StoreError here.

    state     one row: format, store id, cursor, number of blocks, stored bytes
    heads     a row a block: version, tombstone, bytes stored, signed header, born
    smalls    record (0, 0) of a block that has no other, where it is small
    runs      where consecutive records lie: segment, offset, sizes, born
    snapshots, old_heads, old_runs    snapshots, and what only they need (`_past_rows`)
    segments  committed length and living bytes of each segment file
    requests  the newest commits by request id, so that a repetition is known
    fences    the newest holder and fence of each lease key
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from btlib.kinds import Kind

from ..errors import StoreError
from ._interface import REPLAY_RECORDS, HeadSummary
from ._past_rows import (
    FORGET_RUN,
    FORGET_UNNEEDED,
    FREED,
    KEEP_HEAD,
    KEEP_RUN,
    KEPT_RUNS,
    KEPT_SPANS,
    NEWEST_SNAPSHOT,
    ONE_SNAPSHOT,
    PAST_SCHEMA,
    SNAPSHOTS,
    UPGRADE,
    KeptRun,
    kept_alone,
)
from ._placement import Run
from ._snapshots import Snapshot

INDEX_NAME = "index.sqlite"
INDEX_FORMAT = 2
MAX_INTEGER = 2**63 - 1  #: the largest number that SQLite takes

_SCHEMA = (
    """
CREATE TABLE state (
    format INTEGER NOT NULL, store_id BLOB NOT NULL, cursor INTEGER NOT NULL, blocks INTEGER NOT NULL,
    stored INTEGER NOT NULL);
CREATE TABLE heads (
    id INTEGER PRIMARY KEY, block BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, removed INTEGER NOT NULL,
    stored INTEGER NOT NULL, inline INTEGER NOT NULL, signed BLOB NOT NULL,
    born INTEGER NOT NULL DEFAULT 0);
CREATE TABLE smalls (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE runs (
    id INTEGER NOT NULL, level INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
    segment INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, last INTEGER NOT NULL,
    born INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (id, level, first)) WITHOUT ROWID;
CREATE TABLE segments (number INTEGER PRIMARY KEY, length INTEGER NOT NULL, living INTEGER NOT NULL);
CREATE TABLE requests (cursor INTEGER PRIMARY KEY, request BLOB NOT NULL);
CREATE TABLE fences (key BLOB PRIMARY KEY, holder BLOB NOT NULL, fence INTEGER NOT NULL) WITHOUT ROWID;
"""
    + PAST_SCHEMA
)

_AT_ONCE = (1, 8, 128)  # blocks of one statement: fixed sizes, so that each is prepared once; NULL matches no block


def _for_blocks(select: str) -> dict[int, str]:
    return {size: f"{select} WHERE block IN ({', '.join('?' * size)})" for size in _AT_ONCE}


_HEADS = _for_blocks("SELECT block, id, version, removed, stored, inline, signed, born FROM heads")
_HEADS_SMALLS = _for_blocks(
    "SELECT block, h.id, version, removed, stored, inline, signed, born, record "
    "FROM heads h LEFT JOIN smalls s ON s.id = h.id"
)
_RUNS = (
    "SELECT version, level, first, count, segment, offset, size, last, r.born "
    "FROM heads h LEFT JOIN runs r ON r.id = h.id WHERE h.id = ? ORDER BY level, first"
)


class State(msgspec.Struct, frozen=True):
    """The row of `state`."""

    store_id: bytes
    cursor: int
    blocks: int
    stored: int


class HeadRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of `heads` without its block id. `inline`: the block's only record lies in `smalls`."""

    id: int
    version: int
    removed: bool
    stored: int
    inline: bool
    signed: bytes
    born: int


class SegmentRow(msgspec.Struct, frozen=True, array_like=True):
    number: int
    length: int
    living: int


class Changes(msgspec.Struct, kw_only=True):
    """The rows that one transaction writes, as the statements below take them."""

    state: State
    inserted: list[tuple[object, ...]]  # id, block, version, removed, stored, inline, signed, born
    updated: list[tuple[object, ...]]  # version, removed, stored, inline, signed, born, id
    heads_kept: list[tuple[int, int]]  # died, id: of those updated, which a snapshot needs as they were
    runs_kept: list[tuple[object, ...]]  # block, level, died, first, count, segment, offset, size, last, born
    kept_gone: list[tuple[bytes, int, int, int]]  # block, level, first, died
    smalls: list[tuple[int, bytes | memoryview]]
    small_gone: list[tuple[int]]
    runs: list[tuple[int, ...]]  # id, level, first, count, segment, offset, size, last, born
    run_gone: list[tuple[int, int, int]]  # id, level, first
    segments: list[tuple[int, int, int]]
    segments_gone: list[tuple[int]]
    requests: list[tuple[int, bytes]]

    @property
    def rows(self) -> int:
        """How many rows change, a large record counted as several."""
        heads = len(self.inserted) + len(self.updated) + 2 * len(self.heads_kept) + len(self.runs_kept)
        smalls = len(self.small_gone) + sum(1 + (len(record) >> 12) for _, record in self.smalls)
        return heads + smalls + len(self.runs) + len(self.run_gone) + len(self.requests)


class Index:
    """The SQLite file of a store."""

    def __init__(self, directory: Path, store_id: bytes) -> None:
        """Opens the index, or makes an empty one with `store_id`. Raises StoreError."""
        self.path = directory / INDEX_NAME
        with self._translated("open"):
            self._writer = self._connect()
            self._reader = self._connect()
            self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
            if not self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._create(store_id)
            self._check_format()

    def write(self, changes: Changes) -> None:
        """Apply one transaction; durable when it returns. Raises StoreError; after IO the caller must reopen."""
        cursor = changes.state.cursor
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            run = db.executemany
            if changes.heads_kept or changes.runs_kept or changes.kept_gone:
                run(KEEP_HEAD, changes.heads_kept)  # first: it copies the rows that change below
                run(FORGET_RUN, changes.kept_gone)
                run(KEEP_RUN, changes.runs_kept)
            run("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changes.inserted)
            run(
                "UPDATE heads SET version=?, removed=?, stored=?, inline=?, signed=?, born=? WHERE id=?",
                changes.updated,
            )
            run("DELETE FROM smalls WHERE id=?", changes.small_gone)
            run("INSERT OR REPLACE INTO smalls VALUES (?, ?)", changes.smalls)
            run("DELETE FROM runs WHERE id=? AND level=? AND first=?", changes.run_gone)
            run("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", changes.runs)
            run("INSERT OR REPLACE INTO segments VALUES (?, ?, ?)", changes.segments)
            run("DELETE FROM segments WHERE number=?", changes.segments_gone)
            run("INSERT INTO requests VALUES (?, ?)", changes.requests)
            db.execute("DELETE FROM requests WHERE cursor <= ?", (cursor - REPLAY_RECORDS,))
            db.execute("UPDATE state SET cursor=?, blocks=?, stored=?", msgspec.structs.astuple(changes.state)[1:])

    def write_fence(self, key: bytes, holder: bytes, fence: int) -> None:
        """Make a fence durable. Raises StoreError."""
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO fences VALUES (?, ?, ?)", (key, holder, fence))

    def forget_tombstones(self, tombstones: Sequence[tuple[bytes, int]]) -> int:
        """Delete the rows of removed blocks that still have these versions, and that no snapshot has; how many."""
        statement = "DELETE FROM heads WHERE block=? AND version=? AND removed=1 AND born > ?"
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            (newest,) = db.execute(NEWEST_SNAPSHOT).fetchone()
            return sum(db.execute(statement, (*pair, newest)).rowcount for pair in tombstones)

    def create_snapshot(self, name: str, taken: int) -> None:
        """One of the newest state. Raises StoreError."""
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            db.execute("INSERT INTO snapshots SELECT ?, cursor, ? FROM state", (name, taken))

    def delete_snapshot(self, name: str, cursor: int) -> dict[int, int]:
        """Forget it, and what only it needs; how many living bytes each segment has now. Raises StoreError."""
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            freed = db.execute(FREED, {"name": name, "cursor": cursor}).fetchall()
            db.execute("DELETE FROM snapshots WHERE name=?", (name,))
            for statement in FORGET_UNNEEDED:
                db.execute(statement, {"cursor": cursor})
            db.executemany("UPDATE segments SET living = living - ? WHERE number=?", [(size, n) for n, size in freed])
            return {n: db.execute("SELECT living FROM segments WHERE number=?", (n,)).fetchone()[0] for n, _ in freed}

    def request_at(self, cursor: int) -> bytes | None:
        """The request id of a commit, where it is still known."""
        rows = self._query("SELECT request FROM requests WHERE cursor = ?", (min(cursor, MAX_INTEGER),))
        return bytes(rows[0][0]) if rows else None

    def snapshots(self) -> list[Snapshot]:
        """Oldest first, each with the bytes that only it needs."""
        with self.one_moment() as db:
            rows = db.execute(SNAPSHOTS).fetchall()
            kept = kept_alone([row[1] for row in rows], db.execute(KEPT_SPANS)) if rows else []
        return [Snapshot(row[0], row[1], row[2], size) for row, size in zip(rows, kept, strict=True)]

    def snapshot(self, name: str) -> Snapshot | None:
        """One, without counting what it needs."""
        return next((Snapshot(*row) for row in self._query(ONE_SNAPSHOT, (name,))), None)

    def snapshot_count(self) -> int:
        return int(self._query("SELECT count(*) FROM snapshots")[0][0])

    def newest_snapshot(self) -> int:
        """The cursor of it; -1 where there is none."""
        return int(self._query(NEWEST_SNAPSHOT)[0][0])

    def kept_runs(self, segment: int, limit: int) -> list[KeptRun]:
        """Some of the runs in a segment that only snapshots need."""
        rows = self._query(KEPT_RUNS, (segment, limit))
        return [KeptRun(block, level, died, Run(*run)) for block, level, died, *run in rows]

    def checkpoint(self) -> None:
        """Copy the log into the file, as far as no reader needs it. Raises StoreError (IO): the caller must reopen."""
        with self._write_lock, self._translated("write to"):
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def heads(self, blocks: Sequence[bytes]) -> dict[bytes, HeadRow]:
        """The heads of those blocks that have one."""
        return {row[0]: _head_row(row[1:]) for row in self._query_blocks(_HEADS, blocks)}

    def heads_and_smalls(self, blocks: Sequence[bytes]) -> dict[bytes, tuple[HeadRow, bytes | None]]:
        """The heads of those blocks that have one, each with its small record as of one moment."""
        return {row[0]: (_head_row(row[1:8]), row[8]) for row in self._query_blocks(_HEADS_SMALLS, blocks)}

    def runs(self, number: int) -> tuple[int, list[tuple[int, Run]]]:
        """The version of the block with this id, and its runs by level and first record, as of one moment."""
        rows = self._query(_RUNS, (number,))
        return rows[0][0], [(row[1], Run(*row[2:])) for row in rows if row[1] is not None]

    def head_and_runs(self, block: bytes) -> tuple[HeadRow | None, list[tuple[int, Run]]]:
        """A head with its runs, as of one moment, however often the block is committed meanwhile."""
        with self.one_moment() as db:
            row = db.execute(_HEADS[1], (block,)).fetchone()
            if row is None:
                return None, []
            rows = db.execute(_RUNS, (row[1],)).fetchall()
        return _head_row(row[1:]), [(row[1], Run(*row[2:])) for row in rows if row[1] is not None]

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        statement = "SELECT block, version, removed, stored FROM heads WHERE block > ? ORDER BY block LIMIT ?"
        rows = self._query(statement, (after or b"", limit))
        return [HeadSummary(block, version, bool(removed), stored) for block, version, removed, stored in rows]

    def state(self) -> State:
        return State(*self._query("SELECT store_id, cursor, blocks, stored FROM state")[0])

    def segments(self) -> list[SegmentRow]:
        return [SegmentRow(*row) for row in self._query("SELECT number, length, living FROM segments")]

    def requests(self) -> list[bytes]:
        """The newest request ids, oldest first."""
        return [request for (request,) in self._query("SELECT request FROM requests ORDER BY cursor")]

    def fences(self) -> dict[bytes, tuple[bytes, int]]:
        return {key: (holder, fence) for key, holder, fence in self._query("SELECT key, holder, fence FROM fences")}

    def next_id(self) -> int:
        return int(self._query("SELECT coalesce(max(id), 0) + 1 FROM heads")[0][0])

    def placed_heads(self) -> list[tuple[int, bytes, bytes, int]]:
        """Id, block, signed header and birth of every head with records in segments; for repairs."""
        where = "WHERE NOT removed AND NOT inline ORDER BY block"
        return self._query(f"SELECT id, block, signed, born FROM heads {where}")

    def placed_old_heads(self) -> list[tuple[bytes, int, bytes, int]]:
        """Block, death, signed header and birth of those that only snapshots have."""
        where = "WHERE NOT removed AND NOT inline ORDER BY block, died"
        return self._query(f"SELECT block, died, signed, born FROM old_heads {where}")

    def replace_placement(
        self,
        runs: Sequence[tuple[int, ...]],
        kept: Sequence[KeptRun],
        stored: Sequence[tuple[int, int]],
        segments: Sequence[SegmentRow],
    ) -> None:
        """All runs and segments anew, and how much each block stores (bytes, id). Raises StoreError."""
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            db.execute("DELETE FROM runs")
            db.execute("DELETE FROM old_runs")
            db.executemany(KEEP_RUN, [k.row for k in kept])
            db.execute("DELETE FROM segments")
            db.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", runs)
            db.executemany("INSERT INTO segments VALUES (?, ?, ?)", [msgspec.structs.astuple(row) for row in segments])
            db.executemany("UPDATE heads SET stored=? WHERE id=?", stored)
            db.execute("UPDATE state SET stored=(SELECT coalesce(sum(stored), 0) FROM heads)")

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=64)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=0")  # its errors would go unnoticed: `checkpoint` reports them
        db.execute("PRAGMA journal_size_limit=67108864")
        db.execute("PRAGMA cache_size=-8192")
        db.execute("PRAGMA temp_store=MEMORY")
        return db

    def _create(self, store_id: bytes) -> None:
        with self._transaction() as db:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute("INSERT INTO state VALUES (?, ?, 1, 0, 0)", (INDEX_FORMAT, store_id))

    def _check_format(self) -> None:
        (found,) = self._writer.execute("SELECT format FROM state").fetchone()
        if found == 1:
            with self._transaction() as db:
                for statement in UPGRADE:
                    db.execute(statement)
        (found,) = self._writer.execute("SELECT format FROM state").fetchone()
        if found != INDEX_FORMAT:
            raise StoreError(
                Kind.NOT_SUPPORTED, f"the store index {self.path} has format {found}, this program knows {INDEX_FORMAT}"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._writer
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    @contextmanager
    def one_moment(self) -> Iterator[sqlite3.Connection]:
        """For several statements that see the same. Raises StoreError."""
        with self._read_lock, self._translated("read"):
            db = self._reader
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("COMMIT")

    def _query(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """All rows of one statement, which sees one moment."""
        try:
            with self._read_lock:
                return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _store_error(self.path, "read", error) from error

    def _query_blocks(self, statements: dict[int, str], blocks: Sequence[bytes]) -> Iterator[Any]:
        largest = _AT_ONCE[-1]
        for at in range(0, len(blocks), largest):
            chunk = blocks[at : at + largest]
            size = next(size for size in _AT_ONCE if size >= len(chunk))
            yield from self._query(statements[size], [*chunk, *[None] * (size - len(chunk))])

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _store_error(self.path, verb, error) from error


def _head_row(row: tuple[int, int, int, int, int, bytes, int]) -> HeadRow:
    number, version, removed, stored, inline, signed, born = row
    return HeadRow(number, version, bool(removed), stored, bool(inline), signed, born)


def _store_error(path: Path, verb: str, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = f"cannot {verb} the store index {path}: {error}"
    if code == sqlite3.SQLITE_FULL:
        return StoreError(Kind.NO_SPACE, text, "free some space")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(Kind.INTEGRITY, text, "restore the store from a backup")
    return StoreError(Kind.IO, text)
