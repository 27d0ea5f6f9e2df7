"""Reading in sequence: the next chunks are fetched by a thread, and nobody notices but for the time it takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.provider import AttributeChanges, Handle, OpenFlags, Owner
from btfproto.store import RecordRef, Records, Store
from btfproto.testing.domains import World
from btfproto.testing.provider import write_file
from btlib.kinds import Kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import OpenFs
from .test_evil_store import EvilStore

SECTOR = 4096
CHUNK = 256 * SECTOR
STEP = 128 * 1024
OWNER = Owner(0, 0)
OPTIONS = FsOptions(commit_interval=None)
SECTORS = 1200  # four chunks and a part of one
CONTENT = b"".join(number.to_bytes(4, "little") * (SECTOR // 4) for number in range(SECTORS)) + b"and a little more"


@pytest.fixture(autouse=True, params=["compiled", "python"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiled loops over sectors and without, where both are there."""
    if request.param == "compiled":
        pytest.importorskip("btspeed", exc_type=ImportError)
    monkeypatch.setattr("btlib.block._cipher.COMPILED", request.param == "compiled")


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


@pytest.mark.parametrize("step", [SECTOR // 2, STEP, 50 * SECTOR + 77, CHUNK, CHUNK + SECTOR, 3 * CHUNK + 5])
def test_a_sequential_reader_gets_the_content_whatever_its_step(
    store: WatchedStore, open_fs: OpenFs, step: int
) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    assert read_through(fs, open_file(fs), step) == CONTENT


def test_a_sequential_reader_finds_its_next_chunks_fetched(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    read_through(fs, open_file(fs))
    assert len(store.ahead) == len(set(store.ahead)) > 500


def test_a_sequential_reader_whose_reads_come_in_any_order_finds_its_next_chunks_fetched(
    store: WatchedStore, open_fs: OpenFs
) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    handle = open_file(fs)
    for at in range(0, len(CONTENT), 3 * STEP):
        for offset in (at + STEP, at + 2 * STEP, at):
            assert fs.read(handle, offset, STEP) == CONTENT[offset : offset + STEP]
    assert len(store.ahead) == len(set(store.ahead)) > 500


def test_a_sequential_reader_asks_for_the_nodes_of_many_chunks_at_once(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    handle = open_file(fs)
    asked: list[int] = []
    store.target = fs.table[fs.lookup(fs.root, "f").inode].store.block

    def note(refs: Sequence[RecordRef], records: list[bytes | None]) -> list[bytes | None]:
        if refs[0].level:
            asked.append(len(refs))
        return records

    store.lie = note
    assert read_through(fs, handle) == CONTENT
    assert len(asked) <= 2
    assert sum(asked) == 6


def test_a_damaged_node_ahead_is_reported_to_who_reads_there(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    handle = open_file(fs)
    store.target = fs.table[fs.lookup(fs.root, "f").inode].store.block
    store.lie = lambda refs, records: [
        b"x" * 32 if (ref.level, ref.index) == (1, 3) else record for ref, record in zip(refs, records, strict=True)
    ]
    for at in range(0, 3 * CHUNK, STEP):
        assert fs.read(handle, at, STEP) == CONTENT[at : at + STEP]
    with pytest.raises(FsError) as caught:
        fs.read(handle, 3 * CHUNK, STEP)
    assert caught.value.kind is Kind.INTEGRITY


def test_a_random_reader_starts_no_thread(store: WatchedStore, open_fs: OpenFs) -> None:
    fs = open_fs(store=store, options=OPTIONS)
    handle = open_file(fs)
    for number in range(200):
        index = number * 77 % SECTORS
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
        None if ref.level == 0 and ref.index == 700 else record for ref, record in zip(refs, records, strict=True)
    ]
    bad = 700 * SECTOR // STEP * STEP
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
        place = at + CHUNK + 9 * SECTOR + 5  # within a chunk that is being fetched
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


def test_a_file_of_holes_reads_as_zeros_in_chunks(world: World, open_fs: OpenFs) -> None:
    with open_fs() as fs:
        _, handle = fs.create(fs.root, "sparse", 0o644, OWNER, OpenFlags.READ | OpenFlags.WRITE)
        fs.write(handle, 2 * CHUNK + 100, b"data")
        fs.setattr(fs.lookup(fs.root, "sparse").inode, AttributeChanges(size=5 * CHUNK))
    fs = open_fs(options=OPTIONS)
    handle = fs.open(fs.lookup(fs.root, "sparse").inode, OpenFlags.READ)
    read = b"".join(fs.read(handle, at, STEP) for at in range(0, 5 * CHUNK, STEP))
    assert read == bytes(2 * CHUNK + 100) + b"data" + bytes(3 * CHUNK - 104)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_written_cut_and_committed_between_is_read_in_sequence(
    open_fs: OpenFs, data: st.DataObject
) -> None:
    place = st.integers(0, len(CONTENT))
    with open_fs(options=OPTIONS) as fs:
        name = f"f{data.draw(st.integers(0, 2**32))}"
        _, handle = fs.create(fs.root, name, 0o644, OWNER, OpenFlags.READ | OpenFlags.WRITE)
        inode = fs.lookup(fs.root, name).inode
        fs.write(handle, 0, CONTENT)
        model, at = bytearray(CONTENT), 0
        step = data.draw(st.sampled_from((STEP, CHUNK, CHUNK // 2 + 77)))
        for _ in range(data.draw(st.integers(5, 40))):
            match data.draw(st.sampled_from(("read", "read", "read", "read", "write", "cut", "fsync", "back"))):
                case "read":
                    assert fs.read(handle, at, step) == model[at : at + step]
                    at = min(at + step, len(model))
                case "write":
                    where, piece = data.draw(place), data.draw(st.binary(min_size=1, max_size=9000))
                    model.extend(bytes(max(where + len(piece) - len(model), 0)))
                    model[where : where + len(piece)] = piece
                    fs.write(handle, where, piece)
                case "cut":
                    size = data.draw(place)
                    model[size:] = bytes(max(size - len(model), 0))
                    fs.setattr(inode, AttributeChanges(size=size))
                case "fsync":
                    fs.fsync(handle)
                case "back":
                    at = data.draw(place)
