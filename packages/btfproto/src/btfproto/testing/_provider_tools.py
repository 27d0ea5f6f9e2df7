"""Small steps that the checks of a provider are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from btlib.kinds import Kind

from ..errors import FsError
from ..provider import FileKind, FsProvider, Handle, Inode, OpenFlags, Owner

ME = Owner(1000, 100)
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE
CHUNK = 1 << 17  #: what the kernel writes in one call

FsCheck = Callable[[FsProvider], None]
FS_CHECKS: list[FsCheck] = []


def fs_check(function: FsCheck) -> FsCheck:
    """Decorates a check: it will be run on every provider."""
    FS_CHECKS.append(function)
    return function


def write_file(fs: FsProvider, parent: Inode, name: str, data: bytes) -> Inode:
    """Make a file, or replace its content; its inode."""
    shown, handle = fs.create(parent, name, 0o644, ME, READ_WRITE | OpenFlags.TRUNCATE)
    for start in range(0, len(data), CHUNK):
        fs.write(handle, start, data[start : start + CHUNK])
    fs.close(handle)
    return shown.inode


def read_file(fs: FsProvider, inode: Inode) -> bytes:
    """The whole content of a file."""
    with opened(fs, inode) as handle:
        size = fs.getattr(inode).size
        return b"".join(fs.read(handle, start, CHUNK) for start in range(0, size, CHUNK))


@contextmanager
def opened(fs: FsProvider, inode: Inode, flags: OpenFlags = OpenFlags.READ) -> Iterator[Handle]:
    handle = fs.open(inode, flags)
    try:
        yield handle
    finally:
        fs.close(handle)


def list_names(fs: FsProvider, inode: Inode, batch: int = 100) -> list[str]:
    """All names of a directory, in batches."""
    names: list[str] = []
    cookie = 0
    while entries := fs.readdir(inode, cookie, batch):
        names += [entry.name for entry in entries]
        cookie = entries[-1].cookie
    return names


def read_tree(fs: FsProvider, inode: Inode) -> dict[str, bytes | str | None]:
    """Everything below a directory: path → content of a file, target of a symlink, None for the rest."""
    found: dict[str, bytes | str | None] = {}
    for name in list_names(fs, inode):
        shown = fs.lookup(inode, name)
        if shown.kind is FileKind.DIRECTORY:
            found[name] = None
            found |= {f"{name}/{below}": content for below, content in read_tree(fs, shown.inode).items()}
        elif shown.kind is FileKind.SYMLINK:
            found[name] = fs.readlink(shown.inode)
        else:
            found[name] = read_file(fs, shown.inode) if shown.kind is FileKind.FILE else None
    return found


@contextmanager
def refused(*kinds: Kind) -> Iterator[None]:
    """The call inside must fail with one of these kinds."""
    try:
        yield
    except FsError as error:
        if error.kind not in kinds:
            expected = [kind.name for kind in kinds]
            raise AssertionError(f"refused as {error.kind.name} ({error}), not as {expected}") from error
    else:
        raise AssertionError(f"was not refused; expected {[kind.name for kind in kinds]}")
