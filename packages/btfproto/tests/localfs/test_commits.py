"""Groups: what is committed together, what never is, and what happens when the store refuses."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions
from btfproto.localfs._entropy import Entropy
from btfproto.provider import AllocateMode, AttributeChanges, FileKind, OpenFlags, Owner
from btfproto.store import Commit, CommitAnswer, HeadAnswer, HeadWant, MemoryStore, RecordRef, Records
from btfproto.testing.domains import World
from btfproto.testing.provider import list_names, opened, read_file, read_tree, write_file
from btlib.kinds import Kind

from .conftest import OpenFs, make_world

ME = Owner(1, 1)


class CountingStore(MemoryStore):
    """Remembers commits; can hold them up, and refuse them."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Commit] = []
        self.reads = 0
        self.head_requests = 0
        self.fault: Kind | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def commit(self, commit: Commit) -> CommitAnswer:
        self.entered.set()
        assert self.gate.wait(10)
        if self.fault is not None:
            raise StoreError(self.fault, "as the test wants it")
        self.commits.append(commit)
        return super().commit(commit)

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        self.reads += 1
        return super().read_records(block, refs)

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        self.head_requests += 1
        return super().read_heads(wants)

    def sizes(self) -> list[int]:
        """Stored bytes of each commit."""
        return [
            sum(len(record) for change in commit.changes for run in change.runs for record in run.records)
            for commit in self.commits
        ]


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def world(store: CountingStore) -> World:
    return make_world(store)


def test_a_group_is_one_commit_of_what_changed(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    for number in range(10):
        write_file(fs, fs.root, f"f{number}", b"x")
    fs.sync()
    assert len(store.commits[-1].changes) == 11
    count = len(store.commits)
    fs.sync()
    with opened(fs, fs.lookup(fs.root, "f1").inode) as handle:
        fs.fsync(handle)
    assert len(store.commits) == count


def test_what_was_made_and_removed_in_one_group_is_never_stored(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    inode = write_file(fs, fs.root, "a", b"x" * 100_000)
    block = fs.inode_of(inode).store.block
    fs.unlink(fs.root, "a")
    fs.mkdir(fs.root, "d", 0o755, ME)
    fs.rmdir(fs.root, "d")
    fs.sync()
    assert block not in {change.block for commit in store.commits for change in commit.changes}
    assert len(store.commits[-1].changes) == 1  # the root directory's times


def test_a_small_temporary_file_without_a_name_stays_in_memory(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    shown, handle = fs.create(fs.root, "a", 0o600, ME, OpenFlags.READ | OpenFlags.WRITE)
    block = fs.inode_of(shown.inode).store.block
    fs.unlink(fs.root, "a")
    fs.write(handle, 0, b"x" * 50_000)
    fs.sync()
    fs.fsync(handle)
    assert fs.read(handle, 0, 100_000) == b"x" * 50_000
    fs.close(handle)
    fs.sync()
    assert block not in {change.block for commit in store.commits for change in commit.changes}


def test_a_removed_file_becomes_a_tombstone(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    block = fs.inode_of(write_file(fs, fs.root, "a", b"x" * 100_000)).store.block
    fs.sync()
    fs.unlink(fs.root, "a")
    fs.sync()
    change = {change.block: change for change in store.commits[-1].changes}[block]
    assert (change.removed, change.expected, change.version) == (True, 1, 2)


def test_a_file_removed_while_its_first_commit_is_under_way_leaves_nothing(
    store: CountingStore, open_fs: OpenFs
) -> None:
    fs = open_fs()
    fs.setattr(fs.root, AttributeChanges(mode=0o700))
    fs.sync()  # the writer's record is there
    block = fs.inode_of(write_file(fs, fs.root, "a", b"x")).store.block
    store.gate.clear()
    store.entered.clear()
    thread = threading.Thread(target=fs.sync)
    thread.start()
    assert store.entered.wait(10)
    fs.unlink(fs.root, "a")
    store.gate.set()
    thread.join()
    fs.sync()
    assert [change.removed for commit in store.commits for change in commit.changes if change.block == block] == [
        False,
        True,
    ]


def test_calls_go_on_while_a_group_is_committed(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    inode = write_file(fs, fs.root, "a", b"first" * 10_000)
    fs.sync()
    write_file(fs, fs.root, "a", b"second" * 10_000)
    store.gate.clear()
    store.entered.clear()
    thread = threading.Thread(target=fs.sync)
    thread.start()
    assert store.entered.wait(10)
    assert read_file(fs, inode) == b"second" * 10_000
    with opened(fs, inode, OpenFlags.READ | OpenFlags.WRITE) as handle:
        fs.write(handle, 20_000, b"third")
        fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 0, 16_384)
        now = fs.read(handle, 0, 100_000)
    write_file(fs, fs.root, "b", b"new")
    store.gate.set()
    thread.join()
    assert read_file(fs, inode) == now
    other = open_fs()
    assert read_tree(other, other.root) == {"a": b"second" * 10_000}
    fs.sync()
    other = open_fs()
    assert read_tree(other, other.root) == {"a": now, "b": b"new"}


def test_calls_to_fsync_at_once_share_a_commit(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    fs.setattr(fs.root, AttributeChanges(mode=0o700))
    fs.sync()
    handles = [fs.create(fs.root, f"f{n}", 0o600, ME, OpenFlags.WRITE)[1] for n in range(8)]
    count = len(store.commits)
    store.gate.clear()
    store.entered.clear()
    threads = [threading.Thread(target=fs.fsync, args=(handle,)) for handle in handles]
    for thread in threads:
        thread.start()
    assert store.entered.wait(10)
    store.gate.set()
    for thread in threads:
        thread.join()
    assert len(store.commits) == count + 1


@pytest.mark.parametrize("kind", [Kind.NO_SPACE, Kind.IO, Kind.UNREACHABLE, Kind.FORBIDDEN])
def test_a_failed_commit_is_reported_and_loses_nothing(kind: Kind, store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    inode = write_file(fs, fs.root, "a", b"x" * 50_000)
    fs.sync()
    handle = fs.open(inode, OpenFlags.READ | OpenFlags.WRITE)
    fs.write(handle, 10, b"changed")
    store.fault = kind
    for _ in range(2):
        with pytest.raises(FsError, match="could not be saved yet") as error:
            fs.fsync(handle)
        assert error.value.kind is kind
    fs.write(handle, 30_000, b"more")
    fs.setattr(inode, AttributeChanges(size=40_000))
    write_file(fs, fs.root, "b", b"later")
    with pytest.raises(FsError, match="/a: ") as error:
        fs.flush(handle)
    assert error.value.kind is kind
    fs.flush(handle)  # told once
    expected = bytearray(b"x" * 40_000)
    expected[10:17], expected[30_000:30_004] = b"changed", b"more"
    assert fs.read(handle, 0, 100_000) == bytes(expected)
    store.fault = None
    fs.fsync(handle)
    other = open_fs()
    assert read_tree(other, other.root) == {"a": bytes(expected), "b": b"later"}


def test_an_unknown_outcome_is_asked_for_with_the_same_request(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    fs.setattr(fs.root, AttributeChanges(mode=0o700))
    fs.sync()
    seen: list[bytes] = []
    honest = store.commit

    def lossy(commit: Commit) -> CommitAnswer:
        answer = honest(commit)
        seen.append(commit.request)
        if len(seen) < 3:
            raise StoreError(Kind.UNREACHABLE, "the answer was lost")
        return answer

    store.commit = lossy  # type: ignore[method-assign]
    write_file(fs, fs.root, "a", b"x")
    for _ in range(2):
        with pytest.raises(FsError):
            fs.sync()
    fs.sync()
    assert len(seen) == 3
    assert len(set(seen)) == 1
    other = open_fs()
    assert read_tree(other, other.root) == {"a": b"x"}


def test_an_interrupted_commit_loses_nothing(open_fs: OpenFs, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", b"x" * 50_000)

    def interrupt(self: Entropy, size: int) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Entropy, "take", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fs.sync()
    fs.sync()
    other = open_fs()
    assert read_tree(other, other.root) == {"a": b"x" * 50_000}


def test_uncommitted_data_is_bounded(store: CountingStore, open_fs: OpenFs) -> None:
    limit = 2 * 2**20
    fs = open_fs(options=FsOptions(commit_interval=None, dirty_limit=limit))
    _, handle = fs.create(fs.root, "a", 0o600, ME, OpenFlags.WRITE)
    for number in range(80):
        fs.write(handle, number << 17, bytes(1 << 17))
        assert fs.dirty_bytes + fs.frozen_bytes <= limit
    fs.sync()
    assert max(store.sizes()) <= limit
    for number in range(5000):
        fs.mknod(fs.root, f"n{number}", FileKind.FIFO, 0o600, ME)
    assert len(fs.dirty) * 2048 <= limit


def test_a_full_store_stops_writers_not_readers(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs(options=FsOptions(commit_interval=None, dirty_limit=2**20))
    _, handle = fs.create(fs.root, "a", 0o600, ME, OpenFlags.READ | OpenFlags.WRITE)
    store.fault = Kind.NO_SPACE
    while fs.dirty_bytes < 2**19:
        fs.write(handle, fs.lookup(fs.root, "a").size, b"x" * (1 << 17))
    with pytest.raises(FsError) as error:
        fs.write(handle, 1 << 20, b"x")
    assert error.value.kind is Kind.NO_SPACE
    size = fs.lookup(fs.root, "a").size
    assert fs.read(handle, 0, 2**20) == b"x" * size
    store.fault = None
    fs.write(handle, size, b"y")
    fs.sync()


def test_a_background_commit_needs_no_call(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs(options=FsOptions(commit_interval=0.01))
    cursor = store.watch(0, bytes(16), 0).cursor
    write_file(fs, fs.root, "a", b"x")
    changed: set[bytes] = set()
    while fs.inode_of(fs.root).store.block not in changed:
        events = store.watch(cursor, bytes(16), 10)
        assert events.changes
        cursor = events.cursor
        changed |= {change.block for change in events.changes}


def test_a_create_in_a_large_directory_writes_little(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    for number in range(5000):
        fs.mknod(fs.root, f"n{number}", FileKind.FIFO, 0o600, ME)
    fs.sync()
    fs.mknod(fs.root, "one more", FileKind.FIFO, 0o600, ME)
    fs.sync()
    records = sum(len(run.records) for change in store.commits[-1].changes for run in change.runs)
    assert records <= 3  # a leaf, perhaps two, and the Merkle node above
    assert store.sizes()[-1] < 50_000


def test_a_small_change_in_a_large_file_writes_a_sector(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    inode = write_file(fs, fs.root, "a", bytes(1000) + b"x" * 10_000_000)
    fs.sync()
    fs = open_fs()
    handle = fs.open(fs.lookup(fs.root, "a").inode, OpenFlags.WRITE)
    fs.write(handle, 5_000_000, b"y")
    fs.fsync(handle)
    assert store.sizes()[-1] < 16_384 + 28 + 256 * 32 * 2 + 100
    assert inode


def test_a_punched_range_is_one_hole(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    inode = write_file(fs, fs.root, "a", b"x" * 3_000_000)
    fs.sync()
    with opened(fs, inode, OpenFlags.WRITE) as handle:
        fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 100_000, 2_000_000)
        fs.fsync(handle)
    holes = [hole for change in store.commits[-1].changes for hole in change.holes]
    assert {(hole.level, hole.first, hole.count) for hole in holes} == {(0, 25, 487), (1, 1, 1)}  # and a node
    assert fs.getattr(inode).blocks * 512 < 1_050_000


def test_a_small_file_is_read_with_its_head(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", b"x" * 1000)
    fs.sync()
    other = open_fs()
    inode = other.lookup(other.root, "a").inode
    before = store.reads
    assert read_file(other, inode) == b"x" * 1000
    assert store.reads == before


def test_a_sequential_reader_pays_few_requests(store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", b"x" * (8 << 20))
    fs.sync()
    other = open_fs()
    inode = other.lookup(other.root, "a").inode
    before = store.reads
    assert len(read_file(other, inode)) == 8 << 20
    assert store.reads - before < 20


@pytest.mark.parametrize("count", [40, 1000])
def test_who_walks_a_directory_pays_few_requests(count: int, store: CountingStore, open_fs: OpenFs) -> None:
    fs = open_fs()
    for number in range(count):
        fs.mknod(fs.root, f"n{number}", FileKind.FIFO, 0o600, ME)
    fs.sync()
    other = open_fs()
    before = store.head_requests
    for name in list_names(other, other.root):
        other.lookup(other.root, name)
    assert store.head_requests - before <= 3 + count // 50


def test_inodes_that_nobody_uses_are_forgotten(open_fs: OpenFs) -> None:
    fs = open_fs(options=FsOptions(commit_interval=None, inode_limit=50))
    for number in range(300):
        write_file(fs, fs.root, f"f{number}", b"%d" % number)
        if number % 50 == 49:
            fs.sync()
    assert len(fs.table) <= 101
    assert read_tree(fs, fs.root) == {f"f{number}": b"%d" % number for number in range(300)}
