"""Reading in sequence: the next window is fetched by a thread, and nobody notices but for the time it takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.provider import Handle, OpenFlags
from btfproto.store import RecordRef, Records, Store
from btfproto.testing.domains import World
from btfproto.testing.provider import write_file
from btlib.kinds import Kind

from .conftest import OpenFs
from .test_evil_store import EvilStore

SECTOR = 16_384
STEP = 4 * SECTOR
OPTIONS = FsOptions(commit_interval=None, read_ahead=16)
CONTENT = b"".join(number.to_bytes(4, "little") * (SECTOR // 4) for number in range(200))


class WatchedStore(EvilStore):
    """Notes who reads how many records; what other threads than the test's ask for may be made to fail."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.ahead: list[int] = []
        self.fails_ahead = False
        self._main = threading.get_ident()

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        if threading.get_ident() != self._main:
            self.ahead += [ref.index for ref in refs]
            if self.fails_ahead:
                return Records(1, [None] * len(refs))
        return super().read_records(block, refs)


@pytest.fixture
def store(world: World, open_fs: OpenFs) -> WatchedStore:
    """A store with one large file, `f`."""
    with open_fs() as fs:
        write_file(fs, fs.root, "f", CONTENT)
    return WatchedStore(world.store)


def open_file(fs: LocalFs, flags: OpenFlags = OpenFlags.READ) -> Handle:
    return fs.open(fs.lookup(fs.root, "f").inode, flags)


def read_through(fs: LocalFs, handle: Handle, step: int = STEP) -> bytes:
    return b"".join(fs.read(handle, at, step) for at in range(0, len(CONTENT), step))


@pytest.mark.parametrize("step", [SECTOR // 2, STEP, 5 * SECTOR + 77, 40 * SECTOR])
def test_a_sequential_reader_gets_the_content_whatever_its_step(
    store: WatchedStore, open_fs: OpenFs, step: int
) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    assert read_through(fs, open_file(fs), step) == CONTENT


def test_a_sequential_reader_finds_its_next_window_fetched(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    read_through(fs, open_file(fs))
    assert len(store.ahead) == len(set(store.ahead)) > 100


def test_a_random_reader_starts_no_thread(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    handle = open_file(fs)
    for number in range(200):
        index = number * 77 % 200
        assert fs.read(handle, index * SECTOR, SECTOR) == CONTENT[index * SECTOR : (index + 1) * SECTOR]
    assert not store.ahead


def test_a_failure_ahead_is_dropped_and_the_read_fetches_again(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    store.fails_ahead = True
    assert read_through(fs, open_file(fs)) == CONTENT
    assert store.ahead


def test_damage_ahead_is_reported_to_who_reads_it(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    handle = open_file(fs)
    store.target = fs.table[fs.lookup(fs.root, "f").inode].store.block
    store.lie = lambda refs, records: [
        None if ref.level == 0 and ref.index == 150 else record for ref, record in zip(refs, records, strict=True)
    ]
    bad = 150 * SECTOR // STEP * STEP
    for at in range(0, bad, STEP):
        assert fs.read(handle, at, STEP) == CONTENT[at : at + STEP]
    with pytest.raises(FsError) as caught:
        fs.read(handle, bad, STEP)
    assert caught.value.kind is Kind.INTEGRITY
    assert "/f" in str(caught.value)


def test_what_is_written_and_committed_meanwhile_is_read(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    handle = open_file(fs, OpenFlags.READ | OpenFlags.WRITE)
    content = bytearray(CONTENT)
    for at in range(0, len(content), STEP):
        assert fs.read(handle, at, STEP) == content[at : at + STEP]
        place = at + 9 * SECTOR + 5  # within the window that is being fetched
        if place + 100 < len(content):
            content[place : place + 100] = b"!" * 100
            fs.write(handle, place, b"!" * 100)
            fs.fsync(handle)


def test_shutdown_ends_the_thread(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    read_through(fs, open_file(fs))
    assert "localfs-ahead" in {thread.name for thread in threading.enumerate()}
    fs.shutdown()
    assert "localfs-ahead" not in {thread.name for thread in threading.enumerate()}
