from __future__ import annotations

from collections.abc import Iterator

import pytest
from btfproto.domain import open_volume
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs, MemoryPins, empty_directory_attributes
from btfproto.provider import FileKind, OpenFlags, Owner
from btfproto.testing.domains import NOW, World
from btfuse._handles import InodeHandles
from btfuse.testing import MemoryProvider
from btlib.kinds import Kind

OWNER = Owner(0, 0)


@pytest.fixture
def fs() -> Iterator[LocalFs]:
    """A provider that keeps what is unlinked."""
    world = World.make(None, directory_attributes=empty_directory_attributes)
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    options = FsOptions(commit_interval=None)
    fs = LocalFs(world.store, world.machine, volume, options=options, pins=MemoryPins(), clock=lambda: NOW * 10**9)
    yield fs
    fs.abandon()


def create(fs: LocalFs, handles: InodeHandles, name: str) -> int:
    """As a mount makes a file."""
    shown, handle = fs.create(fs.root, name, 0o644, OWNER, OpenFlags.READ | OpenFlags.WRITE)
    handles.put(shown.inode, handle)
    return shown.inode


def forget(fs: LocalFs, handles: InodeHandles, inode: int) -> None:
    """As a mount does where the kernel forgets."""
    handles.drop(inode)
    fs.forget(inode)


def make_files(provider: MemoryProvider, count: int) -> list[int]:
    return [provider.mknod(provider.root, f"f{n}", FileKind.FILE, 0o644, OWNER).inode for n in range(count)]


def opened(provider: MemoryProvider) -> int:
    return len(provider._handles)


def test_a_handle_is_opened_once_and_dropped_with_the_inode() -> None:
    provider = MemoryProvider()
    (inode,) = make_files(provider, 1)
    handles = InodeHandles(provider)
    assert handles.get(inode) == handles.get(inode)
    handles.drop(inode)
    handles.drop(inode)
    assert opened(provider) == 0


def test_idle_handles_are_bounded_and_kept_ones_are_not_among_them() -> None:
    provider = MemoryProvider()
    inodes = make_files(provider, 9)
    handles = InodeHandles(provider, limit=3)
    handles.keep(inodes[0])
    for inode in inodes[1:]:
        handles.get(inode)
    assert opened(provider) == 4
    provider.unlink(provider.root, "f0")
    provider.write(handles.get(inodes[0]), 0, b"still")


def test_only_the_last_name_of_a_file_is_a_loss() -> None:
    provider = MemoryProvider()
    first, _ = make_files(provider, 2)
    provider.mkdir(provider.root, "d", 0o755, OWNER)
    provider.link(first, provider.root, "again")
    handles = InodeHandles(provider)
    for name in ("f0", "d", "absent"):
        handles.keep_before_loss(provider.root, name)
    assert opened(provider) == 0
    handles.keep_before_loss(provider.root, "f1")
    assert opened(provider) == 1


def test_what_may_not_be_written_is_opened_for_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = MemoryProvider()
    (inode,) = make_files(provider, 1)
    plain = provider.open

    def read_only(inode: int, flags: OpenFlags) -> int:
        if flags & OpenFlags.WRITE:
            raise FsError(Kind.READ_ONLY, "no write capability")
        return plain(inode, flags)

    monkeypatch.setattr(provider, "open", read_only)
    assert provider.read(InodeHandles(provider).get(inode), 0, 10) == b""


@pytest.mark.parametrize("limit", [0, 1, 100])
def test_an_unlinked_file_is_read_and_written_until_it_is_forgotten(fs: LocalFs, limit: int) -> None:
    handles = InodeHandles(fs, limit=max(limit, 1))
    inode = create(fs, handles, "f")
    fs.write(handles.get(inode), 0, b"content")
    if not limit:
        create(fs, handles, "another")  # its handle takes the place
    handles.unlink(fs.root, "f")
    fs.sync()
    for number in range(3):
        create(fs, handles, f"later{number}")
    fs.write(handles.get(inode), 7, b" and more")
    assert fs.read(handles.get(inode), 0, 100) == b"content and more"
    forget(fs, handles, inode)
    with pytest.raises(FsError) as error:
        handles.get(inode)
    assert error.value.kind is Kind.STALE


def test_of_several_names_the_last_one_keeps_the_file(fs: LocalFs) -> None:
    handles = InodeHandles(fs)
    inode = create(fs, handles, "f")
    fs.link(inode, fs.root, "again")
    handles.drop(inode)
    handles.unlink(fs.root, "f")
    assert len(fs.handles._open) == 0
    handles.unlink(fs.root, "again")
    assert len(fs.handles._open) == 1
    fs.write(handles.get(inode), 0, b"still")
    handles.drop(inode)
    assert len(fs.handles._open) == 0


def test_a_file_that_was_kept_for_a_removal_that_failed_is_kept_once(fs: LocalFs) -> None:
    handles = InodeHandles(fs)
    inode = create(fs, handles, "f")
    handles.keep_before_loss(fs.root, "f")
    handles.unlink(fs.root, "f")
    assert fs.read(handles.get(inode), 0, 1) == b""
    forget(fs, handles, inode)
    assert len(fs.handles._open) == 0


def test_five_thousand_files_that_come_and_go_leave_nothing(fs: LocalFs) -> None:
    handles = InodeHandles(fs)
    before = len(fs.table)
    for number in range(5000):
        inode = create(fs, handles, "f")
        if number % 2:
            handles.drop(inode)  # nobody had it open any more
        handles.unlink(fs.root, "f")
        forget(fs, handles, inode)
    assert (len(handles._idle), len(handles._kept), len(fs.handles._open)) == (0, 0, 0)
    assert len(fs.table) == before
    assert len(fs.dirty) == 1, "the directory"


@pytest.mark.parametrize(("name", "kind"), [("d", Kind.IS_DIRECTORY), ("absent", Kind.NOT_FOUND)])
def test_what_cannot_be_unlinked_is_refused_with_and_without_keeping(fs: LocalFs, name: str, kind: Kind) -> None:
    provider = MemoryProvider()
    for each in (fs, provider):
        each.mkdir(each.root, "d", 0o755, OWNER)
        with pytest.raises(FsError) as error:
            InodeHandles(each).unlink(each.root, name)
        assert error.value.kind is kind
    assert opened(provider) == len(fs.handles._open) == 0


def test_a_provider_that_does_not_keep_is_asked_before() -> None:
    provider = MemoryProvider()
    (inode,) = make_files(provider, 1)
    handles = InodeHandles(provider)
    handles.unlink(provider.root, "f0")
    provider.write(handles.get(inode), 0, b"still")
    handles.drop(inode)
    assert opened(provider) == 0
