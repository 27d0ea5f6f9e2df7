"""Nothing that was written is dropped silently: what cannot be committed is in `.recovered`, or on this disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FileKeeper, FsOptions, LocalFs, kept_in
from btfproto.localfs._rescue import RECOVERED
from btfproto.provider import AllocateMode, AttributeChanges, FileKind, OpenFlags, Owner
from btfproto.store import Acquire, Commit, CommitAnswer, Events, LeaseAnswer, LeaseRequest, Release, Store
from btfproto.testing.domains import World
from btfproto.testing.provider import opened, read_file, read_tree, write_file
from btlib.kinds import Kind

from .conftest import OpenFs

SHARED = FsOptions(shared=True, commit_interval=None, fresh_seconds=0.0)
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE
SECTOR = 4096
ME = Owner(1000, 100)


class FarStore:
    """A store whose server cannot be reached while it is `away`, and gives no lease where it `refuses` to."""

    def __init__(self, store: Store) -> None:
        self.away = False
        self.refuses = False
        self.read_heads, self.read_records = store.read_heads, store.read_records
        self.scan, self.status, self.close = store.scan, store.status, store.close
        self._store = store

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        self._check()
        events = self._store.watch(cursor, holder, timeout)
        self._check()
        return events

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        self._check()
        if self.refuses and isinstance(request, Acquire):
            raise StoreError(Kind.FORBIDDEN, "not any more")
        return self._store.lease(request)

    def commit(self, commit: Commit) -> CommitAnswer:
        self._check()
        return self._store.commit(commit)

    def _check(self) -> None:
        if self.away:
            raise StoreError(Kind.UNREACHABLE, "away")


Fencing = Callable[[Callable[[], object]], FsError]


@pytest.fixture
def far(world: World) -> FarStore:
    return FarStore(world.store)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "recovered"


@pytest.fixture
def one(open_fs: OpenFs, far: FarStore, kept: Path) -> LocalFs:
    return open_fs(options=SHARED, store=far, keeper=FileKeeper(kept))


@pytest.fixture
def other(open_fs: OpenFs) -> LocalFs:
    return open_fs(options=SHARED)


@pytest.fixture
def fence(one: LocalFs, other: LocalFs, far: FarStore, world: World) -> Fencing:
    """Takes the lease away from `one` while it cannot know, does something as `other`, and lets `one` find out."""

    def run(meanwhile: Callable[[], object]) -> FsError:
        far.away = True
        world.store.lease(Release(world.created.scope, one.holder))
        meanwhile()
        other.sync()
        far.away = False
        with pytest.raises(FsError) as lost:
            one.sync()
        one.finish_rescues()
        return lost.value

    return run


def recovered(fs: LocalFs) -> dict[str, bytes | str | None]:
    """What is in the one directory of rescued files, without its name."""
    top = fs.lookup(fs.root, RECOVERED).inode
    (name,) = [entry.name for entry in fs.readdir(top, 0, 10)]
    return read_tree(fs, fs.lookup(top, name).inode)


def test_a_file_that_two_clients_changed_is_there_twice(one: LocalFs, other: LocalFs, fence: Fencing) -> None:
    write_file(one, one.root, "a", b"base")
    one.sync()
    write_file(one, one.root, "a", b"ours")
    error = fence(lambda: write_file(other, other.root, "a", b"theirs"))
    assert error.kind in (Kind.FENCED, Kind.CONFLICT)
    assert "bt status" in str(error)
    assert read_file(other, other.lookup(other.root, "a").inode) == b"theirs"
    assert recovered(other) == recovered(one) == {"a": b"ours"}


def test_new_files_are_kept_with_their_directories_and_attributes(one: LocalFs, other: LocalFs, fence: Fencing) -> None:
    directory = one.mkdir(one.root, "d", 0o750, ME).inode
    inode = write_file(one, directory, "new", b"n" * 10_000)
    one.setxattr(inode, "user.a", b"b")
    one.setattr(inode, AttributeChanges(mode=0o600, modified=123))
    one.symlink(directory, "link", "target", ME)
    one.mknod(one.root, "fifo", FileKind.FIFO, 0o644, ME)
    fence(lambda: write_file(other, other.root, "x", b"x"))
    assert recovered(other) == {"d": None, "d/new": b"n" * 10_000, "d/link": "target", "fifo": None}
    top = other.lookup(other.root, RECOVERED).inode
    (name,) = [entry.name for entry in other.readdir(top, 0, 10)]
    found = other.lookup(other.lookup(top, name).inode, "d")
    assert (found.mode, found.uid) == (0o750, ME.uid)
    copy = other.lookup(found.inode, "new")
    assert (copy.mode, copy.modified, other.getxattr(copy.inode, "user.a")) == (0o600, 123, b"b")


def test_what_was_written_lies_over_what_the_file_holds_now(one: LocalFs, other: LocalFs, fence: Fencing) -> None:
    inode = write_file(one, one.root, "a", b"0" * (3 * SECTOR + 100))
    one.sync()
    with opened(one, inode, READ_WRITE) as handle:
        one.write(handle, SECTOR, b"1" * 10)
        one.fallocate(handle, AllocateMode.PUNCH_HOLE, 2 * SECTOR, SECTOR)
    fence(lambda: write_file(other, other.root, "x", b"x"))
    ours = b"0" * SECTOR + b"1" * 10 + b"0" * (SECTOR - 10) + bytes(SECTOR) + b"0" * 100
    assert recovered(other) == {"a": ours}


def test_what_another_removed_is_kept_as_far_as_it_was_written_here(
    one: LocalFs, other: LocalFs, fence: Fencing
) -> None:
    inode = write_file(one, one.root, "a", b"0" * (2 * SECTOR))
    one.sync()
    with opened(one, inode, READ_WRITE) as handle:
        one.write(handle, SECTOR, b"1" * SECTOR)
        other.lookup(other.root, "a")
        fence(lambda: other.unlink(other.root, "a"))
    assert recovered(other) == {"a": bytes(SECTOR) + b"1" * SECTOR}


def test_a_truncated_file_is_kept_as_short_as_it_was(one: LocalFs, other: LocalFs, fence: Fencing) -> None:
    inode = write_file(one, one.root, "a", b"0" * (2 * SECTOR))
    one.sync()
    one.setattr(inode, AttributeChanges(size=100))
    fence(lambda: write_file(other, other.root, "x", b"x"))
    assert recovered(other) == {"a": b"0" * 100}


def test_fsync_tells_of_a_loss_that_the_background_found(one: LocalFs, other: LocalFs, fence: Fencing) -> None:
    _, handle = one.create(one.root, "a", 0o644, ME, READ_WRITE)
    one.sync()
    one.write(handle, 0, b"ours")
    fence(lambda: write_file(other, other.root, "x", b"x"))
    with pytest.raises(FsError) as lost:
        one.fsync(handle)
    assert lost.value.kind in (Kind.FENCED, Kind.CONFLICT)
    one.fsync(handle)


def test_the_user_hears_of_it(
    one: LocalFs, other: LocalFs, fence: Fencing, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_file(one, one.root, "a", b"ours")
    fence(lambda: write_file(other, other.root, "x", b"x"))
    ((path, note),) = kept_in(kept)
    assert (note.files, note.directory, path.stat().st_mode & 0o777) == (1, None, 0o600)
    assert note.tree is not None
    assert note.tree.startswith(f"/{RECOVERED}/")
    assert f"1 objects that could not be saved are kept in {note.tree}" in caplog.text


def test_where_the_tree_cannot_be_written_they_are_kept_on_this_machine(
    one: LocalFs, other: LocalFs, fence: Fencing, far: FarStore, kept: Path
) -> None:
    write_file(one, one.mkdir(one.root, "d", 0o755, ME).inode, "a", b"ours")

    def meanwhile() -> None:
        write_file(other, other.root, "x", b"x")
        far.refuses = True

    fence(meanwhile)
    ((_, note),) = kept_in(kept)
    assert note.directory is not None
    path = Path(note.directory) / "d/a"
    assert path.read_bytes() == b"ours"
    assert (path.stat().st_mode & 0o777, Path(note.directory).stat().st_mode & 0o777) == (0o600, 0o700)


def test_what_is_uncommitted_at_the_end_is_kept_on_this_machine(one: LocalFs, far: FarStore, kept: Path) -> None:
    inode = write_file(one, one.root, "a", b"0" * (2 * SECTOR))
    one.sync()
    with opened(one, inode, READ_WRITE) as handle:
        one.write(handle, SECTOR, b"1" * SECTOR)
    write_file(one, one.root, "b", b"new")
    far.away = True
    with pytest.raises(FsError):
        one.shutdown()
    ((_, note),) = kept_in(kept)
    assert note.directory is not None
    found = {path.name: path.read_bytes() for path in Path(note.directory).iterdir()}
    assert found == {"a": b"0" * SECTOR + b"1" * SECTOR, "b": b"new"}


def test_nothing_is_kept_where_nothing_was_lost(one: LocalFs, kept: Path) -> None:
    write_file(one, one.root, "a", b"a")
    one.shutdown()
    assert not kept.exists()


def test_a_note_that_is_none_is_passed_over(kept: Path) -> None:
    kept.mkdir()
    (kept / "x.json").write_text("{")
    (kept / "y.json").write_text('{"name": 1}')
    assert kept_in(kept) == []
