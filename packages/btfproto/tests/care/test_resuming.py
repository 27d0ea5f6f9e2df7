"""Scrubs that go on where they were interrupted: at every place, nothing is missed and nothing is told twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from btfproto.care import Damage, Position, Unreadable, scrub_store, scrub_tree
from btfproto.domain import open_volume
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import OpenFlags, Owner
from btfproto.store import MemoryStore, RecordRef, Records
from btfproto.testing.domains import NOW, World

ME = Owner(0, 0)
SIZE = 5000
BAD = ("a3", "deep/b0", "deep/b5", "deep/er/c2", "other/d1")


class Rotten(MemoryStore):
    """A store that changes the sectors of some blocks."""

    bad: frozenset[bytes] = frozenset()

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        found = super().read_records(block, refs)
        if block not in self.bad:
            return found
        records = [None if record is None else bytes(record)[:-1] + b"?" for record in found.records]
        return msgspec.structs.replace(found, records=records)


class Interrupted(Exception):
    pass


class Count:
    def __init__(self) -> None:
        self.items: list[str] = []

    def item(self, path: str) -> None:
        self.items.append(path)

    def bytes(self, count: int) -> None:
        pass


@pytest.fixture
def world() -> World:
    return World.make(Rotten(), directory_attributes=empty_directory_attributes)


@pytest.fixture
def files(world: World) -> Iterator[LocalFs]:
    """A tree with some damage in it."""
    with_damage = opened(world)
    names = {
        "": [f"a{n}" for n in range(6)],
        "deep": [f"b{n}" for n in range(6)],
        "deep/er": [f"c{n}" for n in range(4)],
        "other": [f"d{n}" for n in range(3)],
        "empty": [],
    }
    blocks = {}
    for directory, below in names.items():
        parent = with_damage.root
        for name in filter(None, directory.split("/")):
            if name not in {entry.name for entry in with_damage.readdir(parent, 0, 100)}:
                with_damage.mkdir(parent, name, 0o755, ME)
            parent = with_damage.lookup(parent, name).inode
        for name in below:
            made, handle = with_damage.create(parent, name, 0o600, ME, OpenFlags.WRITE)
            with_damage.write(handle, 0, name.encode() * SIZE)
            with_damage.close(handle)
            blocks[f"{directory}/{name}".lstrip("/")] = made.inode
    with_damage.shutdown()
    ids = {int.from_bytes(found.block[:8], "little"): found.block for found in world.store.scan(None, 1000)}
    assert isinstance(world.store, Rotten)
    world.store.bad = frozenset(ids[blocks[path]] for path in BAD)
    fresh = opened(world)
    yield fresh
    fresh.shutdown()


def opened(world: World) -> LocalFs:
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    options = FsOptions(commit_interval=None)
    return LocalFs(world.store, world.machine, volume, options=options, clock=lambda: NOW * 10**9)


def test_a_tree_that_is_gone_on_with_is_opened_whole_and_told_of_once(files: LocalFs) -> None:
    whole: list[Position] = []
    meter = Count()
    all_damage = list(scrub_tree(files, meter, None, whole.append))
    assert {"/".join(found.path) for found in all_damage} == set(BAD)
    assert len(meter.items) == 19
    for cut in range(len(whole)):
        damage, position, again = _interrupted(files, cut)
        damage += scrub_tree(files, again, position)
        assert sorted(found.path for found in damage) == sorted(found.path for found in all_damage)
        assert len(set(again.items)) == len(again.items)


def _interrupted(files: LocalFs, cut: int) -> tuple[list[Unreadable], Position | None, Count]:
    reached: list[Position] = []
    damage: list[Unreadable] = []

    def stop(position: Position) -> None:
        if len(reached) == cut:
            raise Interrupted
        reached.append(position)

    with pytest.raises(Interrupted):
        damage.extend(scrub_tree(files, Count(), None, stop))
    # What was told of the entry that was not noted any more comes again: as after a kill, it is not counted here.
    kept = [found for found in damage if _is_before(files, found, cut)]
    return kept, reached[-1] if reached else None, Count()


def _is_before(files: LocalFs, found: Unreadable, cut: int) -> bool:
    """Whether damage was told before the `cut`th position was reached."""
    reached: list[Position] = []
    for other in scrub_tree(files, Count(), None, reached.append):
        if other.path == found.path:
            return len(reached) < cut
    raise AssertionError(found)


def test_a_directory_that_went_meanwhile_is_passed_over(files: LocalFs) -> None:
    whole: list[Position] = []
    list(scrub_tree(files, Count(), None, whole.append))
    (inside, *_) = [position for position in whole if len(position.inside) == 2]
    gone = msgspec.structs.replace(inside, inside=(inside.inside[0], ("gone", inside.inside[1][1])))
    expected, meter = Count(), Count()
    list(scrub_tree(files, expected, inside))
    list(scrub_tree(files, meter, gone))
    assert {item for item in expected.items if not item.startswith("deep/er/")} <= set(meter.items)


def test_blocks_are_gone_on_with_by_their_ids(world: World, files: LocalFs) -> None:
    assert files.root
    root = world.root.principal
    order: list[bytes] = []
    all_damage = list(scrub_store(world.store, root, Count(), None, order.append))
    assert order == sorted(order)
    assert len({found.block for found in all_damage}) == len(BAD)
    for cut in range(len(order)):
        reached: list[bytes] = []
        damage = _damage_up_to(world, order[cut], reached)
        damage += scrub_store(world.store, root, Count(), order[cut], reached.append)
        assert damage == all_damage
        assert reached == order


def _damage_up_to(world: World, last: bytes, reached: list[bytes]) -> list[Damage]:
    damage: list[Damage] = []

    def stop(block: bytes) -> None:
        reached.append(block)
        if block == last:
            raise Interrupted

    with pytest.raises(Interrupted):
        damage.extend(scrub_store(world.store, world.root.principal, Count(), None, stop))
    return damage
