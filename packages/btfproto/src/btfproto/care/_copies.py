"""Where a store is copied from and to: a directory that has the form of a store, or one archive (tar).

A directory can be brought up to date, opened, and mounted as it is. An archive has the members

    backup.json, segments/NNNNNNNN.seg …, index.sqlite        the last of equal names counts; the index comes last

and is written once, to `FILE.partial` until it is whole. An interrupted one goes on behind its last whole member.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from btlib.kinds import Kind

from ..errors import StoreError
from ..store import LockHolder
from ..store._embedded import SEGMENTS_NAME
from ..store._index import INDEX_NAME
from ..store._lock import StoreLock
from ._backup import PIECE, SegmentGone, snapshot_index

NOTE_NAME = "backup.json"
NOTE_LIMIT = 1 << 16  #: bytes; a note is one line
BLOCK = 512  #: of an archive


class DirectorySource:
    """A store, or a backup of one, in a directory; perhaps in use."""

    def __init__(self, directory: Path) -> None:
        if not (directory / INDEX_NAME).is_file():
            raise StoreError(Kind.NOT_FOUND, f"there is no store in {directory}: it has no {INDEX_NAME}")
        self._directory = directory
        self._open = _OpenFile()

    def snapshot(self, index: Path) -> None:
        snapshot_index(self._directory / INDEX_NAME, index)

    def read(self, segment: int, size: int, offset: int) -> bytes:
        return self._open.read(segment_path(self._directory, segment), segment, size, offset)

    def close(self) -> None:
        self._open.close()


class DirectoryTarget:
    """A backup in a directory, or a store that is being restored. Locked while it is written."""

    def __init__(self, directory: Path, note: bytes, program: str) -> None:
        """`note` says what it is a copy of. Raises StoreError: EXISTS where it holds something else, BUSY."""
        self.directory = directory
        _claim(directory, note)
        (directory / SEGMENTS_NAME).mkdir(mode=0o700, exist_ok=True)
        self._lock = StoreLock(directory, LockHolder(os.getpid(), program))
        self.staging = directory / f"{INDEX_NAME}.new"
        self._fresh: set[int] = set()
        self._open = _OpenFile()

    def held(self, segment: int) -> int:
        path = segment_path(self.directory, segment)
        return path.stat().st_size if path.exists() else 0

    def read(self, segment: int, size: int, offset: int) -> bytes:
        return self._open.read(segment_path(self.directory, segment), segment, size, offset)

    def write(self, segment: int, start: int, length: int, pieces: Iterator[bytes]) -> None:
        path = segment_path(self.directory, segment)
        if not start and path.exists():
            # Another segment of this number, which the present index still names: replaced together with it.
            path = _fresh(path)
            self._fresh.add(segment)
        self._open.close()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(start)
            file.seek(start)
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, segments: dict[int, int]) -> None:
        self._open.close()
        sync_path(self.staging)
        for number in self._fresh:
            path = segment_path(self.directory, number)
            _fresh(path).replace(path)
        sync_path(self.directory / SEGMENTS_NAME)
        for suffix in ("-wal", "-shm"):  # a log of the old index must not be replayed into the new one
            self.directory.joinpath(f"{INDEX_NAME}{suffix}").unlink(missing_ok=True)
        self.staging.replace(self.directory / INDEX_NAME)
        sync_path(self.directory)
        for path in (self.directory / SEGMENTS_NAME).iterdir():
            if path.suffix == ".new" or (path.suffix == ".seg" and int(path.stem) not in segments):
                path.unlink()

    def close(self) -> None:
        self._open.close()
        self._lock.release()


class ArchiveSource:
    """A backup in one file."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError where it is no whole archive."""
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise StoreError(Kind.NOT_FOUND, f"cannot open the backup {path}: {error.strerror}") from error
        self._members, _, whole = read_members(self._file)
        if INDEX_NAME not in self._members or not whole:
            self._file.close()
            raise StoreError(
                Kind.INVALID, f"{path} is no whole backup: it lacks {INDEX_NAME}, or is cut", "finish it: bt backup"
            )

    def snapshot(self, index: Path) -> None:
        start, size = self._members[INDEX_NAME]
        with index.open("wb") as file:
            for offset in range(0, size, PIECE):
                file.write(os.pread(self._file.fileno(), min(PIECE, size - offset), start + offset))

    def note(self) -> bytes:
        """What the archive says of itself."""
        start, size = self._members.get(NOTE_NAME, (0, 0))
        return os.pread(self._file.fileno(), min(size, NOTE_LIMIT), start)

    def read(self, segment: int, size: int, offset: int) -> bytes:
        return _read_member(self._file, self._members, segment, size, offset)

    def close(self) -> None:
        self._file.close()


class ArchiveTarget:
    """A backup that is being written into one file. Its index is staged in a directory, where it can be opened."""

    def __init__(self, path: Path, note: bytes) -> None:
        """Goes on with an interrupted one. Raises StoreError (EXISTS)."""
        if path.exists():
            raise StoreError(
                Kind.EXISTS, f"{path} is there already", "name a new file; a directory can be brought up to date"
            )
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.directory = path.with_name(f"{path.name}.index")
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.staging = self.directory / INDEX_NAME
        self._file = os.fdopen(os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        self._members, end, _ = read_members(self._file)
        if INDEX_NAME in self._members:  # it was whole, but nobody verified it
            end = self._members.pop(INDEX_NAME)[0] - BLOCK
        if NOTE_NAME not in self._members or self._read_note() != note:
            self._members, end = {}, 0
        self._file.truncate(end)
        self._file.seek(end)
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT, copybufsize=PIECE)
        if not end:
            self._add(NOTE_NAME, len(note), io.BytesIO(note))

    def held(self, segment: int) -> int:
        return self._members.get(segment_name(segment), (0, 0))[1]

    def read(self, segment: int, size: int, offset: int) -> bytes:
        self._file.flush()
        return _read_member(self._file, self._members, segment, size, offset)

    def write(self, segment: int, start: int, length: int, pieces: Iterator[bytes]) -> None:
        """A member cannot grow: what is there of it is copied before the rest."""
        name = segment_name(segment)
        before = self._copy_of(segment, start)
        self._add(name, length, _Stream(_chain(before, pieces)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self, segments: dict[int, int]) -> None:
        with self.staging.open("rb") as index:
            self._add(INDEX_NAME, self.staging.stat().st_size, index)
        self._file.flush()

    def publish(self) -> None:
        """Give the whole and verified archive its name, durably."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.partial.rename(self.path)
        sync_path(self.path.absolute().parent)
        for file in self.directory.iterdir():
            file.unlink()
        self.directory.rmdir()

    def close(self) -> None:
        self._file.close()

    def _add(self, name: str, size: int, content: object) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        start = self._tar.offset
        self._tar.addfile(member, content)  # type: ignore[arg-type] # it only reads
        self._members[name] = (start + BLOCK, size)

    def _copy_of(self, segment: int, end: int) -> Iterator[bytes]:
        place = self._members.get(segment_name(segment), (0, 0))[0]
        for offset in range(0, end, PIECE):
            yield os.pread(self._file.fileno(), min(PIECE, end - offset), place + offset)

    def _read_note(self) -> bytes:
        start, size = self._members[NOTE_NAME]
        return os.pread(self._file.fileno(), min(size, NOTE_LIMIT), start)


def _claim(directory: Path, note: bytes) -> None:
    """Make a directory one of copies of this store. Raises StoreError (EXISTS) where it is something else."""
    path = directory / NOTE_NAME
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        if path.read_bytes() != note:
            raise StoreError(Kind.EXISTS, f"{directory} is a backup of another store", "name another directory")
    elif any(directory.iterdir()):
        raise StoreError(Kind.EXISTS, f"{directory} holds something that is no backup", "name a new directory")
    else:
        path.write_bytes(note)
        sync_path(path)
        sync_path(directory)


def segment_name(number: int) -> str:
    return f"{SEGMENTS_NAME}/{number:08}.seg"


def segment_path(directory: Path, number: int) -> Path:
    return directory / segment_name(number)


def read_members(file: BinaryIO) -> tuple[dict[str, tuple[int, int]], int, bool]:
    """By name, where the content of whole plain members lies; the end of the last; whether the archive ends there."""
    size = os.fstat(file.fileno()).st_size
    members: dict[str, tuple[int, int]] = {}
    end, whole = 0, False
    file.seek(0)
    with contextlib.suppress(tarfile.TarError, EOFError), tarfile.TarFile(fileobj=file, mode="r") as tar:
        while True:
            member = tar.next()
            if member is None:
                whole = size >= end + 2 * BLOCK
                break
            after = member.offset_data + -(-member.size // BLOCK) * BLOCK
            if after > size or not member.isreg():
                break
            members[member.name], end = (member.offset_data, member.size), after
    return members, end, whole


def sync_path(path: Path) -> None:
    """Make a file, or the names of a directory, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _OpenFile:
    """The segment that was read last, kept open."""

    def __init__(self) -> None:
        self._number = 0
        self._file: BinaryIO | None = None

    def read(self, path: Path, number: int, size: int, offset: int) -> bytes:
        if self._file is None or self._number != number:
            self.close()
            try:
                self._file = path.open("rb")
            except FileNotFoundError as error:
                raise SegmentGone(number) from error
            except OSError as error:
                raise StoreError(Kind.IO, f"cannot open the segment {path}: {error.strerror}") from error
            self._number = number
        try:
            return os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            raise StoreError(Kind.IO, f"cannot read the segment {path}: {error.strerror}") from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Stream(io.RawIOBase):
    """Pieces, as a file that an archive is fed from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _read_member(file: BinaryIO, members: dict[str, tuple[int, int]], segment: int, size: int, offset: int) -> bytes:
    start, length = members.get(segment_name(segment), (0, -1))
    if length < 0:
        raise SegmentGone(segment)
    return os.pread(file.fileno(), max(0, min(size, length - offset)), start + offset)


def _chain(before: Iterator[bytes], after: Iterator[bytes]) -> Iterator[bytes]:
    yield from before
    yield from after


def _fresh(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
