"""Flipped bytes in the files of an embedded store: each one is found, wherever it is, and nothing is found without."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from btfproto.care import inspect_files, measure, scrub_store
from btfproto.domain import open_volume
from btfproto.errors import StoreError
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import OpenFlags, Owner
from btfproto.store import EmbeddedStore
from btfproto.testing.domains import NOW, World
from btlib.kinds import Kind

SECTOR = 4096
SEGMENT_HEADER, RUN_HEADER = 40, 56
STRIDE = 211  #: a prime, so that flips fall on all parts of sectors and nodes
ME = Owner(0, 0)


class Quiet:
    def item(self, path: str) -> None:
        pass

    def bytes(self, count: int) -> None:
        pass


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A domain in an embedded store, with a file of three sectors and a small one."""
    store = EmbeddedStore(tmp_path / "store")
    world = World.make(store, directory_attributes=empty_directory_attributes)
    volume = open_volume(store, world.machine, world.path(), NOW)
    options = FsOptions(commit_interval=None)
    fs = LocalFs(store, world.machine, volume, options=options, clock=lambda: NOW * 10**9)
    for name, size in (("large", 3 * SECTOR), ("small", 500)):
        _, handle = fs.create(fs.root, name, 0o644, ME, OpenFlags.WRITE)
        fs.write(handle, 0, random.Random(name).randbytes(size))
        fs.close(handle)
    fs.shutdown()
    yield world
    store.close()


def store_of(world: World) -> EmbeddedStore:
    assert isinstance(world.store, EmbeddedStore)
    return world.store


def found(world: World) -> int:
    store = store_of(world)
    return len(list(inspect_files(store))) + len(list(scrub_store(store, world.root.principal, Quiet())))


def flip(file: Path, offset: int, mask: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        (byte,) = opened.read(1)
        opened.seek(offset)
        opened.write(bytes([byte ^ mask]))


def test_each_flip_in_a_segment_is_found(world: World) -> None:
    (segment,) = (store_of(world).directory / "segments").glob("*.seg")
    size = segment.stat().st_size
    assert found(world) == 0
    noise = random.Random(3)
    header = range(SEGMENT_HEADER, SEGMENT_HEADER + RUN_HEADER)
    for offset in {*header, *range(SEGMENT_HEADER, size, STRIDE), size - 1}:
        mask = 1 << noise.randrange(8)
        flip(segment, offset, mask)
        assert found(world), offset
        flip(segment, offset, mask)
    assert found(world) == 0


def test_each_flip_in_the_header_of_a_segment_is_found_when_the_store_is_opened(world: World) -> None:
    store = store_of(world)
    store.close()
    (segment,) = (store.directory / "segments").glob("*.seg")
    for offset in range(SEGMENT_HEADER):
        flip(segment, offset, 4)
        with pytest.raises(StoreError) as refusal:
            EmbeddedStore(store.directory)
        assert refusal.value.kind is Kind.INTEGRITY
        flip(segment, offset, 4)
    EmbeddedStore(store.directory).close()


def test_each_flip_in_a_head_or_a_small_body_is_found(world: World) -> None:
    store = store_of(world)
    store.close()
    index = store.directory / "index.sqlite"
    with closing(sqlite3.connect(index, isolation_level=None)) as db:
        rows = [
            (f"UPDATE heads SET signed = ? WHERE id = {number}", signed)
            for number, signed in db.execute("SELECT id, signed FROM heads")
        ]
        rows += [
            (f"UPDATE smalls SET record = ? WHERE id = {number}", record)
            for number, record in db.execute("SELECT id, record FROM smalls")
        ]
    noise = random.Random(4)
    for statement, whole in rows:
        for offset in {0, len(whole) - 1, *(noise.randrange(len(whole)) for _ in range(6))}:
            changed = bytearray(whole)
            changed[offset] ^= 1 << noise.randrange(8)
            assert found_after(store.directory, world, statement, bytes(changed)), (statement, offset)
        assert found_after(store.directory, world, statement, whole) == 0


def found_after(directory: Path, world: World, statement: str, value: bytes) -> int:
    with closing(sqlite3.connect(directory / "index.sqlite", isolation_level=None)) as db:
        db.execute(statement, (value,))
    with closing(EmbeddedStore(directory)) as store:
        return len(list(scrub_store(store, world.root.principal, Quiet())))


def test_a_store_is_measured_where_there_is_one(world: World, tmp_path: Path) -> None:
    store = store_of(world)
    before = measure(store.directory)
    assert before.segments > 3 * SECTOR
    assert before.tombstones == 0
    assert before.dead == SEGMENT_HEADER + 2 * RUN_HEADER
    with pytest.raises(StoreError) as refusal:
        measure(tmp_path)
    assert refusal.value.kind is Kind.NOT_FOUND
