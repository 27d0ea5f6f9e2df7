"""What compiled code may read without asking is what `LocalFs.read` gives, at every moment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from btfproto.localfs import FsOptions, LocalFs
from btfproto.localfs._direct import FILLED_AT
from btfproto.provider import AllocateMode, AttributeChanges, Handle, OpenFlags, Owner, ReadsDirectly
from btfproto.store import EmbeddedStore
from btfproto.testing.domains import World
from btfproto.testing.provider import opened, write_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import OpenFs, make_world

btspeed = pytest.importorskip("btspeed", exc_type=ImportError)

SECTOR = 4096
SECTORS = 600  # two whole pages and a part of one
BOTH = OpenFlags.READ | OpenFlags.WRITE
OPTIONS = FsOptions(commit_interval=None, cache_bytes=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path, segment_size=400_000)
    yield store
    store.close()


@pytest.fixture
def world(store: EmbeddedStore) -> World:
    return make_world(store)


def sector(number: int, version: int = 0) -> bytes:
    return number.to_bytes(4, "little") * 512 + version.to_bytes(4, "little") * 512


@pytest.fixture
def fs(open_fs: OpenFs) -> LocalFs:
    fs = open_fs(options=OPTIONS)
    write_file(fs, fs.root, "f", b"".join(map(sector, range(SECTORS))) + b"end")
    fs.sync()
    return fs


@pytest.fixture
def inode(fs: LocalFs) -> int:
    return fs.lookup(fs.root, "f").inode


@pytest.fixture
def handle(fs: LocalFs, inode: int) -> Iterator[Handle]:
    with opened(fs, inode, BOTH) as handle:
        yield handle


def read_about(fs: LocalFs, handle: Handle, first: int = 0, end: int = SECTORS) -> None:
    """Here and there, often enough that the pages are filled."""
    for number in range(FILLED_AT * -(-(end - first) // 256) * 8):
        fs.read(handle, (first + number * 53 % (end - first)) * SECTOR, SECTOR)


def direct(fs: LocalFs, inode: int, offset: int, size: int = SECTOR) -> bytes | None:
    assert fs.read_table is not None
    fs.read_table.serve(inode, 0, 3 * SECTOR)  # somebody was elsewhere
    return fs.read_table.serve(inode, offset, size)


def test_pages_in_which_somebody_reads_here_and_there_are_read_directly(
    fs: LocalFs, inode: int, handle: Handle
) -> None:
    assert isinstance(fs, ReadsDirectly)
    assert direct(fs, inode, 70 * SECTOR) is None
    read_about(fs, handle)
    for number in (70, 300, SECTORS - 1):
        assert direct(fs, inode, number * SECTOR) == sector(number)


def test_whoever_reads_in_sequence_fills_no_page(fs: LocalFs, inode: int, handle: Handle) -> None:
    for _ in range(3):
        for number in range(100):
            fs.read(handle, number * SECTOR, SECTOR)
    assert direct(fs, inode, 70 * SECTOR) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda fs, inode, handle: fs.write(handle, 70 * SECTOR, b"x"),
        lambda fs, inode, handle: fs.write(handle, 599 * SECTOR, b"x"),
        lambda fs, inode, handle: fs.setattr(inode, AttributeChanges(size=100 * SECTOR)),
        lambda fs, inode, handle: fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 69 * SECTOR, 3 * SECTOR),
        lambda fs, inode, handle: fs.close(fs.open(inode, OpenFlags.WRITE | OpenFlags.TRUNCATE)),
        lambda fs, inode, handle: fs.stop_reading(),
    ],
    ids=["write", "write elsewhere", "truncate", "punch", "open to truncate", "stop"],
)
def test_a_change_ends_it_at_once(fs: LocalFs, inode: int, handle: Handle, change: object) -> None:
    read_about(fs, handle)
    assert direct(fs, inode, 70 * SECTOR) == sector(70)
    change(fs, inode, handle)  # type: ignore[operator]
    assert direct(fs, inode, 70 * SECTOR) is None
    read_about(fs, handle)
    if inode in fs.dirty:
        assert direct(fs, inode, 70 * SECTOR) is None


def test_after_the_commit_it_begins_again_with_the_new_content(fs: LocalFs, inode: int, handle: Handle) -> None:
    read_about(fs, handle)
    fs.write(handle, 70 * SECTOR, sector(70, 1))
    fs.fsync(handle)
    assert direct(fs, inode, 70 * SECTOR) is None
    read_about(fs, handle)
    assert direct(fs, inode, 70 * SECTOR) == sector(70, 1)


def test_nothing_is_kept_of_a_file_that_nobody_has_open(fs: LocalFs, inode: int) -> None:
    with opened(fs, inode, BOTH) as handle:
        read_about(fs, handle)
    assert direct(fs, inode, 70 * SECTOR) is None


def test_a_tree_that_others_change_is_never_read_directly(open_fs: OpenFs, fs: LocalFs) -> None:
    assert open_fs(options=FsOptions(commit_interval=None, shared=True)).read_table is None


def open_segments() -> set[str]:
    """Names of the segments that this process holds open and that are gone from their directory."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    names = {str(link.readlink()) for link in links if link.is_symlink()}
    return {name for name in names if name.endswith(".seg (deleted)")}


def test_a_segment_that_was_emptied_is_let_go(fs: LocalFs, inode: int, handle: Handle) -> None:
    """Else its room would be taken as long as nobody reads there."""
    _, other = fs.create(fs.root, "g", 0o644, Owner(0, 0), BOTH)
    for number in range(0, SECTORS, 10):  # both files in all segments
        for changed in (handle, other):
            fs.write(changed, number * SECTOR, b"".join(sector(at) for at in range(number, number + 10)))
            fs.fsync(changed)
    read_about(fs, handle)
    assert direct(fs, inode, 70 * SECTOR) == sector(70)
    for version in range(20):
        for number in range(0, SECTORS, 20):
            fs.write(other, number * SECTOR, b"".join(sector(at, version) for at in range(number, number + 20)))
            fs.fsync(other)
    assert not open_segments()
    read_about(fs, handle)
    assert direct(fs, inode, 70 * SECTOR) == sector(70)
    fs.close(other)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, SECTORS), st.integers(1, 9000)),
        st.tuples(st.just("cut"), st.integers(0, SECTORS), st.integers(0, SECTOR)),
        st.tuples(st.just("punch"), st.integers(0, SECTORS), st.integers(1, 5 * SECTOR)),
        st.tuples(st.just("read"), st.integers(0, SECTORS), st.integers(0, 1000)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@given(steps=STEPS, seed=st.integers(0, 2**32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_whatever_happens_to_a_file_what_is_read_directly_is_its_content(
    fs: LocalFs, inode: int, steps: list[tuple[str, int, int]], seed: int
) -> None:
    chooser = random.Random(seed)
    content = bytearray(b"".join(map(sector, range(SECTORS))))
    with opened(fs, inode, BOTH) as handle:
        fs.setattr(inode, AttributeChanges(size=0))
        fs.write(handle, 0, bytes(content))
        fs.fsync(handle)
        for number, (what, index, size) in enumerate(steps):
            at = index * SECTOR + size % 7
            if what == "write":
                data = bytes([number % 255 + 1]) * size
                fs.write(handle, at, data)
                content.extend(bytes(max(at - len(content), 0)))
                content[at : at + size] = data
            elif what == "cut":
                fs.setattr(inode, AttributeChanges(size=index * SECTOR + size))
                del content[index * SECTOR + size :]
                content.extend(bytes(index * SECTOR + size - len(content)))
            elif what == "punch":
                fs.fallocate(handle, AllocateMode.PUNCH_HOLE, at, size)
                end = min(at + size, len(content))
                content[at:end] = bytes(max(end - at, 0))
            elif what == "sync":
                fs.fsync(handle)
            else:
                read_about(fs, handle)
            for _ in range(30):
                start = chooser.randrange(SECTORS) * SECTOR + chooser.choice((0, 0, 1, 4000))
                length = chooser.choice((SECTOR, 96, 1))
                found = direct(fs, inode, start, length)
                assert found is None or found == content[start : start + length]
        fs.fsync(handle)
        read_about(fs, handle)
        assert fs.read(handle, 0, len(content) + 1) == content
