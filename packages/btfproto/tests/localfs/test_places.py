"""Reads here and there over a store of this machine, whose records are opened where they lie."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.provider import OpenFlags
from btfproto.store import EmbeddedStore, Place
from btfproto.testing.provider import opened, write_file
from btlib.kinds import Kind

from .conftest import OpenFs, make_world

pytest.importorskip("btspeed", exc_type=ImportError)

SECTOR = 4096
SECTORS = 100
NO_MEMORY = FsOptions(commit_interval=None, cache_bytes=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path, segment_size=200_000)
    yield store
    store.close()


@pytest.fixture
def world(store: EmbeddedStore) -> object:
    return make_world(store)


def sector(number: int, version: int = 0) -> bytes:
    return number.to_bytes(4, "little") * 512 + version.to_bytes(4, "little") * 512


@pytest.fixture
def fs(open_fs: OpenFs) -> LocalFs:
    fs = open_fs(options=NO_MEMORY)
    write_file(fs, fs.root, "f", b"".join(map(sector, range(SECTORS))) + b"end")
    fs.sync()
    return fs


@pytest.fixture
def places(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> list[Place | None]:
    """What the store said."""
    given: list[Place | None] = []
    place = store.place

    def noted(block: bytes, index: int) -> Place | None:
        given.append(place(block, index))
        return given[-1]

    monkeypatch.setattr(store, "place", noted)
    return given


def test_sectors_are_opened_where_they_lie_while_they_are_written_and_moved(
    fs: LocalFs, places: list[Place | None]
) -> None:
    chooser = random.Random(7)
    versions = [0] * SECTORS
    with opened(fs, fs.lookup(fs.root, "f").inode, OpenFlags.READ | OpenFlags.WRITE) as handle:
        for version in range(1, 120):
            for number in chooser.sample(range(SECTORS), 8):
                fs.write(handle, number * SECTOR, sector(number, version))
                versions[number] = version
            fs.fsync(handle)
            for number in chooser.sample(range(0, SECTORS, 3), 8):
                assert fs.read(handle, number * SECTOR, SECTOR) == sector(number, versions[number])
    assert sum(place is not None for place in places) > 100


def test_a_part_of_a_sector_and_what_lies_beyond_the_end(fs: LocalFs, places: list[Place | None]) -> None:
    with opened(fs, fs.lookup(fs.root, "f").inode, OpenFlags.READ) as handle:
        assert fs.read(handle, 50 * SECTOR + 2046, 4) == sector(50)[2046:2050]
        assert fs.read(handle, 20 * SECTOR + 2046, SECTOR - 2046) == sector(20)[2046:]
        assert fs.read(handle, SECTORS * SECTOR, SECTOR) == b"end"
        assert fs.read(handle, SECTORS * SECTOR + 1, SECTOR) == b"nd"
    assert places


def test_a_hole_has_no_place(fs: LocalFs, places: list[Place | None]) -> None:
    with opened(fs, fs.lookup(fs.root, "f").inode, OpenFlags.READ | OpenFlags.WRITE) as handle:
        fs.write(handle, (SECTORS + 50) * SECTOR, b"far")
        fs.fsync(handle)
        assert fs.read(handle, (SECTORS + 20) * SECTOR, SECTOR) == bytes(SECTOR)
    assert not places


def test_a_damaged_sector_is_named_as_ever(fs: LocalFs, store: EmbeddedStore) -> None:
    inode = fs.lookup(fs.root, "f").inode
    place = store.place(fs.table[inode].store.block, 60)
    assert place is not None
    with Path(f"/proc/self/fd/{place.descriptor}").resolve().open("r+b") as file:
        file.seek(place.offset + 100)
        byte = file.read(1)
        file.seek(place.offset + 100)
        file.write(bytes([byte[0] ^ 1]))
    with (
        opened(fs, fs.lookup(fs.root, "f").inode, OpenFlags.READ) as handle,
        pytest.raises(FsError, match="sector 60") as caught,
    ):
        fs.read(handle, 60 * SECTOR, SECTOR)
    assert caught.value.kind is Kind.INTEGRITY
