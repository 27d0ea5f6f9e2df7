"""The index: an SQLite file with the heads, the small bodies, and where in the segments everything else lies.

One connection writes, in one transaction a group, with `synchronous=FULL` on a write-ahead log: when `write` returns,
it is durable. Another reads; it sees a consistent snapshot in each call and does not wait for the writer. Both are
guarded, so any thread may call. It neither caches nor decides anything; an SQLite error becomes a StoreError here.

    state     one row: format, store id, cursor, number of blocks, stored bytes
    heads     a row a block: version, tombstone, bytes stored, signed header
    smalls    record (0, 0) of a block that has no other, where it is small
    runs      where consecutive records lie: segment, offset, sizes
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
from ._placement import Run

INDEX_NAME = "index.sqlite"
INDEX_FORMAT = 1

_SCHEMA = """
CREATE TABLE state (
    format INTEGER NOT NULL, store_id BLOB NOT NULL, cursor INTEGER NOT NULL, blocks INTEGER NOT NULL,
    stored INTEGER NOT NULL);
CREATE TABLE heads (
    id INTEGER PRIMARY KEY, block BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, removed INTEGER NOT NULL,
    stored INTEGER NOT NULL, inline INTEGER NOT NULL, signed BLOB NOT NULL);
CREATE TABLE smalls (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE runs (
    id INTEGER NOT NULL, level INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
    segment INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (id, level, first)) WITHOUT ROWID;
CREATE TABLE segments (number INTEGER PRIMARY KEY, length INTEGER NOT NULL, living INTEGER NOT NULL);
CREATE TABLE requests (cursor INTEGER PRIMARY KEY, request BLOB NOT NULL);
CREATE TABLE fences (key BLOB PRIMARY KEY, holder BLOB NOT NULL, fence INTEGER NOT NULL) WITHOUT ROWID;
"""

_AT_ONCE = (1, 8, 128)  # blocks of one statement: fixed sizes, so that each is prepared once; NULL matches no block


def _for_blocks(select: str) -> dict[int, str]:
    return {size: f"{select} WHERE block IN ({', '.join('?' * size)})" for size in _AT_ONCE}


_HEADS = _for_blocks("SELECT block, id, version, removed, stored, inline, signed FROM heads")
_HEADS_SMALLS = _for_blocks(
    "SELECT block, h.id, version, removed, stored, inline, signed, record "
    "FROM heads h LEFT JOIN smalls s ON s.id = h.id"
)
_RUNS = (
    "SELECT version, level, first, count, segment, offset, size, last "
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


class SegmentRow(msgspec.Struct, frozen=True, array_like=True):
    number: int
    length: int
    living: int


class Changes(msgspec.Struct, kw_only=True):
    """The rows that one transaction writes, as the statements below take them."""

    state: State
    inserted: list[tuple[object, ...]]  # id, block, version, removed, stored, inline, signed
    updated: list[tuple[object, ...]]  # version, removed, stored, inline, signed, id
    smalls: list[tuple[int, bytes | memoryview]]
    small_gone: list[tuple[int]]
    runs: list[tuple[int, ...]]  # id, level, first, count, segment, offset, size, last
    run_gone: list[tuple[int, int, int]]  # id, level, first
    segments: list[tuple[int, int, int]]
    segments_gone: list[tuple[int]]
    requests: list[tuple[int, bytes]]

    @property
    def rows(self) -> int:
        """How many rows change, a large record counted as several."""
        heads = len(self.inserted) + len(self.updated)
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
            run("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?, ?)", changes.inserted)
            run("UPDATE heads SET version=?, removed=?, stored=?, inline=?, signed=? WHERE id=?", changes.updated)
            run("DELETE FROM smalls WHERE id=?", changes.small_gone)
            run("INSERT OR REPLACE INTO smalls VALUES (?, ?)", changes.smalls)
            run("DELETE FROM runs WHERE id=? AND level=? AND first=?", changes.run_gone)
            run("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changes.runs)
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
        """Delete the rows of removed blocks that still have these versions; how many. Raises StoreError."""
        statement = "DELETE FROM heads WHERE block=? AND version=? AND removed=1"
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            return sum(db.execute(statement, pair).rowcount for pair in tombstones)

    def checkpoint(self) -> None:
        """Copy the log into the file, as far as no reader needs it. Raises StoreError (IO): the caller must reopen."""
        with self._write_lock, self._translated("write to"):
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def heads(self, blocks: Sequence[bytes]) -> dict[bytes, HeadRow]:
        """The heads of those blocks that have one."""
        return {row[0]: _head_row(row[1:]) for row in self._query_blocks(_HEADS, blocks)}

    def heads_and_smalls(self, blocks: Sequence[bytes]) -> dict[bytes, tuple[HeadRow, bytes | None]]:
        """The heads of those blocks that have one, each with its small record as of one moment."""
        return {row[0]: (_head_row(row[1:7]), row[7]) for row in self._query_blocks(_HEADS_SMALLS, blocks)}

    def runs(self, number: int) -> tuple[int, list[tuple[int, Run]]]:
        """The version of the block with this id, and its runs by level and first record, as of one moment."""
        rows = self._query(_RUNS, (number,))
        return rows[0][0], [(row[1], Run(*row[2:])) for row in rows if row[1] is not None]

    def head_and_runs(self, block: bytes) -> tuple[HeadRow | None, list[tuple[int, Run]]]:
        """A head with its runs, as of one moment, however often the block is committed meanwhile."""
        with self._read_lock, self._translated("read"):
            db = self._reader
            db.execute("BEGIN")
            try:
                row = db.execute(_HEADS[1], (block,)).fetchone()
                if row is None:
                    return None, []
                rows = db.execute(_RUNS, (row[1],)).fetchall()
            finally:
                db.execute("COMMIT")
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

    def all_heads(self) -> list[tuple[int, bytes, bool, bool, bytes]]:
        """Id, block, removed, inline, signed header of every head; for repairs."""
        rows = self._query("SELECT id, block, removed, inline, signed FROM heads ORDER BY block")
        return [(number, block, bool(removed), bool(inline), signed) for number, block, removed, inline, signed in rows]

    def replace_placement(
        self, runs: Sequence[tuple[int, ...]], stored: Sequence[tuple[int, int]], segments: Sequence[SegmentRow]
    ) -> None:
        """All runs and segments anew, and how much each block stores (bytes, id). Raises StoreError."""
        with self._write_lock, self._translated("write to"), self._transaction() as db:
            db.execute("DELETE FROM runs")
            db.execute("DELETE FROM segments")
            db.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", runs)
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


def _head_row(row: tuple[int, int, int, int, int, bytes]) -> HeadRow:
    number, version, removed, stored, inline, signed = row
    return HeadRow(number, version, bool(removed), stored, bool(inline), signed)


def _store_error(path: Path, verb: str, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = f"cannot {verb} the store index {path}: {error}"
    if code == sqlite3.SQLITE_FULL:
        return StoreError(Kind.NO_SPACE, text, "free some space")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(Kind.INTEGRITY, text, "restore the store from a backup")
    return StoreError(Kind.IO, text)
