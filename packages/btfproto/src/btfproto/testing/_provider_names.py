"""What every provider must do with names and directories."""

from __future__ import annotations

from btlib.kinds import Kind

from ..provider import FileKind, FsProvider, RenameFlags
from ._provider_tools import ME, READ_WRITE, fs_check, list_names, opened, read_file, refused, write_file


@fs_check
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


@fs_check
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


@fs_check
def a_listing_can_bring_attributes(fs: FsProvider) -> None:
    write_file(fs, fs.root, "a", b"abc")
    fs.mkdir(fs.root, "d", 0o755, ME)
    fs.symlink(fs.root, "s", "a", ME)
    for entry in fs.readdir(fs.root, 0, 10, True):
        assert entry.attributes == fs.lookup(fs.root, entry.name)
        assert (entry.inode, entry.kind) == (entry.attributes.inode, entry.attributes.kind)
    with refused(Kind.NOT_DIRECTORY):
        fs.readdir(fs.lookup(fs.root, "a").inode, 0, 10)


@fs_check
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


@fs_check
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


@fs_check
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


@fs_check
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


@fs_check
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


@fs_check
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
    with refused(Kind.INVALID):
        fs.rename(a, "f", b, "d", RenameFlags.EXCHANGE | RenameFlags.NO_REPLACE)


@fs_check
def renaming_between_links_of_one_file_does_nothing(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"")
    fs.link(inode, fs.root, "b")
    fs.rename(fs.root, "a", fs.root, "b")
    assert sorted(list_names(fs, fs.root)) == ["a", "b"]
