"""Several file systems on one store: leases go to and fro, and everyone sees what others committed."""

from __future__ import annotations

import threading

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.provider import AttributeChanges, OpenFlags, Owner
from btfproto.store import Events, LeaseAnswer, LeaseRequest, Release, Store
from btfproto.testing.domains import World
from btfproto.testing.provider import FS_CHECKS, FsCheck, list_names, opened, read_file, read_tree, write_file
from btlib.kinds import Kind

from .conftest import OpenFs

SHARED = FsOptions(shared=True, commit_interval=None, fresh_seconds=0.0)


class SleepyStore:
    """A store that cannot be asked for leases and events while it sleeps."""

    def __init__(self, store: Store) -> None:
        self.asleep = False
        self.read_heads, self.read_records, self.commit = store.read_heads, store.read_records, store.commit
        self.scan, self.status, self.close = store.scan, store.status, store.close
        self._store = store

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        self._check()
        events = self._store.watch(cursor, holder, timeout)
        self._check()
        return events

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        self._check()
        return self._store.lease(request)

    def _check(self) -> None:
        if self.asleep:
            raise StoreError(Kind.UNREACHABLE, "asleep")


class AskedStore(SleepyStore):
    """Counts how often it is asked what others did."""

    asked = 0

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        self.asked += not timeout  # else it is the watcher
        return super().watch(cursor, holder, timeout)


@pytest.fixture
def two(open_fs: OpenFs) -> tuple[LocalFs, LocalFs]:
    return open_fs(options=SHARED), open_fs(options=SHARED)


@pytest.mark.parametrize("check", FS_CHECKS)
def test_a_shared_file_system_does_what_every_provider_must(check: FsCheck, open_fs: OpenFs) -> None:
    check(open_fs(options=SHARED))


def test_what_one_synced_the_other_sees(two: tuple[LocalFs, LocalFs]) -> None:
    one, other = two
    write_file(one, one.root, "a", b"first")
    one.sync()
    inode = other.lookup(other.root, "a").inode
    assert read_file(other, inode) == b"first"
    write_file(one, one.root, "a", b"second" * 5000)
    directory = one.mkdir(one.root, "d", 0o755, Owner(1, 1)).inode
    write_file(one, directory, "b", b"")
    one.sync()
    assert other.getattr(inode).size == 30_000
    assert read_file(other, inode) == b"second" * 5000
    assert read_tree(other, other.root) == read_tree(one, one.root)


def test_who_holds_the_lease_asks_nothing_before_making_files(open_fs: OpenFs, world: World) -> None:
    store = AskedStore(world.store)
    fs, other = open_fs(options=SHARED, store=store), open_fs(options=SHARED)
    write_file(fs, fs.root, "first", b"takes the lease")
    before = store.asked
    for number in range(10):
        with pytest.raises(FsError, match="no"):
            fs.lookup(fs.root, f"file{number}")
        write_file(fs, fs.root, f"file{number}", b"content")
    assert store.asked == before
    fs.sync()
    write_file(other, other.root, "theirs", b"takes the lease over")
    other.sync()
    assert fs.lookup(fs.root, "theirs").size == len(b"takes the lease over")
    assert store.asked > before


def test_the_lease_is_given_back_with_everything_committed(two: tuple[LocalFs, LocalFs]) -> None:
    one, other = two
    for step in range(6):
        writer = two[step % 2]
        write_file(writer, writer.root, f"f{step}", bytes([step]) * 20_000)
        write_file(writer, writer.root, "common", bytes([step]))
    names = {f"f{step}" for step in range(6)} | {"common"}
    one.sync()
    other.sync()
    assert set(list_names(one, one.root)) == set(list_names(other, other.root)) == names
    assert read_file(one, one.lookup(one.root, "common").inode) == bytes([5])


def test_changes_by_others_are_told(two: tuple[LocalFs, LocalFs]) -> None:
    one, other = two
    inode = write_file(one, one.root, "a", b"x")
    one.sync()
    other.lookup(other.root, "a")
    other.changes()
    one.setattr(inode, AttributeChanges(mode=0o600))
    one.sync()
    other.refresh()
    assert inode in other.changes()
    assert list(other.changes()) == []
    assert list(one.changes()) == []


def test_what_another_removed_is_gone(two: tuple[LocalFs, LocalFs]) -> None:
    one, other = two
    inode = write_file(one, one.root, "a", b"x" * 100)
    one.sync()
    other.lookup(other.root, "a")
    one.unlink(one.root, "a")
    one.sync()
    with pytest.raises(FsError) as error:
        other.lookup(other.root, "a")
    assert error.value.kind is Kind.NOT_FOUND
    with pytest.raises(FsError) as error:
        other.open(inode, OpenFlags.READ)
    assert error.value.kind is Kind.STALE


def test_both_may_write_at_once(two: tuple[LocalFs, LocalFs]) -> None:
    failures: list[BaseException] = []

    def work(fs: LocalFs, number: int) -> None:
        try:
            for step in range(15):
                write_file(fs, fs.root, f"{number}-{step}", bytes([number, step]) * 3000)
                with opened(fs, fs.lookup(fs.root, f"{number}-{step}").inode) as handle:
                    fs.fsync(handle)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(fs, number)) for number, fs in enumerate(two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for fs in two:
        fs.sync()
    found = read_tree(two[0], two[0].root)
    assert found == read_tree(two[1], two[1].root)
    assert found == {f"{n}-{s}": bytes([n, s]) * 3000 for n in range(2) for s in range(15)}


def test_a_reader_never_takes_a_writers_commits_for_damage(two: tuple[LocalFs, LocalFs]) -> None:
    one, other = two
    names = [f"n{number}" for number in range(300)]
    for name in names:
        one.mkdir(one.root, name, 0o755, Owner(1, 1))
    write_file(one, one.root, "a", bytes([0]) * 200_000)
    one.sync()
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for step in range(1, 40):
                write_file(one, one.root, "a", bytes([step]) * 200_000)
                one.rmdir(one.root, names[step])
                one.sync()
        except BaseException as error:
            failures.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not stop.is_set():
        inode = other.lookup(other.root, "a").inode
        handle = other.open(inode, OpenFlags.READ)
        assert len(set(other.read(handle, 0, 200_000))) <= 1
        other.close(handle)
        assert len(list_names(other, other.root)) > 250
    thread.join()
    assert failures == []


def test_changes_under_a_lost_lease_are_refused_and_reported(world: World, open_fs: OpenFs) -> None:
    sleepy = SleepyStore(world.store)
    one, other = open_fs(options=SHARED, store=sleepy), open_fs(options=SHARED)
    inode = write_file(one, one.root, "a", b"base")
    one.sync()
    handle = one.open(inode, OpenFlags.WRITE)
    one.write(handle, 0, b"lost")
    sleepy.asleep = True
    world.store.lease(Release(world.created.scope, one.holder))  # its time is over
    write_file(other, other.root, "a", b"kept")
    other.sync()
    sleepy.asleep = False
    with pytest.raises(FsError) as error:
        one.fsync(handle)
    assert error.value.kind in (Kind.FENCED, Kind.CONFLICT)
    with pytest.raises(FsError):
        one.flush(handle)
    assert read_file(one, one.lookup(one.root, "a").inode) == b"kept"
    write_file(one, one.root, "a", b"again")
    one.sync()
    assert read_file(other, other.lookup(other.root, "a").inode) == b"again"


def test_two_that_do_not_share_end_in_a_conflict(open_fs: OpenFs) -> None:
    one, other = open_fs(), open_fs()
    write_file(one, one.root, "a", b"one")
    write_file(other, other.root, "a", b"other")
    one.sync()
    with pytest.raises(FsError, match="somebody else changed this tree") as error:
        other.sync()
    assert error.value.kind is Kind.CONFLICT
    other.finish_rescues()
    found = read_tree(other, other.root)
    assert found.pop("a") == b"one"
    assert [content for content in found.values() if content is not None] == [b"other"]
