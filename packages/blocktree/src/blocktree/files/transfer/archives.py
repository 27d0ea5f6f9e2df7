"""A tar file as an origin and a goal: POSIX (pax), with what GNU tar and others add for holes and extended attributes.

    times        record `mtime`, to the nanosecond
    attributes   records `SCHILY.xattr.NAME`
    holes        GNU.sparse 1.0: the map of data before the data
    links        a member of type 1 that names an earlier member

As a goal it is `FILE.partial` until it is whole; an interrupted one goes on behind its last whole member. Of members of
one name the last counts, as for every tar.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import BinaryIO, cast

from btfproto.errors import FsError
from btfproto.provider import FileKind
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..local import local_errors
from ..tree import PIECE
from .records import XATTRS, Content, Names, NoContent, Record, Stretch

BLOCK = 512
NANO = 10**9
XATTR_RECORD = "SCHILY.xattr."

TYPES = {
    FileKind.FILE: tarfile.REGTYPE,
    FileKind.DIRECTORY: tarfile.DIRTYPE,
    FileKind.SYMLINK: tarfile.SYMTYPE,
    FileKind.FIFO: tarfile.FIFOTYPE,
    FileKind.CHARACTER_DEVICE: tarfile.CHRTYPE,
    FileKind.BLOCK_DEVICE: tarfile.BLKTYPE,
}
KINDS = {number: kind for kind, number in TYPES.items()}


class ArchiveContent:
    """The data of a member."""

    def __init__(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._tar = tar
        self._member = member
        # Offsets and sizes, where it has holes; typeshed says something else.
        sparse = cast("list[Stretch] | None", member.sparse)
        pairs = [(0, member.size)] if sparse is None else sparse
        self.stretches: list[Stretch] = [(start, start + size) for start, size in pairs if size]

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        with archive_errors(str(self._tar.name)):
            stream = self._tar.extractfile(self._member)
            if stream is None:
                return
            for start, end in self.stretches:
                stream.seek(start)
                at = start
                while at < end:
                    piece = stream.read(min(PIECE, end - at))
                    if not piece:
                        raise FsError(Kind.INVALID, f"{self._tar.name!s} ends within {self._member.name!a}")
                    yield at, piece
                    at += len(piece)


class ArchiveOrigin:
    """A tar file, compressed or not."""

    def __init__(self, path: Path) -> None:
        """Reads all of its headers. Raises FsError where it is no whole tar file."""
        self.failures: list[tuple[str, BlocktreeError]] = []
        with local_errors(path), archive_errors(str(path)):
            self._tar = tarfile.open(path, "r:*")  # noqa: SIM115 - closed by `close`
            try:
                members = self._tar.getmembers()
            except BaseException:
                self._tar.close()
                raise
        self._members = {_names(member.name): member for member in members}

    def records(self) -> Iterator[Record]:
        self.failures = []
        for names, member in self._members.items():
            try:
                record = self._record(names, member)
            except FsError as error:
                self.failures.append(("/".join(names), error))
            else:
                yield record

    def content(self, record: Record) -> Content:
        member = record.place
        assert isinstance(member, tarfile.TarInfo)
        return ArchiveContent(self._tar, member) if member.size else NoContent()

    def find(self, names: Names) -> Record | None:
        member = self._members.get(names)
        return None if member is None else self._record(names, member)

    def same(self, one: Record, other: Record) -> bool:
        return one.place is other.place

    def close(self) -> None:
        self._tar.close()

    def _record(self, names: Names, member: tarfile.TarInfo) -> Record:
        first = None
        if member.islnk():
            first = _names(member.linkname)
            found = self._members.get(first)
            if found is None or found.islnk():
                raise FsError(Kind.INVALID, f"{member.name!a} links to {member.linkname!a}, which the archive lacks")
            member = found
        if not member.isreg() and member.type not in KINDS:
            raise FsError(Kind.NOT_SUPPORTED, f"{member.name!a} is of a type that is not known: {member.type!r}")
        kind = FileKind.FILE if member.isreg() else KINDS[member.type]
        device = kind in (FileKind.CHARACTER_DEVICE, FileKind.BLOCK_DEVICE)
        return Record(
            names=names,
            kind=kind,
            mode=member.mode & 0o7777,
            uid=member.uid,
            gid=member.gid,
            modified=_modified(member),
            size=member.size if kind is FileKind.FILE else 0,
            device=os.makedev(member.devmajor, member.devminor) if device else 0,
            target=member.linkname if kind is FileKind.SYMLINK else "",
            xattrs=_xattrs(member),
            first=first,
            place=member,
        )


class ArchiveGoal:
    """A tar file to write."""

    keeps_owner = True
    mode_mask = 0o7777
    leaves_out = frozenset({FileKind.SOCKET})

    def __init__(self, path: Path) -> None:
        """Goes on with an interrupted one. Raises FsError (EXISTS)."""
        if path.exists():
            raise FsError(Kind.EXISTS, f"{path} is there already", "name a new file")
        self._path = path
        self.partial = path.with_name(f"{path.name}.partial")
        with local_errors(self.partial):
            descriptor = os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "r+b")
            self._held, end = _held(self._file)
            self._file.truncate(end)
            self._file.seek(end)
            self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT, copybufsize=PIECE)
        self._view: ArchiveOrigin | None = None

    def holds(self, record: Record) -> bool:
        return self._held.get(record.names) == _signature(record)

    def put(self, record: Record, content: Content | None) -> None:
        if record.kind is FileKind.DIRECTORY and self.holds(record):
            return
        start = self._tar.offset
        try:
            with local_errors(self.partial):
                self._add(record, content)
        except BaseException:
            self._file.truncate(start)
            self._file.seek(start)
            self._tar.offset = start
            raise

    def finish(self) -> None:
        with local_errors(self.partial):
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())

    def view(self) -> ArchiveOrigin:
        if self._view is None:
            self._view = ArchiveOrigin(self.partial)
        return self._view

    def publish(self) -> None:
        """Give the whole archive its name, durably."""
        with local_errors(self._path):
            self.partial.rename(self._path)
            directory = os.open(self._path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def close(self) -> None:
        self._file.close()
        if self._view is not None:
            self._view.close()

    def _add(self, record: Record, content: Content | None) -> None:
        member = _member(record)
        if content is None or record.size == 0:
            self._tar.addfile(member)
            return
        if content.stretches == [(0, record.size)]:
            member.size = record.size
            self._tar.addfile(member, _Stream(content, b""))  # type: ignore[arg-type] # it only reads
            return
        table = _sparse_map(content.stretches, record.size)
        member.pax_headers = {
            **member.pax_headers,
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": member.name,
            "GNU.sparse.realsize": str(record.size),
        }
        member.name = f"GNUSparseFile.0/{member.name}"
        member.size = len(table) + sum(end - start for start, end in content.stretches)
        self._tar.addfile(member, _Stream(content, table))  # type: ignore[arg-type] # it only reads


@contextlib.contextmanager
def archive_errors(path: str) -> Iterator[None]:
    """What is wrong with an archive, as our error."""
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise FsError(Kind.INVALID, f"{path} is not a whole tar file: {error}") from error


class _Stream:
    """Content, as a file that an archive is fed from."""

    def __init__(self, content: Content, before: bytes) -> None:
        self._pieces = content.pieces()
        self._rest = before

    def read(self, size: int) -> bytes:
        parts, found = [self._rest], len(self._rest)
        while found < size and (piece := next(self._pieces, (0, b""))[1]):
            parts.append(piece)
            found += len(piece)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def _member(record: Record) -> tarfile.TarInfo:
    member = tarfile.TarInfo("/".join((".", *record.names)))
    member.type = tarfile.LNKTYPE if record.first is not None else TYPES[record.kind]
    member.mode, member.uid, member.gid = record.mode, record.uid, record.gid
    member.mtime = record.modified // NANO
    exact = {"mtime": str(Decimal(record.modified) / NANO)} if record.modified % NANO else {}
    member.devmajor, member.devminor = os.major(record.device), os.minor(record.device)
    if record.first is not None:
        member.linkname = "/".join((".", *record.first))
    elif record.kind is FileKind.SYMLINK:
        member.linkname = record.target
    xattrs = {
        f"{XATTR_RECORD}{name}": value.decode("utf-8", "surrogateescape") for name, value in record.xattrs.items()
    }
    member.pax_headers = exact | xattrs
    return member


def _sparse_map(stretches: list[Stretch], size: int) -> bytes:
    pairs = [(start, end - start) for start, end in stretches]
    if not stretches or stretches[-1][1] < size:
        pairs.append((size, 0))  # a hole at the end is named by what follows it
    text = "".join(f"{number}\n" for number in (len(pairs), *(part for pair in pairs for part in pair)))
    return text.encode() + bytes(-len(text) % BLOCK)


def _held(file: BinaryIO) -> tuple[dict[Names, object], int]:
    """What a partial archive has, by name, and where its last whole member ends."""
    size = os.fstat(file.fileno()).st_size
    held: dict[Names, object] = {}
    end = 0
    file.seek(0)
    with contextlib.suppress(tarfile.TarError, EOFError), tarfile.TarFile(fileobj=file, mode="r") as tar:
        while (member := tar.next()) is not None:
            if tar.offset > size:
                break
            names, end = _names(member.name), tar.offset
            if member.islnk():
                held[names] = _names(member.linkname)
            elif member.type in KINDS or member.isreg():
                kind = FileKind.FILE if member.isreg() else KINDS[member.type]
                target = member.linkname if kind is FileKind.SYMLINK else ""
                held[names] = (kind, member.size if kind is FileKind.FILE else 0, _modified(member), target)
    return held, end


def _signature(record: Record) -> object:
    """What tells whether an archive has this very record, as `_held` has it."""
    return record.first or (record.kind, record.size, record.modified, record.target)


def _names(text: str) -> Names:
    """The names of a member; those that could lead elsewhere stay, to be refused."""
    return tuple(name for name in text.split("/") if name not in ("", "."))


def _modified(member: tarfile.TarInfo) -> int:
    """Nanoseconds; the library's own number is a float, which loses some."""
    try:
        return int(Decimal(member.pax_headers.get("mtime", str(member.mtime))) * NANO)
    except (InvalidOperation, ValueError, OverflowError):
        return int(member.mtime) * NANO


def _xattrs(member: tarfile.TarInfo) -> dict[str, bytes]:
    found = {
        name.removeprefix(XATTR_RECORD): value.encode("utf-8", "surrogateescape")
        for name, value in member.pax_headers.items()
        if name.startswith(XATTR_RECORD)
    }
    return {name: value for name, value in found.items() if name.startswith(XATTRS)}
