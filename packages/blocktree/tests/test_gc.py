"""`bt gc`, as a user runs it: what nothing names goes, what is needed stays, and dead bytes are given back."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Machine
from .serving import free_port, running_server
from .test_scrub import filled, flip

__all__ = ["filled"]

EVER = "2099-01-01"  #: everything was written before
SIZE = 100 * 4096

#: A client that dies while a removed file is open.
CRASH = f"""
import os
from blocktree.session import Session, own
from btfproto.provider import OpenFlags

session = Session()
domain, place = session.home.resolve("home:")
with session.attach(domain, [place]) as tree:
    fs = tree.provider
    _, handle = fs.create(fs.root, "doomed", 0o600, own(), OpenFlags.WRITE)
    fs.write(handle, 0, os.urandom({SIZE}))
    fs.sync()
    fs.unlink(fs.root, "doomed")
    fs.sync()
    os._exit(0)
"""


@pytest.fixture
def crashed(filled: Machine) -> Machine:
    subprocess.run([sys.executable, "-c", CRASH], env=filled.environment(), check=True)
    return filled


def names(machine: Machine) -> str:
    return machine("ls", "home:/in").out + machine("ls", "home:/in/deep").out


def numbers(document: dict[str, object]) -> dict[str, int]:
    return {key: value for key, value in document.items() if isinstance(value, int)}


def test_a_block_that_nothing_names_is_found_and_removed(crashed: Machine) -> None:
    before = numbers(crashed("df", "--json", "home:").document)
    dry = crashed("gc", "--json", "--dry-run", "--older-than", EVER, "home:").document
    assert dry["dry_run"] is True
    assert isinstance(dry["unnamed_blocks"], list)
    assert len(dry["unnamed_blocks"]) == 1
    assert numbers(dry)["unnamed_bytes"] > SIZE
    assert numbers(crashed("df", "--json", "home:").document)["blocks"] == before["blocks"]
    done = crashed("gc", "--older-than", EVER, "home:")
    assert done.out.startswith("1 blocks that nothing names were removed (4")
    after = numbers(crashed("df", "--json", "home:").document)
    assert after["blocks"] == before["blocks"] - 1
    assert after["living"] < before["living"] - SIZE
    assert crashed("gc", "--json", "--older-than", EVER, "home:").document["unnamed_blocks"] == []
    crashed("scrub", "home:")


def test_what_was_written_lately_is_left_alone(crashed: Machine) -> None:
    assert crashed("gc", "--json", "home:").document["unnamed_blocks"] == []


def test_nothing_that_is_needed_goes(filled: Machine, tmp_path: Path) -> None:
    before = names(filled)
    report = filled("gc", "--json", "--older-than", EVER, "--tombstones", EVER, "home:").document
    assert report["unnamed_blocks"] == []
    assert names(filled) == before
    filled("cp", "home:/in/large.bin", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in" / "large.bin").read_bytes()
    filled("scrub", "home:")


def test_dead_bytes_are_given_back(filled: Machine, tmp_path: Path) -> None:
    (tmp_path / "more").write_bytes(random.Random(3).randbytes(SIZE))
    filled("cp", tmp_path / "more", "home:/more")
    filled("rm", "home:/in/large.bin")
    before = numbers(filled("df", "--json", "home:").document)
    dry = numbers(filled("gc", "--json", "--dry-run", "home:").document)
    assert before["dead"] > 300 * 16_384
    assert dry["dead"] == before["dead"]
    assert numbers(filled("df", "--json", "home:").document)["store"] == before["store"]
    done = filled("gc", "home:")
    assert "were given back" in done.out
    after = numbers(filled("df", "--json", "home:").document)
    assert after["dead"] < 10_000
    assert after["living"] == before["living"]
    filled("cp", "home:/more", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "more").read_bytes()
    filled("scrub", "home:")
    assert numbers(filled("gc", "--json", "home:").document)["dead"] == 0


def test_tombstones_are_forgotten_when_that_is_asked_for(filled: Machine) -> None:
    filled("rm", "home:/in/large.bin")
    assert filled("gc", "--json", "home:").document["tombstones"] is None
    assert filled("gc", "--json", "--tombstones", "1d", "home:").document["tombstones"] == 0
    assert filled("gc", "--json", "--dry-run", "--tombstones", EVER, "home:").document["tombstones"] == 1
    assert numbers(filled("df", "--json", "home:").document)["tombstones"] == 1
    filled("gc", "--tombstones", EVER, "home:")
    assert numbers(filled("df", "--json", "home:").document)["tombstones"] == 0
    filled("scrub", "home:")


def test_nothing_is_removed_where_a_part_of_the_tree_cannot_be_read(crashed: Machine, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    crashed("mkdir", "home:/many")
    crashed("cp", *[_file(tmp_path, number) for number in range(150)], "home:/many/")
    segments = sorted((crashed.store / "segments").glob("*.seg"))
    before = numbers(crashed("df", "--json", "home:").document)
    for segment in segments:  # the last bytes written are nodes of the directory
        flip(segment, segment.stat().st_size - 1)
    done = crashed("gc", "--older-than", EVER, "home:", code=6)
    assert "home" in done.err or "/many" in done.err
    assert numbers(crashed("df", "--json", "home:").document)["blocks"] == before["blocks"]


def _file(directory: Path, number: int) -> Path:
    path = directory / f"a rather long name, so that the directory needs several nodes, {number}"
    path.write_text("x")
    return path


def test_of_a_store_in_use_the_tree_alone_is_collected(crashed: Machine, tmp_path: Path) -> None:
    with running_server(crashed, free_port(), tmp_path / "btfsd.log"):
        done = crashed("gc", "--older-than", EVER, "home:")
        assert done.out.startswith("1 blocks that nothing names were removed")
        assert "the files of the store were left alone" in done.err
        crashed("ls", "home:/in")


def test_a_part_of_a_domain_and_odd_ages_are_refused(filled: Machine) -> None:
    assert "use: bt gc home:" in filled("gc", "home:/in", code=2).err
    assert "is no date" in filled("gc", "--older-than", "soon", "home:", code=2).err
    assert "--dry-run" in filled("gc", "--help").out


def test_progress_is_shown_where_it_is_wanted(filled: Machine) -> None:
    assert "done" in filled("gc", "--progress", "home:", TERM="dumb", COLUMNS="200").err
