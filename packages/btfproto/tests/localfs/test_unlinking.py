"""A name is removed, and what lost its last one is kept for whoever may have it open (`KeepsUnlinked`)."""

from __future__ import annotations

import pytest
from btfproto.errors import FsError
from btfproto.localfs import LocalFs
from btfproto.provider import FileKind, KeepsUnlinked, OpenFlags, Owner
from btfproto.testing.domains import World
from btfproto.testing.provider import list_names, write_file
from btlib.kinds import Kind

from .conftest import OpenFs
from .test_evil_store import EvilStore, flip

ME = Owner(1, 1)
BOTH = OpenFlags.READ | OpenFlags.WRITE


@pytest.fixture
def fs(open_fs: OpenFs) -> LocalFs:
    return open_fs()


def test_a_file_that_nobody_opened_comes_with_a_handle(fs: LocalFs) -> None:
    assert isinstance(fs, KeepsUnlinked)
    inode = write_file(fs, fs.root, "f", b"content" * 1000)
    fs.sync()
    kept = fs.unlink_keeping(fs.root, "f")
    assert kept is not None
    assert kept[0] == inode
    assert kept[1] is not None
    assert list_names(fs, fs.root) == []
    fs.sync()
    assert fs.read(kept[1], 0, 7) == b"content"
    fs.write(kept[1], 0, b"CON")
    fs.sync()
    assert fs.read(kept[1], 0, 7) == b"CONtent"
    assert fs.getattr(inode).links == 0
    fs.close(kept[1])
    with pytest.raises(FsError) as error:
        fs.getattr(inode)
    assert error.value.kind is Kind.STALE


def test_a_file_that_is_open_already_comes_without(fs: LocalFs) -> None:
    shown, handle = fs.create(fs.root, "f", 0o600, ME, BOTH)
    fs.write(handle, 0, b"content")
    assert fs.unlink_keeping(fs.root, "f") == (shown.inode, None)
    assert fs.read(handle, 0, 10) == b"content"


def test_only_the_last_name_of_a_file_keeps_it(fs: LocalFs) -> None:
    inode = write_file(fs, fs.root, "f", b"content")
    fs.link(inode, fs.root, "again")
    assert fs.unlink_keeping(fs.root, "f") is None
    kept = fs.unlink_keeping(fs.root, "again")
    assert kept is not None
    assert kept[0] == inode


def test_what_is_no_file_is_removed_and_not_kept(fs: LocalFs) -> None:
    fs.symlink(fs.root, "s", "target", ME)
    fs.mknod(fs.root, "n", FileKind.FIFO, 0o600, ME)
    assert fs.unlink_keeping(fs.root, "s") is None
    assert fs.unlink_keeping(fs.root, "n") is None
    assert list_names(fs, fs.root) == []


def test_it_refuses_what_unlink_refuses(fs: LocalFs) -> None:
    fs.mkdir(fs.root, "d", 0o755, ME)
    for name, kind in (("d", Kind.IS_DIRECTORY), ("absent", Kind.NOT_FOUND), ("a/b", Kind.INVALID)):
        for call in (fs.unlink_keeping, fs.unlink):
            with pytest.raises(FsError) as error:
                call(fs.root, name)
            assert error.value.kind is kind
    assert list_names(fs, fs.root) == ["d"]


def test_a_file_whose_content_is_damaged_can_be_removed(world: World, open_fs: OpenFs) -> None:
    with open_fs() as fs:
        block = fs.inode_of(write_file(fs, fs.root, "f", b"x" * 100_000)).store.block
    store = EvilStore(world.store)
    store.target, store.lie = block, lambda refs, records: [flip(record) for record in records]
    fs = open_fs(store=store)
    kept = fs.unlink_keeping(fs.root, "f")
    assert kept is not None
    assert kept[1] is not None
    with pytest.raises(FsError) as error:
        fs.read(kept[1], 0, 100)
    assert error.value.kind is Kind.INTEGRITY
    fs.close(kept[1])
    fs.sync()
    assert list_names(open_fs(), fs.root) == []
