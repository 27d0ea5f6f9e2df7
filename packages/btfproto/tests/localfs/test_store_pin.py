"""A store that was put back as a whole: noticed at the next opening and by whoever watches it, named and refused."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from btfproto.domain import open_volume
from btfproto.errors import FsError
from btfproto.localfs import FilePins, FsOptions, LocalFs, MemoryPins, Pins, SeenStore
from btfproto.provider import OpenFlags, Owner
from btfproto.store import EmbeddedStore, Events, MemoryStore, StoreMark
from btfproto.testing.domains import NOW, World
from btfproto.testing.provider import opened, read_file, write_file
from btlib.kinds import Kind

from .conftest import QUIET, make_world

SHARED = FsOptions(shared=True, commit_interval=None, fresh_seconds=0.0)


def open_at(world: World, store: EmbeddedStore | MemoryStore, pins: Pins, options: FsOptions = QUIET) -> LocalFs:
    ticks = itertools.count(NOW * 10**9, 1000)
    volume = open_volume(store, world.machine, world.path(), NOW)
    return LocalFs(store, world.machine, volume, options=options, pins=pins, clock=lambda: next(ticks))


def overwrite(fs: LocalFs, name: str, content: bytes) -> None:
    """Changes the file alone, not the directory."""
    with opened(fs, fs.lookup(fs.root, name).inode, OpenFlags.WRITE) as handle:
        fs.write(handle, 0, content)
    fs.sync()


class Place:
    """A store in a directory, and an old copy of it."""

    def __init__(self, top: Path) -> None:
        self.directory, self.copy, self.pins_file = top / "store", top / "copy", top / "pins"
        with self.opened() as store:
            self.world = make_world(store)
            fs = open_at(self.world, store, MemoryPins())
            write_file(fs, fs.root, "file", b"first")
            fs.shutdown()
        shutil.copytree(self.directory, self.copy)

    def opened(self) -> _Opened:
        return _Opened(self.directory)

    def write_as_another(self, content: bytes) -> int:
        with self.opened() as store:
            fs = open_at(self.world, store, MemoryPins())
            overwrite(fs, "file", content)
            fs.shutdown()
            return store.mark().cursor

    def look_in(self) -> bytes:
        """By the one whose pins these are."""
        pins = FilePins(self.pins_file)
        try:
            with self.opened() as store:
                fs = open_at(self.world, store, pins)
                try:
                    return read_file(fs, fs.lookup(fs.root, "file").inode)
                finally:
                    fs.abandon()
        finally:
            pins.close()

    def visit(self) -> None:
        """By the same, who reads nothing but the root."""
        pins = FilePins(self.pins_file)
        with self.opened() as store:
            open_at(self.world, store, pins).shutdown()
        pins.close()

    def put_back(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.copy, self.directory)


class _Opened:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> EmbeddedStore:
        self._store = EmbeddedStore(self._directory)
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def test_a_copy_put_back_is_refused_where_others_alone_wrote_since(tmp_path: Path) -> None:
    place = Place(tmp_path)
    seen = place.write_as_another(b"second")
    place.visit()
    place.put_back()
    with pytest.raises(FsError) as refused:
        place.look_in()
    assert refused.value.kind is Kind.ROLLBACK
    assert f"the store {place.directory} went back in time: it has" in refused.value.message
    assert refused.value.message.endswith(f"but {seen} were seen before")
    assert refused.value.hint is not None
    assert "bt accept-restore" in refused.value.hint


def test_without_what_the_pin_of_the_store_says_it_would_have_been_taken(tmp_path: Path) -> None:
    """So the test above tests it, and no pin of a block."""
    place = Place(tmp_path)
    place.write_as_another(b"second")
    place.visit()
    place.put_back()
    pins = FilePins(place.pins_file)
    with place.opened() as store:
        pins.accept_store(store.mark().store, SeenStore(store.mark().cursor))
    pins.close()
    assert place.look_in() == b"first"


def test_what_was_accepted_is_where_it_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write_as_another(b"second")
    place.visit()
    place.put_back()
    pins = FilePins(place.pins_file)
    with place.opened() as store:
        pins.accept_store(store.mark().store, SeenStore(store.mark().cursor))
    pins.close()
    place.write_as_another(b"third")
    assert place.look_in() == b"third"
    place.put_back()
    with pytest.raises(FsError, match="went back in time"):
        place.look_in()


def test_a_copy_that_was_written_to_since_is_refused_however_far_it_came(tmp_path: Path) -> None:
    place = Place(tmp_path)
    seen = place.write_as_another(b"second")
    place.visit()
    place.put_back()
    for _ in range(5):
        assert place.write_as_another(b"other") > seen - 1
    with pytest.raises(FsError, match=f"its commit {seen} is another one than was seen") as refused:
        place.look_in()
    assert refused.value.kind is Kind.ROLLBACK


def test_a_commit_that_the_store_has_long_forgotten_accuses_nobody() -> None:
    store = MemoryStore()
    world = make_world(store)
    pins = MemoryPins()
    pins.note_store(store.mark().store, SeenStore(1, 1, b"r" * 16))  # of which a new store knows nothing
    open_at(world, store, pins).shutdown()
    assert pins.seen_stores()[store.mark().store].anchor == store.mark().cursor


def test_a_copy_that_has_everything_is_the_same_store(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write_as_another(b"second")
    place.visit()
    shutil.rmtree(place.copy)
    place.directory.rename(place.copy)
    place.put_back()
    assert place.look_in() == b"second"


class _PutBack(MemoryStore):
    """Says that it has fewer commits than it had, to whoever watches; its blocks stay."""

    back = 0

    def mark(self, at: int = 0) -> StoreMark:
        mark = super().mark(at)
        return StoreMark(mark.store, mark.cursor - self.back)

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        events = super().watch(cursor, holder, 0.0)
        return Events(events.cursor - self.back, [], lost=True) if self.back else events


def test_who_watches_notices_and_takes_no_more_until_the_right_state_is_there_again() -> None:
    store = _PutBack()
    world = make_world(store)
    fs = open_at(world, store, MemoryPins(), SHARED)
    write_file(fs, fs.root, "file", b"first")
    fs.sync()
    store.back = 2
    fs.lease_lost(fs.volume.scope)
    with pytest.raises(FsError, match="the store in memory went back in time") as refused:
        fs.readdir(fs.root, 0, 10)
    assert refused.value.kind is Kind.ROLLBACK
    with pytest.raises(FsError, match="went back in time"):
        fs.mkdir(fs.root, "new", 0o755, Owner(1000, 100))
    store.back = 0
    assert read_file(fs, fs.lookup(fs.root, "file").inode) == b"first"
    fs.shutdown()


@pytest.mark.parametrize("back", [1, 3])
def test_a_watch_that_lost_events_is_a_reason_to_compare(back: int) -> None:
    """Fewer commits than the last of ours had, though not fewer than were asked with."""
    store = _PutBack()
    world = make_world(store)
    fs = open_at(world, store, MemoryPins(), SHARED)
    write_file(fs, fs.root, "file", b"first")
    fs.sync()
    store.back = back
    with pytest.raises(FsError, match="went back in time"):
        fs.hear(0.0)
    store.back = 0
    fs.shutdown()


def test_what_others_of_this_machine_see_while_a_store_is_asked_is_no_older_state() -> None:
    class Slow(MemoryStore):
        def mark(self, at: int = 0) -> StoreMark:
            mark = super().mark(at)
            later = SeenStore(mark.cursor + 5)  # by another process, which asked later and was answered earlier
            pins.note_store(mark.store, later)
            return mark

    pins = MemoryPins()
    store = Slow()
    world = make_world(store)
    fs = open_at(world, store, pins)
    assert [seen.cursor for seen in pins.seen_stores().values()] == [MemoryStore.mark(store).cursor + 5]
    fs.shutdown()
