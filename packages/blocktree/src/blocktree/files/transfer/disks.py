"""A local directory as an origin and a goal.

As a goal it trusts nobody, as `files.local` does: names are checked, nothing is written *through* a link below the top,
what is in the way is replaced and not followed, and set-id bits are left out unless they were asked for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from btfproto.errors import FsError
from btfproto.provider import FileKind
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..local import KINDS, OWN_DIRECTORY, local_errors, write_all
from ..tree import PIECE
from .records import XATTRS, Content, Names, NoContent, Record, Stretch

DEVICES = {FileKind.CHARACTER_DEVICE: stat.S_IFCHR, FileKind.BLOCK_DEVICE: stat.S_IFBLK}
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NO_XATTRS = {errno.ENOTSUP, errno.EOPNOTSUPP}
PERMISSIONS = 0o1777
EVERYTHING = 0o7777
ROOT = 0


class DiskContent:
    """The data of a local file."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        with local_errors(path):
            descriptor = os.open(path, READ_FILE)
            try:
                self.stretches = _stretches(descriptor, size)
            finally:
                os.close(descriptor)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        with local_errors(self._path):
            descriptor = os.open(self._path, READ_FILE)
        try:
            for start, end in self.stretches:
                at = start
                while at < end:
                    with local_errors(self._path):
                        piece = os.pread(descriptor, min(PIECE, end - at), at)
                    if not piece:
                        break
                    yield at, piece
                    at += len(piece)
        finally:
            os.close(descriptor)


class DiskOrigin:
    """What lies below a local directory."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self.failures: list[tuple[str, BlocktreeError]] = []

    def records(self) -> Iterator[Record]:
        self.failures = []
        linked: dict[tuple[int, int], Names] = {}
        pending: list[Names] = [()]
        top = self.find(())
        if top is None or top.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, f"{self._top} is not a directory")
        while pending:
            # All of a directory comes together: who unpacks sets its time once nothing more goes into it.
            directory = pending.pop()
            record = self._named(directory, linked)
            if record is None:
                continue
            yield record
            for below in self._list(directory) if record.kind is FileKind.DIRECTORY else ():
                found = self._named(below, linked)
                if found is not None and found.kind is FileKind.DIRECTORY:
                    pending.append(below)
                elif found is not None:
                    yield found

    def _named(self, names: Names, linked: dict[tuple[int, int], Names]) -> Record | None:
        """A record that says whether an earlier one is of the same file; None where it cannot be read."""
        try:
            record = self._record(names)
        except BlocktreeError as error:
            self.failures.append(("/".join(names), error))
            return None
        status = record.place
        assert isinstance(status, os.stat_result)
        if record.kind is FileKind.DIRECTORY or status.st_nlink == 1:
            return record
        first = linked.setdefault((status.st_dev, status.st_ino), names)
        return record if first == names else replace(record, first=first)

    def content(self, record: Record) -> Content:
        return DiskContent(self._path(record.names), record.size) if record.size else NoContent()

    def find(self, names: Names) -> Record | None:
        try:
            return self._record(names)
        except FsError as error:
            if error.kind not in (Kind.NOT_FOUND, Kind.NOT_DIRECTORY):
                raise
        return None

    def same(self, one: Record, other: Record) -> bool:
        return (
            isinstance(one.place, os.stat_result)
            and isinstance(other.place, os.stat_result)
            and os.path.samestat(one.place, other.place)
        )

    def _list(self, names: Names) -> list[Names]:
        path = self._path(names)
        try:
            with local_errors(path):
                return [(*names, name) for name in sorted(entry.name for entry in path.iterdir())]
        except BlocktreeError as error:
            self.failures.append(("/".join(names) or ".", error))
        return []

    def _path(self, names: Names) -> Path:
        return self._top.joinpath(*names)

    def _record(self, names: Names) -> Record:
        path = self._path(names)
        with local_errors(path):
            status = path.stat() if not names else path.lstat()
            kind = KINDS[stat.S_IFMT(status.st_mode)]
            return Record(
                names=names,
                kind=kind,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                modified=status.st_mtime_ns,
                size=status.st_size if kind is FileKind.FILE else 0,
                device=status.st_rdev if kind in DEVICES else 0,
                target=os.readlink(path) if kind is FileKind.SYMLINK else "",  # noqa: PTH115 - a Path would tidy it up
                xattrs=_read_xattrs(path, kind),
                place=status,
            )


class DiskGoal:
    """A local directory to fill. The time of change is set last, so that it tells a whole file from a part of one."""

    def __init__(self, top: Path, *, set_id: bool = False) -> None:
        self._top = top
        self._origin = DiskOrigin(top)
        self._directories: list[Record] = []
        self._made: set[Names] = {()}
        self.keeps_owner = os.geteuid() == ROOT
        self.mode_mask = EVERYTHING if set_id else PERMISSIONS
        devices = frozenset() if self.keeps_owner else frozenset(DEVICES)
        self.leaves_out: frozenset[FileKind] = devices | {FileKind.SOCKET}

    def holds(self, record: Record) -> bool:
        if record.names[:-1] not in self._made:
            return False
        found = self._origin.find(record.names)
        if found is None or found.kind is not record.kind:
            return False
        if record.first is not None:
            first = self._origin.find(record.first)
            return first is not None and self._origin.same(first, found)
        return (found.size, found.modified, found.target) == (record.size, record.modified, record.target)

    def put(self, record: Record, content: Content | None) -> None:
        path = self._top.joinpath(*record.names)
        if record.names[:-1] not in self._made:  # perhaps a link that leads elsewhere
            raise FsError(Kind.NOT_DIRECTORY, f"{path}: its directory is not there")
        with local_errors(path):
            if record.kind is FileKind.DIRECTORY:
                self._enter(path)
                self._made.add(record.names)
                self._directories.append(record)
                return
            self._clear(path)
            if record.first is not None:
                os.link(self._top.joinpath(*record.first), path, follow_symlinks=False)
                return
            self._make(path, record, content)
            self._set(path, record)

    def finish(self) -> None:
        for record in reversed(self._directories):
            path = self._top.joinpath(*record.names)
            with local_errors(path):
                self._set(path, record)
        os.sync()

    def view(self) -> DiskOrigin:
        return self._origin

    def _enter(self, path: Path) -> None:
        try:
            path.mkdir(mode=OWN_DIRECTORY)
        except FileExistsError:
            status = path.stat() if path == self._top else path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "is in the way and not a directory") from None
            path.chmod(OWN_DIRECTORY)

    def _clear(self, path: Path) -> None:
        """Nothing has this name any more, unless it is a directory."""
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(path.lstat().st_mode):
                raise IsADirectoryError(errno.EISDIR, "is in the way and a directory")
            path.unlink()

    def _make(self, path: Path, record: Record, content: Content | None) -> None:
        match record.kind:
            case FileKind.FILE:
                self._write(path, record, content)
            case FileKind.SYMLINK:
                path.symlink_to(record.target)
            case FileKind.FIFO:
                os.mkfifo(path, 0o600)
            case _:
                os.mknod(path, 0o600 | DEVICES[record.kind], record.device)

    def _write(self, path: Path, record: Record, content: Content | None) -> None:
        descriptor = os.open(path, NEW_FILE, 0o600)
        try:
            for offset, piece in () if content is None else content.pieces():
                os.lseek(descriptor, offset, os.SEEK_SET)
                write_all(descriptor, piece)
            os.ftruncate(descriptor, record.size)
        finally:
            os.close(descriptor)

    def _set(self, path: Path, record: Record) -> None:
        """Owner, attributes, mode and time, in this order: each may undo one that follows."""
        if self.keeps_owner:
            os.chown(path, record.uid, record.gid, follow_symlinks=False)
        if record.kind is not FileKind.SYMLINK:
            for name in _read_xattrs(path, record.kind).keys() - record.xattrs.keys():
                os.removexattr(path, name)
            path.chmod(record.mode & self.mode_mask)
        for name, value in record.xattrs.items():
            os.setxattr(path, name, value, follow_symlinks=False)
        os.utime(path, ns=(record.modified, record.modified), follow_symlinks=False)


def _stretches(descriptor: int, size: int) -> list[Stretch]:
    found: list[Stretch] = []
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start < end:
            found.append((start, end))
    return found


def _read_xattrs(path: Path, kind: FileKind) -> dict[str, bytes]:
    """Links have none that could be kept."""
    if kind is FileKind.SYMLINK:
        return {}
    try:
        names = [name for name in os.listxattr(path) if name.startswith(XATTRS)]
        return {name: os.getxattr(path, name) for name in names}
    except OSError as error:
        if error.errno in NO_XATTRS:
            return {}
        raise
