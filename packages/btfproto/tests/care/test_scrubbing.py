"""Scrubbing a store in memory: what is found, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from btfproto.care import Damage, Unreadable, scrub_store, scrub_tree
from btfproto.domain import open_volume
from btfproto.errors import StoreError
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import OpenFlags, Owner
from btfproto.store import MemoryStore, RecordRef, Records, Store
from btfproto.testing.domains import NOW, World
from btlib.kinds import Kind

SECTOR = 4096
ME = Owner(0, 0)


class Lying(MemoryStore):
    """A store whose records pass through a function on their way out."""

    lie: Callable[[bytes, RecordRef, bytes], bytes | None] = staticmethod(lambda block, ref, record: record)

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        found = super().read_records(block, refs)
        pairs = zip(refs, found.records, strict=True)
        return msgspec.structs.replace(
            found, records=[None if record is None else self.lie(block, ref, bytes(record)) for ref, record in pairs]
        )


class Count:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.size = 0

    def item(self, path: str) -> None:
        self.items.append(path)

    def bytes(self, count: int) -> None:
        self.size += count


@pytest.fixture
def world() -> World:
    return World.make(Lying(), directory_attributes=empty_directory_attributes)


def open_files(world: World) -> LocalFs:
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    return LocalFs(
        world.store, world.machine, volume, options=FsOptions(commit_interval=None), clock=lambda: NOW * 10**9
    )


def write(fs: LocalFs, name: str, *pieces: tuple[int, bytes]) -> bytes:
    """A file with data at some offsets; gives its block id."""
    made, handle = fs.create(fs.root, name, 0o644, ME, OpenFlags.WRITE)
    for offset, data in pieces:
        fs.write(handle, offset, data)
    fs.close(handle)
    fs.sync()
    return fs.inode_of(made.inode).store.block


def filled(world: World) -> bytes:
    """A domain with one large sparse file, whose block id is given."""
    fs = open_files(world)
    block = write(fs, "large", (0, b"a" * 300 * SECTOR), (2**31, b"far away"))
    write(fs, "small", (0, b"a few bytes"))
    fs.shutdown()
    return block


def damage(store: Store, world: World) -> list[Damage]:
    return list(scrub_store(store, world.root.principal, Count()))


def unreadable(world: World) -> list[Unreadable]:
    fs = open_files(world)
    try:
        return list(scrub_tree(fs, Count()))
    finally:
        fs.abandon()


def test_a_whole_domain_has_no_damage_and_sparse_files_cost_nothing(world: World) -> None:
    filled(world)
    count, fs = Count(), open_files(world)
    assert list(scrub_store(world.store, world.root.principal, count)) == []
    assert world.store.status().stored_bytes >= count.size > 300 * SECTOR
    tree = Count()
    assert list(scrub_tree(fs, tree)) == []
    assert sorted(tree.items) == ["large", "small"]
    assert tree.size < 303 * SECTOR
    fs.abandon()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_flipped_byte_at_any_level_is_found_with_and_without_keys(world: World, level: int) -> None:
    large = filled(world)

    def lie(block: bytes, ref: RecordRef, record: bytes) -> bytes | None:
        return record[:-1] + bytes([record[-1] ^ 1]) if (block, ref.level, ref.index) == (large, level, 0) else record

    assert isinstance(world.store, Lying)
    world.store.lie = lie
    (found,) = damage(world.store, world)
    assert found.block == large
    assert "is not what was signed" in found.what
    (path,) = unreadable(world)
    assert path.path == ("large",)
    assert path.inode == found.inode


def test_a_missing_and_a_swapped_record_are_found(world: World) -> None:
    large = filled(world)
    assert isinstance(world.store, Lying)
    first = bytes(world.store.read_records(large, [RecordRef(0, 0)]).records[0] or b"")
    world.store.lie = lambda block, ref, record: None if (ref.level, ref.index) == (0, 7) else record
    assert [found.what for found in damage(world.store, world)] == ["sector 7 is missing"]
    world.store.lie = lambda block, ref, record: first if (ref.level, ref.index) == (0, 7) else record
    assert [found.what for found in damage(world.store, world)] == ["sector 7 is not what was signed"]


def test_each_damaged_sector_is_named_and_no_other(world: World) -> None:
    large = filled(world)
    bad = {3, 64, 65, 299}

    def lie(block: bytes, ref: RecordRef, record: bytes) -> bytes | None:
        if block == large and not ref.level and ref.index in bad:
            raise StoreError(Kind.INTEGRITY, "the segment ends before")
        return record

    assert isinstance(world.store, Lying)
    world.store.lie = lie
    assert [found.what for found in damage(world.store, world)] == [
        f"sector {index} cannot be read: the segment ends before" for index in sorted(bad)
    ]


def test_a_domain_of_another_root_does_not_verify(world: World) -> None:
    filled(world)
    stranger = World.make(seed=9).root.principal
    assert len(list(scrub_store(world.store, stranger, Count()))) == world.store.status().blocks
