"""Looking for holes and data: against a list of what each sector is, and in files too large for one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from btfproto.errors import FsError
from btfproto.localfs import LocalFs
from btfproto.provider import AllocateMode, AttributeChanges, Handle, OpenFlags, Owner, Seek
from btfproto.store import RecordRef, Records
from btfproto.testing.domains import World
from btlib.kinds import Kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import OpenFs
from .test_evil_store import EvilStore

SECTOR = 4096
SECTORS = 600  # more than two Merkle nodes
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE

Step = tuple[str, int, int]
RANGES = st.tuples(st.integers(0, SECTORS - 1), st.integers(1, SECTORS))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, SECTORS - 1), st.integers(1, 40)),
        st.builds(lambda span: ("punch", *span), RANGES),
        st.builds(lambda span: ("cut", *span), RANGES),
        st.just(("commit", 0, 0)),
    ),
    max_size=8,
)


def created(fs: LocalFs, size: int = SECTORS * SECTOR) -> Handle:
    attributes, handle = fs.create(fs.root, "f", 0o644, Owner(0, 0), READ_WRITE)
    fs.setattr(attributes.inode, AttributeChanges(size=size))
    return handle


def carry_out(fs: LocalFs, handle: Handle, step: Step, data: list[bool]) -> None:
    """One step, and what becomes of the sectors by it."""
    kind, first, count = step
    end = min(first + count, SECTORS)
    if kind == "write":
        fs.write(handle, first * SECTOR, b"x" * SECTOR * (end - first))
        data[first:end] = [True] * (end - first)
    elif kind == "punch":
        fs.fallocate(handle, AllocateMode.PUNCH_HOLE, first * SECTOR, (end - first) * SECTOR)
        data[first:end] = [False] * (end - first)
    elif kind == "cut":
        inode = fs.lookup(fs.root, "f").inode
        fs.setattr(inode, AttributeChanges(size=first * SECTOR))
        fs.setattr(inode, AttributeChanges(size=SECTORS * SECTOR))
        data[first:] = [False] * (SECTORS - first)
    else:
        fs.sync()


def sought(fs: LocalFs, handle: Handle, offset: int, whence: Seek) -> int | None:
    try:
        return fs.seek(handle, offset, whence)
    except FsError as error:
        assert error.kind is Kind.RANGE  # noqa: PT017 - there is no more data
        return None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, offsets=st.lists(st.integers(0, SECTORS * SECTOR - 1), min_size=1, max_size=4))
def test_holes_and_data_are_found_where_they_are(open_fs: OpenFs, steps: Sequence[Step], offsets: list[int]) -> None:
    fs = open_fs()
    if fs.readdir(fs.root, 0, 1):  # of the example before
        fs.unlink(fs.root, "f")
    handle, data = created(fs), [False] * SECTORS
    for step in steps:
        carry_out(fs, handle, step, data)
    for offset in [*offsets, 0]:
        for whence, wanted in ((Seek.DATA, True), (Seek.HOLE, False)):
            index = next((i for i in range(offset // SECTOR, SECTORS) if data[i] is wanted), None)
            expected = None if index is None else max(offset, index * SECTOR)
            if expected is None and whence is Seek.HOLE:
                expected = SECTORS * SECTOR
            assert sought(fs, handle, offset, whence) == expected
    fs.close(handle)


class CountingStore(EvilStore):
    """Counts the records that are read."""

    reads = 0

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        self.reads += len(refs)
        return super().read_records(block, refs)


@pytest.mark.parametrize("size", [2**30, 2**43])
def test_a_seek_over_a_huge_hole_reads_a_path_of_nodes(world: World, open_fs: OpenFs, size: int) -> None:
    store = CountingStore(world.store)
    fs = open_fs(store=store)
    handle = created(fs, size)
    fs.write(handle, size - 1, b"x")
    fs.fsync(handle)
    fs.close(handle)
    handle = fs.open(fs.lookup(fs.root, "f").inode, OpenFlags.READ)
    store.reads = 0
    assert fs.seek(handle, 0, Seek.DATA) == size - SECTOR
    assert fs.seek(handle, 0, Seek.HOLE) == 0
    assert fs.seek(handle, size - 1, Seek.HOLE) == size
    assert store.reads < 10
