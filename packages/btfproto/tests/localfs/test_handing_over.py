"""Writers hand a full group to the background thread, and go on while that one seals and commits it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.provider import Handle, OpenFlags, Owner
from btfproto.store import Commit, CommitAnswer
from btfproto.testing.domains import World
from btfproto.testing.provider import read_tree, write_file
from btlib.kinds import Kind

from .conftest import OpenFs, make_world
from .test_commits import CountingStore

ME = Owner(1, 1)
STEP = 128 * 1024
LIMIT = 2 * 2**20
ROOM = LIMIT // 2  #: of one group
OPTIONS = FsOptions(commit_interval=3600, dirty_limit=LIMIT)  # the thread commits only what is handed to it
PATIENCE = 20
BOTH = OpenFlags.READ | OpenFlags.WRITE


class SlowStore(CountingStore):
    """May also be busy until something is so, and fail by a defect of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.busy_until: Callable[[], bool] = lambda: True
        self.defect = False
        self._looked = threading.Condition()

    def look(self) -> None:
        with self._looked:
            self._looked.notify_all()

    def commit(self, commit: Commit) -> CommitAnswer:
        with self._looked:
            assert self._looked.wait_for(lambda: self.busy_until(), PATIENCE)
        if self.defect:
            assert self.gate.wait(PATIENCE)
            self.defect = False
            raise ZeroDivisionError
        return super().commit(commit)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Commits that begin now do not end."""
        self.entered.clear()
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def world(store: SlowStore) -> World:
    return make_world(store)


@pytest.fixture
def fs(open_fs: OpenFs) -> LocalFs:
    """What it is to know before its first group, it knows."""
    fs = open_fs(options=OPTIONS)
    write_file(fs, fs.root, "known", b"x")
    fs.sync()
    return fs


def piece(number: int) -> bytes:
    return number.to_bytes(4, "little") * (STEP // 4)


def waiting(fs: LocalFs) -> tuple[int, int]:
    """Bytes of the group that collects, and of the one before, at one moment."""
    with fs.mutex:
        return fs.dirty_bytes, fs.frozen_bytes


class Writer(threading.Thread):
    """Writes pieces until it is told to stop or why it cannot go on."""

    def __init__(self, fs: LocalFs, handle: Handle, count: int = 1000) -> None:
        super().__init__()
        self.fs, self.handle, self.count = fs, handle, count
        self.written = self.peak = 0
        self.full = threading.Event()  #: the next write has to wait
        self.error: FsError | None = None
        self.start()

    def run(self) -> None:
        try:
            while self.written < self.count:
                self.fs.write(self.handle, self.written * STEP, piece(self.written))
                self.written += 1
                dirty, frozen = waiting(self.fs)
                self.peak = max(self.peak, dirty + frozen)
                if frozen and (dirty >= ROOM or dirty + frozen > LIMIT):
                    self.full.set()
        except FsError as error:
            self.error = error

    def ended(self) -> bool:
        self.join(PATIENCE)
        return not self.is_alive()

    def content(self) -> bytes:
        return b"".join(map(piece, range(self.written)))


def create(fs: LocalFs, name: str = "f") -> Handle:
    return fs.create(fs.root, name, 0o600, ME, BOTH)[1]


def test_memory_is_bounded_while_a_slow_store_commits(store: SlowStore, fs: LocalFs, open_fs: OpenFs) -> None:
    handle, before = create(fs), len(store.commits)
    store.busy_until = lambda: fs.dirty_bytes >= ROOM or fs.dirty_bytes + fs.frozen_bytes > LIMIT
    for number in range(80):
        fs.write(handle, number * STEP, piece(number))
        assert sum(waiting(fs)) <= LIMIT + STEP
        store.look()
    store.busy_until = lambda: True
    store.look()
    fs.sync()
    assert 80 * STEP // LIMIT < len(store.commits) - before <= 80 * STEP // ROOM + 2
    assert read_tree(open_fs(), fs.root)["f"] == b"".join(map(piece, range(80)))


def test_memory_is_bounded_where_two_groups_failed_and_became_one(store: SlowStore, fs: LocalFs) -> None:
    handle, other = create(fs), create(fs, "other")
    with store.held():
        for number in range(12):  # one and a half groups: the first is on its way at the last write
            fs.write(handle, number * STEP, piece(number))
        assert store.entered.wait(PATIENCE)
        store.fault = Kind.NO_SPACE
    with pytest.raises(FsError):
        fs.fsync(handle)
    store.fault = None
    with store.held():
        writer = Writer(fs, other, 20)
        assert writer.full.wait(PATIENCE)
        assert fs.frozen_bytes >= 12 * STEP
    assert writer.ended()
    assert writer.written == 20
    assert writer.peak <= LIMIT + STEP


def test_a_writer_goes_on_while_the_store_is_busy_with_the_group_before(
    store: SlowStore, fs: LocalFs, open_fs: OpenFs
) -> None:
    handle, before = create(fs), len(store.commits)
    enough = 14  # three quarters of one group at the least, and all of the next
    with store.held():
        for number in range(enough):
            fs.write(handle, number * STEP, piece(number))
        assert store.entered.wait(PATIENCE)
        assert len(store.commits) == before
    fs.sync()
    assert read_tree(open_fs(), fs.root)["f"] == b"".join(map(piece, range(enough)))


def test_a_writer_waits_where_both_groups_are_full(store: SlowStore, fs: LocalFs) -> None:
    with store.held():
        writer = Writer(fs, create(fs), 40)
        assert writer.full.wait(PATIENCE)
        assert writer.written < 20
    assert writer.ended()
    assert (writer.written, writer.error) == (40, None)


@pytest.mark.parametrize("kind", [Kind.NO_SPACE, Kind.UNREACHABLE])
def test_who_waits_is_told_why_a_group_failed_and_nothing_is_lost(
    kind: Kind, store: SlowStore, fs: LocalFs, open_fs: OpenFs
) -> None:
    handle = create(fs)
    with store.held():
        writer = Writer(fs, handle)
        assert writer.full.wait(PATIENCE)
        store.fault = kind
    assert writer.ended()
    assert writer.error is not None
    assert writer.error.kind is kind
    assert "could not be saved yet" in writer.error.message
    assert fs.read(handle, 0, 2 * LIMIT) == writer.content()
    with pytest.raises(FsError, match="could not be saved yet"):
        fs.write(handle, 0, b"x")
    store.fault = None
    rest = Writer(fs, handle, writer.written + 10)
    assert rest.ended()
    assert rest.error is None
    fs.sync()
    assert read_tree(open_fs(), fs.root)["f"] == rest.content()


def test_a_file_system_that_is_given_up_lets_go_of_who_waits(store: SlowStore, fs: LocalFs) -> None:
    with store.held():
        writer = Writer(fs, create(fs))
        assert writer.full.wait(PATIENCE)
        giving_up = threading.Thread(target=fs.abandon)
        giving_up.start()
        assert writer.ended()
        commits = len(store.commits)
    giving_up.join(PATIENCE)
    assert not giving_up.is_alive()
    assert writer.error is not None
    assert len(store.commits) == commits + 1, "the one that was under way"


def test_a_shutdown_while_somebody_waits_ends(store: SlowStore, fs: LocalFs, open_fs: OpenFs) -> None:
    with store.held():
        writer = Writer(fs, create(fs))
        assert writer.full.wait(PATIENCE)
    fs.shutdown()
    assert writer.ended()
    assert writer.error is not None
    assert writer.error.kind in (Kind.BAD_HANDLE, Kind.STALE)
    saved = read_tree(open_fs(), fs.root)["f"]
    assert isinstance(saved, bytes)
    assert saved == writer.content()[: len(saved)]
    assert len(saved) > ROOM


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_waits_goes_on_by_himself_where_the_thread_died(store: SlowStore, fs: LocalFs, open_fs: OpenFs) -> None:
    with store.held():
        store.defect = True
        writer = Writer(fs, create(fs), 60)
        assert writer.full.wait(PATIENCE)
    assert writer.ended()
    assert (writer.written, writer.error) == (60, None)
    fs.sync()
    assert read_tree(open_fs(), fs.root)["f"] == writer.content()


def test_what_is_removed_but_open_goes_to_the_store_where_memory_is_short(store: SlowStore, fs: LocalFs) -> None:
    shown, handle = fs.create(fs.root, "f", 0o600, ME, BOTH)
    block = fs.inode_of(shown.inode).store.block
    fs.unlink(fs.root, "f")
    writer = Writer(fs, handle, 4 * ROOM // STEP)
    assert writer.ended()
    assert block in {change.block for commit in store.commits for change in commit.changes}
    assert fs.read(handle, 0, 4 * LIMIT) == writer.content()


def test_many_writers_and_who_syncs_meanwhile_do_not_stop_each_other(fs: LocalFs, open_fs: OpenFs) -> None:
    handles = [create(fs, f"f{number}") for number in range(4)]
    writers = [Writer(fs, handle, 50) for handle in handles]
    for handle in handles * 3:
        fs.fsync(handle)
    assert all(writer.ended() for writer in writers)
    fs.sync()
    found = read_tree(open_fs(), fs.root)
    assert [found[f"f{number}"] for number in range(4)] == [writer.content() for writer in writers]


@pytest.mark.parametrize("sectors", [1, 2, 9])
@pytest.mark.parametrize("step", [4096, 8192, 81_920])
def test_what_is_on_its_way_into_the_store_is_read_in_sequence(
    fs: LocalFs, store: SlowStore, sectors: int, step: int
) -> None:
    """Nothing may be looked for in the store by the hashes of what is not there yet: the file grows by this commit."""
    handle = fs.create(fs.root, "growing", 0o600, ME, BOTH)[1]
    model = bytearray(piece(1)[:4096] * sectors)
    fs.write(handle, 0, bytes(model))
    fs.sync()
    model = model.ljust(20 * 4096, b"\0") + b"end"
    model[:5] = b"begin"
    fs.write(handle, 0, b"begin")
    fs.write(handle, 20 * 4096, b"end")
    syncing = threading.Thread(target=fs.sync)
    with store.held():
        syncing.start()
        assert store.entered.wait(PATIENCE)
        for _ in range(4):
            fs.sectors.clear()  # as if the cache were small
            assert b"".join(fs.read(handle, at, step) for at in range(0, len(model), step)) == model
    syncing.join(PATIENCE)
