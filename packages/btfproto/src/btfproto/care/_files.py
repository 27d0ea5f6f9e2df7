"""The files of an embedded store: how much room they take, and whether what surrounds the records is whole.

The Merkle trees cover the records; here are the bytes that they do not: entry headers in segments (which only a rebuild
reads) and the structure of the index. Both functions only read. `measure` may be used while another process has the
store open; `inspect_files` only by who holds it, so that nothing is appended meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from btlib.kinds import Kind

from ..errors import StoreError
from ..store import EmbeddedStore
from ..store._embedded import SEGMENTS_NAME
from ..store._index import INDEX_NAME
from ..store._past_rows import KEPT_BYTES
from ..store._segment_format import RUN_HEADER_SIZE, SEGMENT_HEADER_SIZE, decode_run_header

INDEX_FILES = (INDEX_NAME, f"{INDEX_NAME}-wal", f"{INDEX_NAME}-shm")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes. `records` is what the blocks store, `snapshots` what only snapshots have, `dead` all else in
    segments: what was overwritten and is not given back yet, and the headers of entries.
    """

    blocks: int
    tombstones: int
    records: int
    snapshots: int
    segments: int  #: length of all segment files, dead bytes included
    dead: int
    index: int  #: size of the index files, small bodies included


def measure(directory: Path) -> Usage:
    """What the store in a directory takes, also while somebody has it open. Raises StoreError."""
    path = directory / INDEX_NAME
    if not path.exists():
        raise StoreError(Kind.NOT_FOUND, f"there is no store in {directory}", "see: bt status")
    with closing(_connect(path)) as db:
        heads, tombstones, records = _row(
            db, path, "SELECT count(*), coalesce(sum(removed), 0), coalesce(sum(stored), 0) FROM heads"
        )
        length, living = _row(db, path, "SELECT coalesce(sum(length), 0), coalesce(sum(living), 0) FROM segments")
        (snapshots,) = _row(db, path, KEPT_BYTES) if _row(db, path, "SELECT format FROM state")[0] > 1 else (0,)
        files = [directory / name for name in INDEX_FILES]
        index = sum(file.stat().st_size for file in files if file.exists())
    return Usage(
        blocks=heads - tombstones,
        tombstones=tombstones,
        records=records,
        snapshots=snapshots,
        segments=length,
        dead=length - living,
        index=index,
    )


def inspect_files(store: EmbeddedStore) -> Iterator[StoreError]:
    """Damage of the index's structure, and of entry headers in segments."""
    path = store.directory / INDEX_NAME
    with closing(_connect(path)) as db:
        (verdict,) = _row(db, path, "PRAGMA integrity_check(1)")
        if verdict != "ok":
            yield StoreError(Kind.INTEGRITY, f"the index {path} is damaged: {verdict}", "restore it from a backup")
    for segment in sorted((store.directory / SEGMENTS_NAME).glob("*.seg")):
        yield from _inspect_segment(segment)


def _inspect_segment(path: Path) -> Iterator[StoreError]:
    """The first entry header that is none: what lies behind it cannot be walked."""
    size = path.stat().st_size
    offset = SEGMENT_HEADER_SIZE
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            run = decode_run_header(file.read(RUN_HEADER_SIZE))
            if run is None or offset + RUN_HEADER_SIZE + run.data_size > size:
                text = f"the segment {path} is damaged: there is no entry at byte {offset}"
                yield StoreError(Kind.INTEGRITY, text, "back the store up: a rebuild could not find what lies behind")
                return
            offset += RUN_HEADER_SIZE + run.data_size


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StoreError(Kind.IO, f"cannot open the store index {path}: {error}") from error


def _row(db: sqlite3.Connection, path: Path, statement: str) -> tuple[Any, ...]:
    try:
        found: tuple[Any, ...] = db.execute(statement).fetchone()
    except sqlite3.DatabaseError as error:
        kind = Kind.IO if isinstance(error, sqlite3.OperationalError) else Kind.INTEGRITY
        raise StoreError(kind, f"cannot read the store index {path}: {error}", "see: bt status") from error
    return found
