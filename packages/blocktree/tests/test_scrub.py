"""`bt scrub`, as a user runs it: over whole stores, and over stores with flipped bytes."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Machine
from .serving import free_port, running_server

SEED = 20_261_124


@pytest.fixture
def filled(nas: Machine, tmp_path: Path) -> Machine:
    """A domain with small bodies, and a file of several hundred sectors (so with Merkle nodes)."""
    noise = random.Random(SEED)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "small.txt").write_bytes(noise.randbytes(900))
    (tmp_path / "in" / "large.bin").write_bytes(noise.randbytes(300 * 16_384 + 7))
    nas("cp", "-r", tmp_path / "in", "home:/")
    return nas


def flip(file: Path, offset: int) -> None:
    """Flip one bit of a byte; doing it again repairs it."""
    with file.open("r+b") as opened:
        opened.seek(offset)
        (byte,) = opened.read(1)
        opened.seek(offset)
        opened.write(bytes([byte ^ 0x10]))


def flip_small(machine: Machine, block: str, offset: int) -> None:
    """The same in the small body of a block."""
    with closing(sqlite3.connect(machine.store / "index.sqlite")) as db, db:
        ((number, record),) = db.execute(
            "SELECT s.id, s.record FROM smalls s JOIN heads h ON h.id = s.id WHERE h.block = ?", (bytes.fromhex(block),)
        ).fetchall()
        changed = bytearray(record)
        changed[offset % len(record)] ^= 0x10
        db.execute("UPDATE smalls SET record = ? WHERE id = ?", (bytes(changed), number))


def small_blocks(machine: Machine) -> list[str]:
    with closing(sqlite3.connect(machine.store / "index.sqlite")) as db:
        return [block.hex() for (block,) in db.execute("SELECT h.block FROM smalls s JOIN heads h ON h.id = s.id")]


def paths(document: dict[str, object]) -> set[str]:
    found = document["damaged_paths"]
    assert isinstance(found, list)
    return {entry["path"] for entry in found}


def test_a_whole_store_is_said_to_be_whole(filled: Machine) -> None:
    done = filled("scrub", "home:")
    assert done.out == ""
    assert "everything is what was signed" in done.err
    assert filled("scrub", "--no-keys").err.count("the tree was not opened: no keys were to be used") == 1
    report = filled("scrub", "--json", "home:").document
    assert report["opened"] is True
    assert report["damaged_blocks"] == report["damaged_paths"] == report["damaged_files"] == []


def test_a_scrub_without_keys_asks_for_no_passphrase(filled: Machine) -> None:
    filled("scrub", "--no-keys", "home:", BLOCKTREE_PASSPHRASE="a wrong one")
    filled("scrub", "home:", code=3, BLOCKTREE_PASSPHRASE="a wrong one")


def test_progress_is_shown_where_it_is_wanted(filled: Machine) -> None:
    done = filled("scrub", "--progress", "home:", TERM="dumb", COLUMNS="200")
    assert "done" in done.err


def test_every_flipped_byte_of_a_segment_is_found(filled: Machine) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    size, noise = segment.stat().st_size, random.Random(SEED)
    places = [0, 9, 30, 39, 40, 45, 50, 95, 96, size - 1, *(noise.randrange(size) for _ in range(20))]
    for offset in places:
        flip(segment, offset)
        done = filled("scrub", "--no-keys", "home:", code=6)
        assert done.out or segment.name in done.err, offset
        flip(segment, offset)
    filled("scrub", "--no-keys", "home:")


def test_every_flipped_byte_of_a_small_body_is_found(filled: Machine) -> None:
    noise = random.Random(SEED)
    for block in small_blocks(filled):
        offset = noise.randrange(1 << 16)
        flip_small(filled, block, offset)
        report = filled("scrub", "--no-keys", "--json", "home:", code=6).document
        assert block in str(report["damaged_blocks"])
        flip_small(filled, block, offset)
    filled("scrub", "--no-keys", "home:")


@pytest.mark.parametrize("part", [1, 40, 60, 100, 200, -1])
def test_a_flipped_byte_of_a_head_is_found(filled: Machine, part: int) -> None:
    with closing(sqlite3.connect(filled.store / "index.sqlite")) as db, db:
        for number, signed in db.execute("SELECT id, signed FROM heads").fetchall():
            changed = bytearray(signed)
            changed[part] ^= 0x10
            db.execute("UPDATE heads SET signed = ? WHERE id = ?", (bytes(changed), number))
    report = filled("scrub", "--no-keys", "--json", "home:", code=6).document
    damaged = report["damaged_blocks"]
    assert isinstance(damaged, list)
    assert len({entry["block"] for entry in damaged}) == report["blocks"]


def test_damage_is_named_by_its_path(filled: Machine) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    flip(segment, segment.stat().st_size // 2)
    done = filled("scrub", "home:", code=6)
    assert "home:/in/large.bin (block " in done.out
    assert "sector" in done.out
    assert "is not what was signed" in done.out
    assert done.out.count("\n") == 1
    assert "damaged: 1; " in done.err
    assert paths(filled("scrub", "--json", "home:", code=6).document) == {"home:/in/large.bin"}
    assert paths(filled("scrub", "--json", "home:/in/deep", code=6).document) == set()


def test_a_lost_head_is_missed_by_its_directory(filled: Machine) -> None:
    with closing(sqlite3.connect(filled.store / "index.sqlite")) as db, db:
        db.execute("DELETE FROM heads WHERE id IN (SELECT id FROM runs)")
    assert paths(filled("scrub", "--json", "home:", code=6).document) == {"home:/in/large.bin"}


def test_an_index_that_is_none_is_an_integrity_error(filled: Machine) -> None:
    (filled.store / "index.sqlite").write_bytes(b"no index" * 1000)
    assert "index.sqlite" in filled("scrub", "--no-keys", "home:", code=6).err


def test_a_store_in_use_is_scrubbed_through_its_server(filled: Machine, tmp_path: Path) -> None:
    with running_server(filled, free_port(), tmp_path / "btfsd.log"):
        report = filled("scrub", "--json", "home:").document
        assert report["opened"] is True
        busy = filled("scrub", "--no-keys", "home:", code=7)
        assert "btfsd" in busy.err


def test_a_domain_has_to_be_named_where_there_is_none(laptop: Machine) -> None:
    assert "say which domain" in laptop("scrub", code=2).err


#: A scrub that is killed once so many blocks, or entries of the tree, are noted.
KILLED = """
import os, sys
from blocktree import scrub_state
from blocktree.__main__ import run

method, count, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
scrub_state.SAVE_SECONDS = 0.0
reached = getattr(scrub_state.ScrubRun, method)
calls = 0

def noted(self, place):
    global calls
    reached(self, place)
    calls += 1
    if calls == count:
        os._exit(9)

setattr(scrub_state.ScrubRun, method, noted)
run(words)
"""


def kill_scrub(machine: Machine, method: str, count: int, *words: str) -> None:
    command = [sys.executable, "-c", KILLED, method, str(count), "scrub", *words]
    assert subprocess.run(command, env=machine.environment(), check=False).returncode == 9


@pytest.mark.parametrize(("method", "count"), [("reached_block", 1), ("reached_block", 6), ("reached_entry", 1)])
def test_a_killed_scrub_is_gone_on_with(filled: Machine, method: str, count: int) -> None:
    (segment,) = (filled.store / "segments").glob("*.seg")
    flip(segment, segment.stat().st_size // 2)
    whole = filled("scrub", "--json", "home:", code=6).document
    kill_scrub(filled, method, count, "home:")
    done = filled("scrub", "--json", "--resume", "home:", code=6)
    assert "begins anew" not in done.err
    report = done.document
    for key in ("blocks", "damaged_blocks", "damaged_paths", "damaged_files"):
        assert report[key] == whole[key]
    assert "there is no interrupted scrub" in filled("scrub", "--resume", "home:", code=6).err


def test_what_is_gone_on_with_is_the_same_scrub(filled: Machine) -> None:
    kill_scrub(filled, "reached_block", 3, "--no-keys", "home:")
    state = filled.store.parent / "scrub-state"
    noted = state.read_bytes()
    assert "there is no interrupted scrub of this path" in filled("scrub", "--resume", "home:").err
    state.write_bytes(noted)
    assert "there is no interrupted scrub" not in filled("scrub", "--resume", "--no-keys", "home:").err
    for content in (b"", b"{}", noted[:-10], b"\xff" * 100):
        state.write_bytes(content)
        assert "there is no interrupted scrub" in filled("scrub", "--resume", "--no-keys", "home:").err
    assert not state.exists()
