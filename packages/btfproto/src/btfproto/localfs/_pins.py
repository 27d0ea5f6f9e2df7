"""Pins: the newest version of each block that this client ever saw, and how many commits of each store.

An older version, or fewer commits, mean that somebody went back in time. A store cannot prove that it shows the newest
state; what it can never do unnoticed is show an older one than before.
Pins are bookkeeping, not data: losing the newest few only forgets that they were seen, so they are written in batches
and not synced for each operation, and a full disk stops nobody: it is logged, and they wait in memory.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from btlib.kinds import Kind

from ..errors import FsError

log = logging.getLogger("btfproto.localfs")

BATCH = 4096  #: pins noted before they are written: some 10 ms of work
STORE_BATCH = 64  #: commits of a store before its cursor is written: who is killed forgets so many at the most
WAITING = 16 * BATCH  #: pins that wait while they cannot be written: some 10 MB; beyond that the oldest are forgotten
HIGHEST = 2**63 - 1  #: what SQLite can keep; a larger number is a lie, and counts as this

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS pins (block BLOB PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS stores (store BLOB PRIMARY KEY, cursor INTEGER NOT NULL, anchor INTEGER NOT NULL, "
    "request BLOB NOT NULL) WITHOUT ROWID",
)
_RAISE = "INSERT INTO pins VALUES (?, ?) ON CONFLICT (block) DO UPDATE SET version = max(version, excluded.version)"
_RAISE_STORE = (
    "INSERT INTO stores VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET cursor = max(cursor, excluded.cursor), "
    "request = iif(excluded.anchor > anchor, excluded.request, request), anchor = max(anchor, excluded.anchor)"
)


class SeenStore(NamedTuple):
    """What was seen of a store: how many commits, and of one of them, the `anchor`, its request id."""

    cursor: int
    anchor: int = 0  #: no more than `cursor`; 0: there is none
    request: bytes = b""

    def with_more(self, other: SeenStore) -> SeenStore:
        """Both together."""
        newest = max(self, other, key=lambda seen: seen.anchor)
        cursor = max(self.cursor, other.cursor)
        return SeenStore(min(cursor, HIGHEST), min(newest.anchor, HIGHEST), newest.request)


NOT_SEEN = SeenStore(0)


class Pins(Protocol):
    """Remembers versions of blocks and cursors of stores. Thread-safe."""

    def seen(self, block: bytes) -> int:
        """The newest version seen of a block; 0 for one never seen."""
        ...

    def as_of_now(self) -> AbstractContextManager[Callable[[bytes], int]]:
        """A `seen` for as long as the context lasts, blind to what is noted from now on, here or by other processes."""
        ...

    def note(self, versions: Mapping[bytes, int]) -> None:
        """These were seen. Lower versions than before are ignored."""
        ...

    def accept(self, versions: Mapping[bytes, int]) -> None:
        """Take these, even if they are lower: the user accepted a restored backup."""
        ...

    def seen_stores(self) -> Mapping[bytes, SeenStore]:
        """What was seen of each store, by its id; a copy."""
        ...

    def note_store(self, store: bytes, seen: SeenStore) -> None:
        """This was seen. Lower numbers than before are ignored."""
        ...

    def accept_store(self, store: bytes, seen: SeenStore) -> None:
        """As `accept`."""
        ...

    def flush(self) -> None:
        """Write what was noted."""
        ...

    def close(self) -> None:
        """Write what was noted and release everything; idempotent."""
        ...


class MemoryPins:
    """Pins for as long as the process lives."""

    def __init__(self) -> None:
        self._versions: dict[bytes, int] = {}
        self._stores: dict[bytes, SeenStore] = {}

    def seen(self, block: bytes) -> int:
        return self._versions.get(block, 0)

    @contextmanager
    def as_of_now(self) -> Iterator[Callable[[bytes], int]]:
        versions = self._versions.copy()
        yield lambda block: versions.get(block, 0)

    def note(self, versions: Mapping[bytes, int]) -> None:
        known = self._versions
        for block, version in versions.items():
            if version > known.get(block, 0):
                known[block] = version

    def accept(self, versions: Mapping[bytes, int]) -> None:
        self._versions.update(versions)

    def seen_stores(self) -> Mapping[bytes, SeenStore]:
        return self._stores.copy()

    def note_store(self, store: bytes, seen: SeenStore) -> None:
        self._stores[store] = self._stores.get(store, NOT_SEEN).with_more(seen)

    def accept_store(self, store: bytes, seen: SeenStore) -> None:
        self._stores[store] = seen

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class FilePins:
    """Pins in an SQLite file, one a client. A power cut may cost it the newest ones."""

    def __init__(self, path: Path) -> None:
        """Raises FsError where the file is damaged or held by another process."""
        self._path = path
        self._lock = threading.Lock()
        self._fresh: dict[bytes, int] = {}
        self._stores: dict[bytes, SeenStore] = {}  # as noted here
        self._written: dict[bytes, SeenStore] = {}  # as the file has them, at least
        self._failing = False  # the last writing failed
        self._due = BATCH  # as many fresh ones are written
        self._closed = False
        self._connection = self._connect()
        self._run("PRAGMA journal_mode = WAL", ())
        self._run("PRAGMA synchronous = NORMAL", ())
        for statement in _SCHEMA:
            self._run(statement, ())

    def seen(self, block: bytes) -> int:
        with self._lock:
            fresh = self._fresh.get(block)
            if fresh is not None:
                return fresh
            return self._read(self._connection, block)

    @contextmanager
    def as_of_now(self) -> Iterator[Callable[[bytes], int]]:
        with closing(self._connect()) as frozen:
            with self._lock:  # what is written from the fresh ones meanwhile would be missed by both
                fresh = self._fresh.copy()
                for statement in ("BEGIN", "SELECT count(*) FROM stores"):  # reads see the file as of the first one
                    self._run(statement, (), frozen).fetchall()
            yield lambda block: fresh[block] if block in fresh else self._read(frozen, block)

    def note(self, versions: Mapping[bytes, int]) -> None:
        with self._lock:
            fresh = self._fresh
            for block, version in versions.items():
                if version > fresh.get(block, 0):
                    fresh[block] = min(version, HIGHEST)
            if len(fresh) >= self._due:
                self._try_to_write()

    def all(self) -> list[tuple[bytes, int]]:
        """Every block that was ever seen, in order, with its version."""
        with self._lock:
            self._write()
            return [(bytes(block), version) for block, version in self._run("SELECT * FROM pins ORDER BY block", ())]

    def accept(self, versions: Mapping[bytes, int]) -> None:
        with self._lock:
            for block in versions:
                self._fresh.pop(block, None)
            self._transaction("INSERT OR REPLACE INTO pins VALUES (?, ?)", versions.items())

    def seen_stores(self) -> Mapping[bytes, SeenStore]:
        with self._lock:
            rows = self._run("SELECT store, cursor, anchor, request FROM stores", ()).fetchall()
            seen = {bytes(store): SeenStore(cursor, anchor, bytes(request)) for store, cursor, anchor, request in rows}
            return seen | {store: seen.get(store, NOT_SEEN).with_more(noted) for store, noted in self._stores.items()}

    def note_store(self, store: bytes, seen: SeenStore) -> None:
        with self._lock:
            self._stores[store] = noted = self._stores.get(store, NOT_SEEN).with_more(seen)
            written = self._written.get(store)
            due = written is None or seen.anchor > written.anchor or noted.cursor >= written.cursor + STORE_BATCH
            if due and not self._failing:
                self._try_to_write()

    def accept_store(self, store: bytes, seen: SeenStore) -> None:
        with self._lock:
            self._stores.pop(store, None)
            self._written.pop(store, None)
            self._transaction("INSERT OR REPLACE INTO stores VALUES (?, ?, ?, ?)", [(store, *seen)])

    def flush(self) -> None:
        with self._lock:
            self._try_to_write()

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._try_to_write()
                self._closed = True
                self._connection.close()

    def _try_to_write(self) -> None:
        """What cannot be written stays, in bounds, and is tried again after as many more."""
        try:
            self._write()
        except FsError as error:
            if not self._failing:
                log.warning("what was seen of the store is not remembered for now: %s", error.message)
            self._failing = True
            while len(self._fresh) > WAITING:
                del self._fresh[next(iter(self._fresh))]
            self._due = len(self._fresh) + BATCH
        else:
            self._failing, self._due = False, BATCH

    def _write(self) -> None:
        if self._closed:
            return
        if self._fresh:
            self._transaction(_RAISE, self._fresh.items())
            self._fresh = {}
        if self._stores != self._written:
            self._transaction(_RAISE_STORE, [(store, *seen) for store, seen in self._stores.items()])
            self._written = self._stores.copy()

    def _transaction(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _connect(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(self._path, check_same_thread=False, isolation_level=None, timeout=5)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _read(self, connection: sqlite3.Connection, block: bytes) -> int:
        row = self._run("SELECT version FROM pins WHERE block = ?", (block,), connection).fetchone()
        return int(row[0]) if row else 0

    def _run(
        self, statement: str, arguments: tuple[object, ...], connection: sqlite3.Connection | None = None
    ) -> sqlite3.Cursor:
        try:
            return (connection or self._connection).execute(statement, arguments)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> FsError:
        return FsError(
            Kind.IO,
            f"the pins file {self._path} cannot be used: {error}",
            "move it away; what was seen before is then forgotten, and an older state would not be noticed",
        )
