"""`bt fsck --salvage`, as a user runs it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Machine
from .test_scrub import filled, flip

__all__ = ["filled"]

SECTOR = 4096
STORED = SECTOR + 28


@pytest.fixture
def rescued(tmp_path: Path) -> Path:
    return tmp_path / "rescued"


def trees_equal(left: Path, right: Path) -> bool:
    names = {path.relative_to(left) for path in left.rglob("*")}
    assert names == {path.relative_to(right) for path in right.rglob("*")}
    return all((left / name).is_dir() or (left / name).read_bytes() == (right / name).read_bytes() for name in names)


def test_a_whole_store_is_copied_out_as_it_is(filled: Machine, tmp_path: Path, rescued: Path) -> None:
    done = filled("fsck", "--salvage", rescued, "home:")
    assert done.out == ""
    assert "everything could be read" in done.err
    assert trees_equal(tmp_path / "in", rescued / "in")


def test_a_damaged_sector_is_zeros_and_the_rest_of_the_file_is_there(
    filled: Machine, tmp_path: Path, rescued: Path
) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    at = segment.read_bytes().index(b"BTRN") + 56 + 100 * STORED + 5
    flip(segment, at)
    flip(segment, at + STORED)
    report = filled("fsck", "--json", "--salvage", rescued, "home:", code=6).document
    (lost,) = report["lost"] if isinstance(report["lost"], list) else []
    assert (lost["path"], lost["start"], lost["end"]) == ("home:/in/large.bin", 100 * SECTOR, 102 * SECTOR)
    assert lost["why"].startswith("sector 100 does not match")
    original = bytearray((tmp_path / "in" / "large.bin").read_bytes())
    original[100 * SECTOR : 102 * SECTOR] = bytes(2 * SECTOR)
    assert (rescued / "in" / "large.bin").read_bytes() == original
    assert (rescued / "in" / "deep" / "small.txt").read_bytes() == (tmp_path / "in/deep/small.txt").read_bytes()


def test_a_lost_file_costs_its_neighbours_nothing(filled: Machine, tmp_path: Path, rescued: Path) -> None:
    with closing(sqlite3.connect(filled.store / "index.sqlite")) as db, db:
        db.execute("DELETE FROM heads WHERE id IN (SELECT id FROM runs)")
    done = filled("fsck", "--salvage", rescued, "home:", code=6)
    assert done.out.startswith("lost: home:/in/large.bin: ")
    assert not (rescued / "in" / "large.bin").exists()
    assert (rescued / "in" / "deep" / "small.txt").read_bytes() == (tmp_path / "in/deep/small.txt").read_bytes()


def test_a_sparse_file_stays_sparse(nas: Machine, tmp_path: Path, rescued: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(64 << 20)
    nas("cp", tmp_path / "sparse", "home:/")
    nas("fsck", "--salvage", rescued, "home:")
    status = (rescued / "sparse").stat()
    assert status.st_size == 64 << 20
    assert status.st_blocks == 0


def test_a_target_that_holds_something_is_refused(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("precious")
    assert "is not an empty directory" in nas("fsck", "--salvage", tmp_path, "home:", code=1).err
    assert "there is no directory" in nas("fsck", "--salvage", tmp_path / "no" / "where", "home:", code=1).err
    nas("fsck", "home:", code=2)
