"""What every `FsProvider` must do: `check_fs_provider`, and a model to compare one with, step by step.

    @pytest.mark.parametrize("check", FS_CHECKS)
    def test_my_provider(check: FsCheck) -> None:
        with open_my_provider() as fs:
            check(fs)

Each check gets a provider whose root directory is empty, and leaves whatever it made. `FileSystemMachine` is a
Hypothesis state machine; subclass it and say how to open a provider.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from btlib.kinds import Kind

from ..errors import FsError
from ..provider import (
    AllocateMode,
    AttributeChanges,
    FileKind,
    FsProvider,
    Handle,
    Inode,
    Lock,
    LockKind,
    OpenFlags,
    Owner,
    RenameFlags,
    Seek,
)

ME = Owner(1000, 100)
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE
SIZES = (0, 1, 100, 4096, 16383, 16384, 16385, 40_000, 200_000)  #: around the bounds of sectors and pages

FsCheck = Callable[[FsProvider], None]
FS_CHECKS: list[FsCheck] = []


def check_fs_provider(make: Callable[[], AbstractContextManager[FsProvider]]) -> None:
    """Run every check, each on a fresh provider. Raises AssertionError at the first thing untrue."""
    for check in FS_CHECKS:
        with make() as fs:
            try:
                check(fs)
            except AssertionError as error:
                raise AssertionError(f"{check.__name__}: {error}") from error


def write_file(fs: FsProvider, parent: Inode, name: str, data: bytes) -> Inode:
    """Make a file, or replace its content; its inode."""
    shown, handle = fs.create(parent, name, 0o644, ME, READ_WRITE | OpenFlags.TRUNCATE)
    for start in range(0, len(data), 1 << 17):
        fs.write(handle, start, data[start : start + (1 << 17)])
    fs.close(handle)
    return shown.inode


def read_file(fs: FsProvider, inode: Inode) -> bytes:
    """The whole content of a file."""
    with opened(fs, inode) as handle:
        size = fs.getattr(inode).size
        return b"".join(fs.read(handle, start, 1 << 17) for start in range(0, size, 1 << 17))


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


def _check(function: FsCheck) -> FsCheck:
    FS_CHECKS.append(function)
    return function


@_check
def a_new_file_is_found_under_its_name(fs: FsProvider) -> None:
    made, handle = fs.create(fs.root, "a", 0o640, ME, READ_WRITE)
    assert fs.lookup(fs.root, "a") == fs.getattr(made.inode) == made
    assert (made.kind, made.mode, made.links, made.uid, made.gid) == (FileKind.FILE, 0o640, 1, 1000, 100)
    assert (made.size, made.blocks) == (0, 0)
    assert made.inode != 0
    fs.close(handle)
    with refused(Kind.NOT_FOUND):
        fs.lookup(fs.root, "b")
    with refused(Kind.NOT_DIRECTORY):
        fs.lookup(made.inode, "b")


@_check
def create_opens_what_exists_unless_exclusive(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    shown, handle = fs.create(fs.root, "a", 0o600, ME, READ_WRITE)
    assert (shown.inode, shown.mode, fs.read(handle, 0, 10)) == (inode, 0o644, b"abc")
    fs.close(handle)
    with refused(Kind.EXISTS):
        fs.create(fs.root, "a", 0o600, ME, READ_WRITE | OpenFlags.EXCLUSIVE)
    shown, handle = fs.create(fs.root, "a", 0o600, ME, READ_WRITE | OpenFlags.TRUNCATE)
    assert shown.size == 0
    fs.close(handle)
    fs.mkdir(fs.root, "d", 0o755, ME)
    with refused(Kind.IS_DIRECTORY):
        fs.create(fs.root, "d", 0o600, ME, READ_WRITE)


@_check
def impossible_names_are_refused(fs: FsProvider) -> None:
    for name in ("", ".", "..", "a/b", "/", "a\0b"):
        with refused(Kind.INVALID):
            fs.mkdir(fs.root, name, 0o755, ME)
    for name in ("x" * 256, "ö" * 128):
        with refused(Kind.NAME_TOO_LONG):
            fs.mkdir(fs.root, name, 0o755, ME)
    names = ["x" * 255, "ö" * 127, " ", "...", "-rf", "a\nb", "\u202e", "\\"]
    for name in names:
        fs.mkdir(fs.root, name, 0o755, ME)
    assert sorted(list_names(fs, fs.root)) == sorted(names)


@_check
def content_reads_back_at_every_size(fs: FsProvider) -> None:
    for size in SIZES:
        data = bytes(range(251)) * (size // 251 + 1)
        inode = write_file(fs, fs.root, f"f{size}", data[:size])
        assert fs.getattr(inode).size == size
        assert read_file(fs, inode) == data[:size]
        with opened(fs, inode) as handle:
            assert fs.read(handle, size, 10) == b""
            assert fs.read(handle, max(size - 3, 0), 100) == data[max(size - 3, 0) : size]
            assert fs.read(handle, size // 2, 0) == b""


@_check
def writes_overlap_as_in_a_bytearray(fs: FsProvider) -> None:
    model = bytearray()
    _, handle = fs.create(fs.root, "a", 0o644, ME, READ_WRITE)
    for step, (offset, size) in enumerate([(0, 5), (3, 20_000), (16_380, 10), (60_000, 1), (0, 1), (32_768, 16_384)]):
        data = bytes([step + 1]) * size
        model.extend(bytes(max(offset + size - len(model), 0)))
        model[offset : offset + size] = data
        assert fs.write(handle, offset, memoryview(data)) == size
        assert fs.read(handle, 0, 100_000) == bytes(model)
    fs.close(handle)


@_check
def appending_ignores_the_offset(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    with opened(fs, inode, OpenFlags.WRITE | OpenFlags.APPEND) as handle:
        fs.write(handle, 0, b"def")
    assert read_file(fs, inode) == b"abcdef"


@_check
def handles_do_only_what_they_were_opened_for(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    with opened(fs, inode) as handle, refused(Kind.BAD_HANDLE):
        fs.write(handle, 0, b"x")
    with opened(fs, inode, OpenFlags.WRITE) as handle, refused(Kind.BAD_HANDLE):
        fs.read(handle, 0, 1)
    for call in (lambda: fs.close(handle), lambda: fs.read(handle, 0, 1), lambda: fs.fsync(handle)):
        with refused(Kind.BAD_HANDLE):
            call()
    with refused(Kind.IS_DIRECTORY):
        fs.open(fs.root, OpenFlags.WRITE)


@_check
def a_file_shrinks_and_grows_with_zeros(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"x" * 50_000)
    for size in (20_000, 100, 0, 16_384, 70_000):
        fs.setattr(inode, AttributeChanges(size=min(size, fs.getattr(inode).size)))
        fs.setattr(inode, AttributeChanges(size=size))
        assert fs.getattr(inode).size == size
    assert read_file(fs, inode) == bytes(70_000)
    write_file(fs, fs.root, "a", b"x" * 50_000)
    fs.sync()
    fs.setattr(inode, AttributeChanges(size=20_000))
    fs.setattr(inode, AttributeChanges(size=40_000))
    assert read_file(fs, inode) == b"x" * 20_000 + bytes(20_000)
    fs.sync()
    assert read_file(fs, inode) == b"x" * 20_000 + bytes(20_000)
    with refused(Kind.IS_DIRECTORY):
        fs.setattr(fs.root, AttributeChanges(size=0))


@_check
def holes_cost_nothing_and_read_as_zeros(fs: FsProvider) -> None:
    _, handle = fs.create(fs.root, "a", 0o644, ME, READ_WRITE)
    fs.write(handle, 10 << 20, b"end")
    fs.fsync(handle)
    shown = fs.lookup(fs.root, "a")
    assert shown.size == (10 << 20) + 3
    assert shown.blocks <= 64
    assert fs.read(handle, 5 << 20, 1000) == bytes(1000)
    assert fs.seek(handle, 0, Seek.HOLE) == 0
    data = fs.seek(handle, 0, Seek.DATA)
    assert 0 < data <= 10 << 20
    assert fs.seek(handle, data, Seek.HOLE) == shown.size
    with refused(Kind.RANGE):
        fs.seek(handle, shown.size, Seek.DATA)
    fs.close(handle)


@_check
def ranges_are_allocated_punched_and_zeroed(fs: FsProvider) -> None:
    for sync in (False, True):
        inode = write_file(fs, fs.root, f"a{sync}", b"x" * 60_000)
        if sync:
            fs.sync()
        with opened(fs, inode, READ_WRITE) as handle:
            fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 10_000, 30_000)
            expected = b"x" * 10_000 + bytes(30_000) + b"x" * 20_000
            assert read_file(fs, inode) == expected
            fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 50, 10)
            fs.fallocate(handle, AllocateMode.KEEP_SIZE, 0, 100_000)
            assert fs.getattr(inode).size == 60_000
            fs.fallocate(handle, AllocateMode.ALLOCATE, 50_000, 20_000)
            fs.fallocate(handle, AllocateMode.ZERO_RANGE, 65_000, 15_000)
            expected = expected[:50] + bytes(10) + expected[60:] + bytes(20_000)
            assert read_file(fs, inode) == expected
            fs.fsync(handle)
            assert read_file(fs, inode) == expected


@_check
def impossible_sizes_are_refused(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    with refused(Kind.TOO_LARGE):
        fs.setattr(inode, AttributeChanges(size=1 << 63))
    with opened(fs, inode, READ_WRITE) as handle:
        with refused(Kind.TOO_LARGE):
            fs.write(handle, (1 << 63) - 10, b"x" * 20)
        with refused(Kind.TOO_LARGE):
            fs.fallocate(handle, AllocateMode.ALLOCATE, 1 << 62, 1 << 62)
    assert read_file(fs, inode) == b"abc"


@_check
def directories_are_made_and_removed(fs: FsProvider) -> None:
    before = fs.getattr(fs.root).links
    made = fs.mkdir(fs.root, "d", 0o750, ME)
    assert (made.kind, made.mode, made.links) == (FileKind.DIRECTORY, 0o750, 2)
    assert fs.getattr(fs.root).links == before + 1
    write_file(fs, made.inode, "a", b"")
    with refused(Kind.EXISTS):
        fs.mkdir(fs.root, "d", 0o755, ME)
    with refused(Kind.NOT_EMPTY):
        fs.rmdir(fs.root, "d")
    with refused(Kind.IS_DIRECTORY):
        fs.unlink(fs.root, "d")
    with refused(Kind.NOT_DIRECTORY):
        fs.rmdir(made.inode, "a")
    fs.unlink(made.inode, "a")
    fs.rmdir(fs.root, "d")
    assert fs.getattr(fs.root).links == before
    with refused(Kind.NOT_FOUND):
        fs.lookup(fs.root, "d")
    with refused(Kind.NOT_FOUND):
        fs.rmdir(fs.root, "d")
    with refused(Kind.NOT_FOUND, Kind.STALE):
        fs.mkdir(made.inode, "x", 0o755, ME)


@_check
def a_long_listing_is_whole_and_in_a_stable_order(fs: FsProvider) -> None:
    names = [f"name {number}" for number in range(700)]
    for name in names:
        fs.mknod(fs.root, name, FileKind.FIFO, 0o600, ME)
    listed = list_names(fs, fs.root, 64)
    assert sorted(listed) == sorted(names)
    assert listed == list_names(fs, fs.root, 1000)
    seen: list[str] = []
    cookie = 0
    while entries := fs.readdir(fs.root, cookie, 50):
        cookie = entries[-1].cookie
        assert 0 < cookie < 1 << 63
        seen += [entry.name for entry in entries]
        for entry in entries[::2]:
            fs.unlink(fs.root, entry.name)
    assert seen == listed


@_check
def a_listing_can_bring_attributes(fs: FsProvider) -> None:
    write_file(fs, fs.root, "a", b"abc")
    fs.mkdir(fs.root, "d", 0o755, ME)
    fs.symlink(fs.root, "s", "a", ME)
    for entry in fs.readdir(fs.root, 0, 10, True):
        assert entry.attributes == fs.lookup(fs.root, entry.name)
        assert (entry.inode, entry.kind) == (entry.attributes.inode, entry.attributes.kind)
    with refused(Kind.NOT_DIRECTORY):
        fs.readdir(fs.lookup(fs.root, "a").inode, 0, 10)


@_check
def hard_links_share_one_file(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    directory = fs.mkdir(fs.root, "d", 0o755, ME).inode
    assert fs.link(inode, directory, "b").links == 2
    with refused(Kind.EXISTS):
        fs.link(inode, fs.root, "a")
    with refused(Kind.IS_DIRECTORY):
        fs.link(directory, fs.root, "e")
    fs.unlink(fs.root, "a")
    assert fs.lookup(directory, "b").inode == inode
    assert (fs.getattr(inode).links, read_file(fs, inode)) == (1, b"abc")
    fs.unlink(directory, "b")
    with refused(Kind.STALE):
        fs.getattr(inode)


@_check
def an_open_file_outlives_its_name(fs: FsProvider) -> None:
    for sync in (False, True):
        inode = write_file(fs, fs.root, "a", b"x" * 20_000)
        if sync:
            fs.sync()
        with opened(fs, inode, READ_WRITE) as handle:
            fs.unlink(fs.root, "a")
            if sync:
                fs.sync()
            assert fs.getattr(inode).links == 0
            fs.write(handle, 20_000, b"y")
            assert fs.read(handle, 19_999, 2) == b"xy"
            fs.fsync(handle)
        with refused(Kind.STALE):
            fs.getattr(inode)
        fs.sync()


@_check
def symlinks_and_special_files_keep_what_they_are(fs: FsProvider) -> None:
    for number, target in enumerate(("a", "../x y", "/absolute/ö", "x" * 4095)):
        made = fs.symlink(fs.root, f"s{number}", target, ME)
        assert (made.kind, made.size) == (FileKind.SYMLINK, len(target.encode()))
        assert fs.readlink(made.inode) == target
    with refused(Kind.NAME_TOO_LONG):
        fs.symlink(fs.root, "long", "x" * 4096, ME)
    for kind in (FileKind.FIFO, FileKind.SOCKET, FileKind.CHARACTER_DEVICE, FileKind.BLOCK_DEVICE):
        made = fs.mknod(fs.root, kind.name, kind, 0o600, ME, 0x103)
        device = 0x103 if kind in (FileKind.CHARACTER_DEVICE, FileKind.BLOCK_DEVICE) else 0
        assert (made.kind, made.device) == (kind, device)
    with refused(Kind.INVALID):
        fs.readlink(fs.lookup(fs.root, "FIFO").inode)


@_check
def renaming_moves_and_replaces(fs: FsProvider) -> None:
    first = write_file(fs, fs.root, "a", b"a")
    second = write_file(fs, fs.root, "b", b"b")
    directory = fs.mkdir(fs.root, "d", 0o755, ME).inode
    fs.rename(fs.root, "a", directory, "c")
    assert fs.lookup(directory, "c").inode == first
    with refused(Kind.NOT_FOUND):
        fs.lookup(fs.root, "a")
    with refused(Kind.EXISTS):
        fs.rename(fs.root, "b", directory, "c", RenameFlags.NO_REPLACE)
    fs.rename(fs.root, "b", directory, "c")
    assert fs.lookup(directory, "c").inode == second
    with refused(Kind.STALE):
        fs.getattr(first)
    with refused(Kind.NOT_FOUND):
        fs.rename(fs.root, "b", directory, "c")
    fs.rename(directory, "c", directory, "c")
    assert read_file(fs, second) == b"b"


@_check
def renaming_respects_kinds(fs: FsProvider) -> None:
    write_file(fs, fs.root, "f", b"")
    full, empty = fs.mkdir(fs.root, "full", 0o755, ME).inode, fs.mkdir(fs.root, "empty", 0o755, ME).inode
    write_file(fs, full, "x", b"")
    with refused(Kind.IS_DIRECTORY):
        fs.rename(fs.root, "f", fs.root, "empty")
    with refused(Kind.NOT_DIRECTORY):
        fs.rename(fs.root, "empty", fs.root, "f")
    with refused(Kind.NOT_EMPTY):
        fs.rename(fs.root, "empty", fs.root, "full")
    with refused(Kind.INVALID, Kind.LOOP):
        fs.rename(fs.root, "full", full, "y")
    below = fs.mkdir(full, "sub", 0o755, ME).inode
    with refused(Kind.INVALID, Kind.LOOP):
        fs.rename(fs.root, "full", below, "y")
    links = fs.getattr(fs.root).links
    fs.rename(fs.root, "full", fs.root, "empty")
    assert fs.getattr(fs.root).links == links - 1
    assert sorted(list_names(fs, fs.lookup(fs.root, "empty").inode)) == ["sub", "x"]
    with refused(Kind.STALE):
        fs.getattr(empty)


@_check
def moving_a_directory_moves_its_link(fs: FsProvider) -> None:
    a, b = fs.mkdir(fs.root, "a", 0o755, ME).inode, fs.mkdir(fs.root, "b", 0o755, ME).inode
    fs.mkdir(a, "d", 0o755, ME)
    fs.rename(a, "d", b, "d")
    assert (fs.getattr(a).links, fs.getattr(b).links) == (2, 3)
    write_file(fs, a, "f", b"")
    fs.rename(b, "d", a, "f", RenameFlags.EXCHANGE)
    assert (fs.getattr(a).links, fs.getattr(b).links) == (3, 2)
    assert fs.lookup(b, "d").kind is FileKind.FILE
    with refused(Kind.NOT_FOUND):
        fs.rename(a, "f", b, "none", RenameFlags.EXCHANGE)


@_check
def renaming_between_links_of_one_file_does_nothing(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"")
    fs.link(inode, fs.root, "b")
    fs.rename(fs.root, "a", fs.root, "b")
    assert sorted(list_names(fs, fs.root)) == ["a", "b"]


@_check
def attributes_are_set(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    before = fs.getattr(inode)
    after = fs.setattr(inode, AttributeChanges(mode=0o4755, uid=1, gid=2, accessed=-5, modified=7_000_000_001))
    assert (after.mode, after.uid, after.gid, after.accessed, after.modified) == (0o4755, 1, 2, -5, 7_000_000_001)
    assert after.changed > before.changed
    assert fs.lookup(fs.root, "a") == after
    assert fs.setattr(inode, AttributeChanges(uid=3)).mode == 0o755


@_check
def times_follow_what_happens(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    root, file = fs.getattr(fs.root), fs.getattr(inode)
    with opened(fs, inode, READ_WRITE) as handle:
        fs.write(handle, 0, b"x")
    written = fs.getattr(inode)
    assert written.modified > file.modified
    assert written.changed > file.changed
    assert fs.getattr(fs.root) == root
    fs.link(inode, fs.root, "b")
    assert fs.getattr(fs.root).modified > root.modified
    assert fs.getattr(inode).modified == written.modified
    assert fs.getattr(inode).changed > written.changed


@_check
def a_set_group_id_directory_hands_its_group_down(fs: FsProvider) -> None:
    made = fs.mkdir(fs.root, "d", 0o2775, Owner(1, 7))
    file, handle = fs.create(made.inode, "f", 0o644, Owner(2, 8), READ_WRITE)
    fs.close(handle)
    below = fs.mkdir(made.inode, "e", 0o755, Owner(2, 8))
    assert (file.uid, file.gid, file.mode) == (2, 7, 0o644)
    assert (below.uid, below.gid, below.mode) == (2, 7, 0o2755)


@_check
def extended_attributes_are_kept(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"")
    fs.setxattr(inode, "user.one", b"1")
    fs.setxattr(inode, "user.two", bytes(1000))
    fs.sync()
    assert fs.listxattr(inode) == ["user.one", "user.two"]
    assert fs.getxattr(inode, "user.two") == bytes(1000)
    with refused(Kind.EXISTS):
        fs.setxattr(inode, "user.one", b"", create=True)
    with refused(Kind.NO_ATTRIBUTE):
        fs.setxattr(inode, "user.three", b"", replace=True)
    fs.setxattr(inode, "user.one", b"new", replace=True)
    assert fs.getxattr(inode, "user.one") == b"new"
    fs.removexattr(inode, "user.one")
    for call in (fs.getxattr, fs.removexattr):
        with refused(Kind.NO_ATTRIBUTE):
            call(inode, "user.one")
    with refused(Kind.NO_SPACE):
        fs.setxattr(inode, "user.huge", bytes(70_000))
    with refused(Kind.NOT_SUPPORTED):
        fs.setxattr(inode, "system.thing", b"")


@_check
def locks_exclude_other_owners(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"")
    with opened(fs, inode, READ_WRITE) as one, opened(fs, inode, READ_WRITE) as two:
        fs.lock(one, Lock(kind=LockKind.WRITE, start=0, end=10, owner=1, process=11))
        with refused(Kind.WOULD_BLOCK):
            fs.lock(two, Lock(kind=LockKind.READ, start=9, end=20, owner=2))
        held = fs.test_lock(two, Lock(kind=LockKind.READ, owner=2))
        assert held is not None
        assert (held.kind, held.start, held.end, held.process) == (LockKind.WRITE, 0, 10, 11)
        assert fs.test_lock(one, Lock(kind=LockKind.WRITE, owner=1)) is None
        fs.lock(two, Lock(kind=LockKind.READ, start=10, end=20, owner=2))
        fs.lock(one, Lock(kind=LockKind.UNLOCK, start=3, end=5, owner=1))
        fs.lock(two, Lock(kind=LockKind.WRITE, start=3, end=5, owner=2))
        with refused(Kind.WOULD_BLOCK):
            fs.lock(two, Lock(kind=LockKind.WRITE, start=5, end=6, owner=2))
    with opened(fs, inode, READ_WRITE) as three:
        fs.lock(three, Lock(kind=LockKind.WRITE, owner=3))


@_check
def what_was_synced_is_still_there(fs: FsProvider) -> None:
    data = bytes(range(256)) * 300
    inode = write_file(fs, fs.root, "a", data)
    with opened(fs, inode) as handle:
        fs.fsync(handle)
        fs.flush(handle)
    fs.sync()
    fs.forget(inode)
    assert read_file(fs, fs.lookup(fs.root, "a").inode) == data
    assert fs.lookup(fs.root, "a").blocks >= len(data) // 512


@_check
def the_file_system_tells_its_size(fs: FsProvider) -> None:
    status = fs.statfs()
    assert status.capacity >= status.available > 0
    assert status.name_limit == 255
    assert not status.read_only
    assert list(fs.changes()) == []


@_check
def threads_may_use_it_together(fs: FsProvider) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            directory = fs.mkdir(fs.root, f"t{number}", 0o755, ME).inode
            for step in range(30):
                data = bytes([number, step]) * 5000
                inode = write_file(fs, directory, f"f{step % 7}", data)
                assert read_file(fs, inode) == data
                if step % 10 == number:
                    fs.sync()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(list_names(fs, fs.root)) == ["t0", "t1", "t2", "t3"]


@_check
def after_shutdown_nothing_is_answered(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    root = fs.root
    fs.shutdown()
    fs.shutdown()
    for call in (lambda: fs.getattr(inode), lambda: fs.lookup(root, "a"), lambda: fs.readdir(root, 0, 1)):
        with refused(Kind.STALE):
            call()
