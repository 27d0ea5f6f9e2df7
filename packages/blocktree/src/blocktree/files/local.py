"""The local file system as a source and a target of copies.

As a target it trusts nobody: what comes out of a tree may have been written by somebody else who likes surprises. So a
name is checked again, nothing is ever written *through* a symbolic link below the copied top, set-id bits are not
taken over, and only the permission bits are.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from btfproto.errors import FsError
from btfproto.provider import FileKind
from btlib.errors import PathError
from btlib.kinds import Kind
from btlib.paths import check_name

from .copying import Item
from .tree import PIECE

PERMISSIONS = 0o777  #: the bits taken over from a tree
#: Never through a symbolic link, and never waiting for somebody to read a pipe that lies there.
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OWN_DIRECTORY = 0o700  #: what a directory gets while it is being filled

KINDS = {
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.SYMLINK,
    stat.S_IFIFO: FileKind.FIFO,
    stat.S_IFSOCK: FileKind.SOCKET,
    stat.S_IFCHR: FileKind.CHARACTER_DEVICE,
    stat.S_IFBLK: FileKind.BLOCK_DEVICE,
}

_ERRNO_KINDS = {
    errno.ENOENT: Kind.NOT_FOUND,
    errno.EEXIST: Kind.EXISTS,
    errno.ENOTDIR: Kind.NOT_DIRECTORY,
    errno.EISDIR: Kind.IS_DIRECTORY,
    errno.ENOTEMPTY: Kind.NOT_EMPTY,
    errno.ENAMETOOLONG: Kind.NAME_TOO_LONG,
    errno.EACCES: Kind.FORBIDDEN,
    errno.EPERM: Kind.FORBIDDEN,
    errno.ENOSPC: Kind.NO_SPACE,
    errno.EDQUOT: Kind.NO_SPACE,
    errno.EFBIG: Kind.TOO_LARGE,
    errno.EROFS: Kind.READ_ONLY,
    errno.ELOOP: Kind.LOOP,
}


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors about a local file into ours, with its path."""
    try:
        yield
    except OSError as error:
        kind = _ERRNO_KINDS.get(error.errno or 0, Kind.IO)
        raise FsError(kind, f"{os.fsencode(path).decode(errors='replace')}: {error.strerror or error}") from error


def local_item(path: Path, *, follow: bool = True) -> Item[Path]:
    """What is at this path; raises FsError where nothing is."""
    with local_errors(path):
        return _item(path, path.name, path.stat(follow_symlinks=follow))


class LocalSource:
    def children(self, directory: Item[Path]) -> Iterator[Item[Path]]:
        with local_errors(directory.place), os.scandir(directory.place) as entries:
            for entry in entries:
                yield _item(Path(entry.path), entry.name, entry.stat(follow_symlinks=False))

    def pieces(self, file: Item[Path]) -> Iterator[bytes]:
        with local_errors(file.place):
            descriptor = os.open(file.place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield from _read_pieces(descriptor, file)
        finally:
            os.close(descriptor)

    def link_target(self, link: Item[Path]) -> str:
        with local_errors(link.place):
            return str(link.place.readlink())


class LocalTarget:
    """Directories are paths; the copy's top directory is the caller's and trusted, everything below is not."""

    def enter(self, parent: Path, item: Item[object]) -> Path:
        path = inside(parent, item)
        with local_errors(path):
            try:
                path.mkdir(mode=OWN_DIRECTORY)
            except FileExistsError:
                if not stat.S_ISDIR(path.lstat().st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, "is in the way and not a directory") from None
        return path

    def write(self, parent: Path, item: Item[object], pieces: Iterator[bytes]) -> None:
        path = inside(parent, item)
        with local_errors(path):
            descriptor = os.open(path, WRITE_FLAGS, 0o600)
        try:
            for piece in pieces:
                with local_errors(path):
                    write_all(descriptor, piece)
            with local_errors(path):
                os.fchmod(descriptor, item.mode & PERMISSIONS)
                os.utime(descriptor, ns=(item.modified, item.modified))
        finally:
            os.close(descriptor)

    def link(self, parent: Path, item: Item[object], target: str) -> None:
        path = inside(parent, item)
        with local_errors(path):
            if path.is_symlink():
                path.unlink()
            path.symlink_to(target)
            os.utime(path, ns=(item.modified, item.modified), follow_symlinks=False)

    def finish(self, directory: Path, item: Item[object]) -> None:
        with local_errors(directory):
            directory.chmod(item.mode & PERMISSIONS)
            os.utime(directory, ns=(item.modified, item.modified))

    def sync(self) -> None:
        os.sync()


def _item(path: Path, name: str, status: os.stat_result) -> Item[Path]:
    return Item(
        path=str(path),
        name=name,
        kind=KINDS[stat.S_IFMT(status.st_mode)],
        mode=stat.S_IMODE(status.st_mode),
        size=status.st_size,
        modified=status.st_mtime_ns,
        place=path,
    )


def inside(parent: Path, item: Item[object]) -> Path:
    """Where an item goes in a directory. Raises FsError for a name that could lead elsewhere."""
    try:
        return parent / check_name(item.name)
    except PathError as error:
        raise FsError(Kind.INVALID, f"{item.path}: refused: {error.message}") from error


def _read_pieces(descriptor: int, file: Item[Path]) -> Iterator[bytes]:
    done = 0
    while True:
        with local_errors(file.place):
            piece = os.read(descriptor, PIECE)
        if piece:
            yield piece
        done += len(piece)
        if not piece or (len(piece) < PIECE and done >= file.size):
            return


def write_all(descriptor: int, piece: bytes) -> None:
    """Write a piece, however many calls that takes."""
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
