"""Restoring from a snapshot, where there is more of everything than file systems keep in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import btfproto.past
import pytest
from btfproto.care import Restored, restore_path
from btfproto.domain import open_volume
from btfproto.localfs import FsOptions, LocalFs, MemoryPins, empty_directory_attributes
from btfproto.past import SnapshotKeeper
from btfproto.provider import OpenFlags, Owner
from btfproto.revocations import RevocationView
from btfproto.store import MemoryStore
from btfproto.testing.domains import World
from btfproto.testing.provider import read_tree, write_file

ME = Owner(1000, 1000)
FEW = 100  #: objects in memory
MANY = 3 * FEW


class Quiet:
    """A meter that nobody reads."""

    def item(self, path: str) -> None: ...
    def bytes(self, count: int) -> None: ...


class Domain:
    """A domain whose file systems keep few objects in memory, now and in snapshots."""

    def __init__(self) -> None:
        now, store = int(time.time()), MemoryStore()
        world = World.make(store, now=now, directory_attributes=empty_directory_attributes)
        volume = open_volume(store, world.machine, world.path(), now)
        options = FsOptions(commit_interval=None, inode_limit=FEW)
        self.fs = LocalFs(store, world.machine, volume, options=options)
        view = RevocationView(store, world.path().root)
        self.keeper = SnapshotKeeper(store, world.machine, world.path(), MemoryPins(), view, lambda: int(time.time()))

    def restore(self, *names: str, keep_new: bool = False) -> Restored:
        past = self.keeper.files("s")
        try:
            return restore_path(past, self.fs, names, "home:/", Quiet(), keep_new=keep_new)
        finally:
            past.shutdown()


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Domain]:
    monkeypatch.setattr(btfproto.past, "INODES", FEW)
    made = Domain()
    yield made
    made.fs.shutdown()


def test_a_directory_of_more_files_than_are_kept_in_memory_is_restored(domain: Domain) -> None:
    fs = domain.fs
    for number in range(MANY):
        write_file(fs, fs.root, f"file {number}", b"old" * number)
    fs.sync()
    before = read_tree(fs, fs.root)
    domain.keeper.create("s")
    for number in range(0, MANY, 2):
        fs.unlink(fs.root, f"file {number}")
        write_file(fs, fs.root, f"new {number}", b"new")
    fs.sync()
    done = domain.restore()
    assert read_tree(fs, fs.root) == before
    assert (done.written, done.removed, done.unchanged) == (MANY // 2, MANY // 2, MANY // 2)


def test_names_of_one_file_that_stand_far_apart_are_one_again(domain: Domain) -> None:
    fs = domain.fs
    first, last = (fs.mkdir(fs.root, name, 0o755, ME).inode for name in ("a", "z"))
    fs.link(write_file(fs, first, "one", b"linked"), last, "two")
    for directory in (first, last):
        for number in range(MANY):
            write_file(fs, directory, f"file {number}", b"x")
    fs.sync()
    domain.keeper.create("s")
    for directory, name in ((first, "one"), (last, "two")):
        fs.unlink(directory, name)
        write_file(fs, directory, name, b"no longer")
    fs.sync()
    domain.restore()
    one, two = fs.lookup(first, "one"), fs.lookup(last, "two")
    assert (one.inode, one.links) == (two.inode, 2)
    handle = fs.open(one.inode, OpenFlags.READ)
    assert fs.read(handle, 0, 100) == b"linked"
    fs.close(handle)
