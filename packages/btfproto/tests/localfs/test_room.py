"""Near the end of a device what would not fit is refused when it is written; deleting is not, and gives room back."""

from __future__ import annotations

import math
import os

import pytest
from btfproto.errors import FsError
from btfproto.localfs import LocalFs
from btfproto.localfs._room import NEAR, Room
from btfproto.provider import OpenFlags, Owner
from btfproto.store import MemoryStore, StoreStatus
from btfproto.testing.domains import World
from btfproto.testing.provider import opened, read_file, write_file
from btlib.kinds import Kind

from .conftest import OpenFs, make_world

ME = Owner(1000, 100)
CAPACITY = 400_000


@pytest.fixture
def world() -> World:
    """On a small device."""
    return make_world(MemoryStore(capacity=CAPACITY))


def make_directories(fs: LocalFs, count: int) -> None:
    for number in range(count):
        fs.mkdir(fs.root, f"d{number}", 0o755, ME)


def test_a_write_that_would_not_fit_is_refused_and_deleting_makes_room(open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "first", os.urandom(200_000))
    fs.sync()
    second, handle = fs.create(fs.root, "second", 0o644, ME, OpenFlags.WRITE)
    assert fs.write(handle, 0, os.urandom(100_000)) == 100_000
    with pytest.raises(FsError, match="no room left") as refused:
        fs.write(handle, 100_000, os.urandom(100_000))
    assert refused.value.kind is Kind.NO_SPACE
    fs.close(handle)
    fs.sync()
    assert fs.getattr(second.inode).size == 100_000, "what was written before stays, as everywhere"
    assert fs.statfs().available < 200_000
    fs.unlink(fs.root, "first")
    fs.unlink(fs.root, "second")
    fs.sync()
    write_file(fs, fs.root, "third", b"x" * 250_000)
    fs.sync()
    assert read_file(fs, fs.lookup(fs.root, "third").inode) == b"x" * 250_000


def test_what_waits_counts_too(open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "first", os.urandom(200_000))
    more = os.urandom(200_000)
    with opened(fs, fs.lookup(fs.root, "first").inode, OpenFlags.WRITE) as handle:
        with pytest.raises(FsError, match="no room left"):
            fs.write(handle, 200_000, more)
        assert fs.write(handle, 200_000, b"little") == 6
    fs.sync()


def test_a_new_name_takes_room_too(open_fs: OpenFs) -> None:
    fs = open_fs()
    with pytest.raises(FsError, match="no room left"):
        make_directories(fs, 1000)
    fs.rmdir(fs.root, "d0")
    fs.sync()


class _Counting(MemoryStore):
    asked = 0

    def status(self) -> StoreStatus:
        self.asked += 1
        return super().status()


def test_room_that_others_just_made_is_found() -> None:
    store = _Counting(capacity=1000)
    room = Room(store)
    room.committed()
    with pytest.raises(FsError, match="no room left"):
        room.check(0, 5000)
    store._capacity = 10_000
    room.check(0, 5000)


def test_where_much_is_free_nobody_asks_after_each_commit() -> None:
    store = _Counting(capacity=4 * NEAR)
    room = Room(store)
    for _ in range(100):
        room.committed()
    assert store.asked <= 3, "once, and once a second"
    assert room.bytes == math.inf


def test_where_little_is_free_each_commit_asks() -> None:
    store = _Counting(capacity=NEAR // 2)
    room = Room(store)
    for _ in range(100):
        room.committed()
    assert store.asked == 100
    assert room.bytes < NEAR // 2
