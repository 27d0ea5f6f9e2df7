"""Pins: the newest version of each block that this client ever saw. An older one means that somebody went back in time.

A store cannot prove that it shows the newest state; what it can never do unnoticed is show an older one than before.
Pins are bookkeeping, not data: losing the newest few only forgets that they were seen, so they are written in batches
and not synced for each operation.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from btlib.kinds import Kind

from ..errors import FsError

BATCH = 4096  #: pins noted before they are written: some 10 ms of work

_SCHEMA = "CREATE TABLE IF NOT EXISTS pins (block BLOB PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID"
_RAISE = "INSERT INTO pins VALUES (?, ?) ON CONFLICT (block) DO UPDATE SET version = max(version, excluded.version)"


class Pins(Protocol):
    """Remembers versions. Thread-safe."""

    def seen(self, block: bytes) -> int:
        """The newest version seen of a block; 0 for one never seen."""
        ...

    def note(self, versions: Mapping[bytes, int]) -> None:
        """These were seen. Lower versions than before are ignored."""
        ...

    def accept(self, versions: Mapping[bytes, int]) -> None:
        """Take these, even if they are lower: the user accepted a restored backup."""
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

    def seen(self, block: bytes) -> int:
        return self._versions.get(block, 0)

    def note(self, versions: Mapping[bytes, int]) -> None:
        known = self._versions
        for block, version in versions.items():
            if version > known.get(block, 0):
                known[block] = version

    def accept(self, versions: Mapping[bytes, int]) -> None:
        self._versions.update(versions)

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
        self._closed = False
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._run("PRAGMA journal_mode = WAL", ())
        self._run("PRAGMA synchronous = NORMAL", ())
        self._run(_SCHEMA, ())

    def seen(self, block: bytes) -> int:
        with self._lock:
            fresh = self._fresh.get(block)
            if fresh is not None:
                return fresh
            row = self._run("SELECT version FROM pins WHERE block = ?", (block,)).fetchone()
            return int(row[0]) if row else 0

    def note(self, versions: Mapping[bytes, int]) -> None:
        with self._lock:
            fresh = self._fresh
            for block, version in versions.items():
                if version > fresh.get(block, 0):
                    fresh[block] = version
            if len(fresh) >= BATCH:
                self._write()

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

    def flush(self) -> None:
        with self._lock:
            self._write()

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._write()
                self._closed = True
                self._connection.close()

    def _write(self) -> None:
        if self._fresh and not self._closed:
            self._transaction(_RAISE, self._fresh.items())
            self._fresh = {}

    def _transaction(self, statement: str, rows: Iterable[tuple[bytes, int]]) -> None:
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _run(self, statement: str, arguments: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, arguments)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> FsError:
        return FsError(
            Kind.IO,
            f"the pins file {self._path} cannot be used: {error}",
            "move it away; what was seen before is then forgotten, and an older state would not be noticed",
        )
