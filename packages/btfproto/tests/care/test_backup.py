"""Copies of stores: into directories and archives, interrupted, of stores in use, and of stores that went on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from btfproto.care import (
    ArchiveSource,
    ArchiveTarget,
    Copied,
    DirectorySource,
    DirectoryTarget,
    copy_store,
    opened_copy,
    scrub_store,
)
from btfproto.domain import open_volume
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import OpenFlags, Owner
from btfproto.store import EmbeddedStore
from btfproto.testing.domains import NOW, World
from btlib.kinds import Kind

ME = Owner(0, 0)
NOTE = b"a note"
SEGMENT = 1 << 18  #: small, so that there are several and they are compacted
MAIN = 1 << 16  #: bytes of a file


class Interrupted(Exception):
    pass


class Count:
    """A meter that ends a copy after so many bytes."""

    def __init__(self, limit: int | None = None) -> None:
        self.expected = self.size = 0
        self._limit = limit

    def expect(self, items: int, size: int) -> None:
        self.expected += size

    def item(self, path: str) -> None:
        pass

    def bytes(self, count: int) -> None:
        self.size += count
        if self._limit is not None and self.size > self._limit:
            raise Interrupted


@contextmanager
def living(directory: Path) -> Iterator[tuple[World, LocalFs]]:
    """A domain in an embedded store that is in use."""
    with closing(EmbeddedStore(directory, segment_size=SEGMENT)) as store:
        world = World.make(store, directory_attributes=empty_directory_attributes)
        with closing_files(world) as fs:
            yield world, fs


@contextmanager
def closing_files(world: World) -> Iterator[LocalFs]:
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    options = FsOptions(commit_interval=None)
    fs = LocalFs(world.store, world.machine, volume, options=options, clock=lambda: NOW * 10**9)
    try:
        yield fs
    finally:
        fs.shutdown()


def write(fs: LocalFs, name: str, content: bytes) -> None:
    _, handle = fs.create(fs.root, name, 0o600, ME, OpenFlags.WRITE | OpenFlags.TRUNCATE)
    fs.write(handle, 0, content)
    fs.close(handle)
    fs.sync()


def read(world: World, directory: Path, name: str) -> bytes:
    """A file of a copy, which is opened as the store that it is."""
    with closing(EmbeddedStore(directory)) as store:
        copy = World(root=world.root, machine=world.machine, store=store, created=world.created, random=world.random)
        with closing_files(copy) as fs:
            handle = fs.open(fs.lookup(fs.root, name).inode, OpenFlags.READ)
            try:
                return fs.read(handle, 0, MAIN * 2)
            finally:
                fs.close(handle)


def noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(MAIN)


def fill(fs: LocalFs, files: range) -> None:
    for number in files:
        write(fs, f"file-{number}", noise(number))


def to_directory(store: Path, target: Path, meter: Count | None = None) -> Copied:
    with closing(DirectorySource(store)) as source, closing(DirectoryTarget(target, NOTE, "a test")) as place:
        return copy_store(source, place, meter or Count())


def to_archive(store: Path, target: Path, meter: Count | None = None) -> Copied:
    with closing(DirectorySource(store)) as source, closing(ArchiveTarget(target, NOTE)) as place:
        copied = copy_store(source, place, meter or Count())
        place.publish()
        return copied


def from_archive(archive: Path, target: Path) -> None:
    with closing(ArchiveSource(archive)) as source, closing(DirectoryTarget(target, NOTE, "a test")) as place:
        copy_store(source, place, Count())


def damage(world: World, directory: Path) -> list[str]:
    with closing(DirectorySource(directory)) as source, opened_copy(directory, source) as store:
        return [found.what for found in scrub_store(store, world.root.principal, Count())]


def test_a_copy_of_a_store_in_use_is_a_store_as_of_that_moment(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (world, fs):
        fill(fs, range(8))
        copied = to_directory(tmp_path / "store", tmp_path / "copy")
        write(fs, "file-0", b"later")
    assert copied.segments > 1
    assert damage(world, tmp_path / "copy") == []
    for number in range(8):
        assert read(world, tmp_path / "copy", f"file-{number}") == noise(number)


def test_a_second_copy_takes_what_is_new_alone(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (world, fs):
        fill(fs, range(8))
        first = to_directory(tmp_path / "store", tmp_path / "copy")
        write(fs, "more", noise(99))
        second = to_directory(tmp_path / "store", tmp_path / "copy")
        third = to_directory(tmp_path / "store", tmp_path / "copy")
    assert first.copied > 8 * MAIN
    assert MAIN < second.copied < 2 * MAIN
    assert second.kept == first.copied
    assert third.copied == 0
    assert damage(world, tmp_path / "copy") == []
    assert read(world, tmp_path / "copy", "more") == noise(99)


@pytest.mark.parametrize("cut", [0, 100_000, 300_000, 500_000])
@pytest.mark.parametrize("copy", [to_directory, to_archive])
def test_an_interrupted_copy_goes_on_where_it_was(
    tmp_path: Path, cut: int, copy: Callable[[Path, Path, Count | None], Copied]
) -> None:
    with living(tmp_path / "store") as (world, fs):
        fill(fs, range(8))
        with pytest.raises(Interrupted):
            copy(tmp_path / "store", tmp_path / "copy", Count(cut))
        write(fs, "more", noise(99))
        copied = copy(tmp_path / "store", tmp_path / "copy", None)
    assert copied.kept >= cut // SEGMENT * SEGMENT
    target = tmp_path / "copy"
    if copy is to_archive:
        from_archive(target, tmp_path / "restored")
        target = tmp_path / "restored"
    assert damage(world, target) == []
    assert read(world, target, "more") == noise(99)
    assert read(world, target, "file-7") == noise(7)


def test_the_copy_before_is_whole_while_the_next_is_made(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (world, fs):
        fill(fs, range(4))
        to_directory(tmp_path / "store", tmp_path / "copy")
        fill(fs, range(4, 12))
        with pytest.raises(Interrupted):
            to_directory(tmp_path / "store", tmp_path / "copy", Count(MAIN))
    assert damage(world, tmp_path / "copy") == []
    assert read(world, tmp_path / "copy", "file-3") == noise(3)
    with pytest.raises(FsError, match="file-5"):
        read(world, tmp_path / "copy", "file-5")


def test_a_store_that_is_written_and_compacted_is_copied_whole(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (world, fs):
        fill(fs, range(8))
        done = threading.Event()

        def rewrite() -> None:
            turn = 0
            while not done.is_set():
                write(fs, f"file-{turn % 8}", noise(turn % 8))
                turn += 1

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            for _ in range(5):
                to_directory(tmp_path / "store", tmp_path / "copy")
                assert damage(world, tmp_path / "copy") == []
        finally:
            done.set()
            writer.join()
    named = {path.name for path in (tmp_path / "copy" / "segments").iterdir()}
    assert "00000001.seg" not in named  # it was compacted away, also in the copy
    for number in range(8):
        assert read(world, tmp_path / "copy", f"file-{number}") in (noise(number), b"")


def test_a_segment_whose_number_was_given_anew_is_copied_anew(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (world, fs):
        fill(fs, range(2))
        to_directory(tmp_path / "store", tmp_path / "copy")
    other = tmp_path / "copy" / "segments" / "00000001.seg"
    content = bytearray(other.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    copied = to_directory(tmp_path / "store", tmp_path / "copy")
    assert copied.copied == len(content)
    assert damage(world, tmp_path / "copy") == []


def test_damage_in_a_copy_is_found(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (world, fs):
        fill(fs, range(2))
    to_directory(tmp_path / "store", tmp_path / "copy")
    segment = tmp_path / "copy" / "segments" / "00000001.seg"
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert "is not what was signed" in damage(world, tmp_path / "copy")[0]


def test_a_segment_that_is_missing_from_the_source_is_named(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (_, fs):
        fill(fs, range(2))
    (tmp_path / "store" / "segments" / "00000001.seg").unlink()
    with pytest.raises(StoreError, match="segment 1 is missing") as caught:
        to_directory(tmp_path / "store", tmp_path / "copy")
    assert caught.value.kind is Kind.INTEGRITY


def test_what_is_no_backup_of_this_store_is_left_alone(tmp_path: Path) -> None:
    with living(tmp_path / "store") as (_, fs):
        fill(fs, range(1))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious")
    with pytest.raises(StoreError, match="holds something that is no backup"):
        to_directory(tmp_path / "store", tmp_path / "precious")
    with pytest.raises(StoreError, match="is a backup of another store"):
        DirectoryTarget(_claimed(tmp_path), b"another note", "a test")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match="is there already"):
        to_archive(tmp_path / "store", tmp_path / "file")
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["file"]


def _claimed(tmp_path: Path) -> Path:
    to_directory(tmp_path / "store", tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("end", [0, 100, 511, 512, 2000, -1, -600, -1024, -20_000])
def test_an_archive_that_is_cut_is_refused(tmp_path: Path, end: int) -> None:
    with living(tmp_path / "store") as (_, fs):
        fill(fs, range(1))
    to_archive(tmp_path / "store", tmp_path / "archive")
    content = (tmp_path / "archive").read_bytes()
    while content.endswith(bytes(1024)):  # padding that says nothing
        content = content[:-512]
    (tmp_path / "archive").write_bytes(content[:end] if end >= 0 else content[: len(content) + end])
    with pytest.raises(StoreError, match="is no whole backup"):
        ArchiveSource(tmp_path / "archive")
