"""A read-only mount of a store with damage: everything that can be read is there, and the rest is an error."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from .conftest import Machine
from .test_scrub import filled, flip

__all__ = ["filled"]

DAMAGED = {errno.EIO, errno.EBADMSG}  #: the second says that it is not what was signed
SECTOR = 4096
STORED = SECTOR + 28

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse"),
]


@contextmanager
def mounted(machine: Machine, mountpoint: Path) -> Iterator[Path]:
    mountpoint.mkdir(exist_ok=True)
    machine.process("mount", "home:", mountpoint, "-o", "ro")
    try:
        yield mountpoint
    finally:
        machine.process("umount", mountpoint)


def fails(path: Path) -> bool:
    """Whether reading it tells of damage, and of nothing else."""
    try:
        _ = list(path.iterdir()) if path.is_dir() else path.read_bytes()
    except OSError as error:
        if error.errno in DAMAGED:
            return True
        raise
    return False


def piece(path: Path, start: int, size: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return file.read(size) or b""


def test_a_damaged_sector_is_an_error_there_and_nowhere_else(filled: Machine, tmp_path: Path) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    flip(segment, segment.read_bytes().index(b"BTRN") + 56 + 600 * STORED + 5)
    original = (tmp_path / "in" / "large.bin").read_bytes()
    with mounted(filled, tmp_path / "mnt") as top:
        large = top / "in" / "large.bin"
        assert large.stat().st_size == len(original)
        assert piece(large, 0, SECTOR) == original[:SECTOR]
        assert piece(large, len(original) - 100, 100) == original[-100:]
        assert piece(large, 599 * SECTOR, SECTOR) == original[599 * SECTOR : 600 * SECTOR]
        with pytest.raises(OSError, match="Bad message"):
            piece(large, 600 * SECTOR, SECTOR)
        assert piece(large, 601 * SECTOR, SECTOR) == original[601 * SECTOR : 602 * SECTOR]
        assert fails(large)
        assert (top / "in/deep/small.txt").read_bytes() == (tmp_path / "in/deep/small.txt").read_bytes()


def test_every_sector_around_the_damage_can_be_read(filled: Machine, tmp_path: Path) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    flip(segment, segment.read_bytes().index(b"BTRN") + 56 + 600 * STORED + 5)
    original = (tmp_path / "in" / "large.bin").read_bytes()
    bad = []
    with mounted(filled, tmp_path / "mnt") as top:
        for index in range(len(original) // SECTOR):
            try:
                assert piece(top / "in" / "large.bin", index * SECTOR, SECTOR) == original[index * SECTOR :][:SECTOR]
            except OSError:
                bad.append(index)
    assert bad == [600]


def test_a_lost_file_costs_its_directory_nothing(filled: Machine, tmp_path: Path) -> None:
    with closing(sqlite3.connect(filled.store / "index.sqlite")) as db, db:
        db.execute("DELETE FROM heads WHERE id IN (SELECT id FROM runs)")
    with mounted(filled, tmp_path / "mnt") as top:
        assert {path.name for path in (top / "in").iterdir()} == {"deep", "large.bin"}
        with pytest.raises(OSError, match="Bad message"):
            (top / "in" / "large.bin").stat()
        assert (top / "in/deep/small.txt").read_bytes() == (tmp_path / "in/deep/small.txt").read_bytes()


def test_a_store_that_lost_a_segment_still_shows_the_rest(filled: Machine, tmp_path: Path) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    content = segment.read_bytes()
    for left in (len(content) // 2, 20, None):
        if left is None:
            segment.unlink()
        else:
            segment.write_bytes(content[:left])
        with mounted(filled, tmp_path / "mnt") as top:
            assert (top / "in/deep/small.txt").read_bytes() == (tmp_path / "in/deep/small.txt").read_bytes()
            assert fails(top / "in" / "large.bin")
        kept = segment.read_bytes() if segment.exists() else None
        assert kept == (None if left is None else content[:left])  # nothing was cut or repaired
    done = filled.process("mount", "home:", tmp_path / "mnt", code=6)
    assert "-o ro" in done.err


def test_a_whole_segment_less_is_salvaged_without_repairing_first(filled: Machine, tmp_path: Path) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    segment.unlink()
    done = filled("fsck", "--salvage", tmp_path / "rescued", "home:", code=6)
    assert "lost: home:/in/large.bin" in done.out
    assert (tmp_path / "rescued/in/deep/small.txt").read_bytes() == (tmp_path / "in/deep/small.txt").read_bytes()
