"""Caring for a store with snapshots: what only they hold is scrubbed, kept, copied, placed anew and given back."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Machine
from .serving import enrol, free_port, running_server
from .test_fsck import trees_equal
from .test_scrub import SEED, filled, flip

__all__ = ["filled"]

EVER = "2099-01-01"  #: everything was written before


@pytest.fixture
def past(filled: Machine) -> Machine:
    """The filled domain, of which everything is only in the snapshot `s`, but for one new file."""
    filled("snapshot", "create", "s", "home:")
    filled("rm", "-r", "home:/in")
    new = filled.directory.parent / "new"
    new.write_bytes(random.Random(SEED + 1).randbytes(50_000))
    filled("cp", new, "home:/")
    return filled


def segment_bytes(machine: Machine) -> int:
    return sum(path.stat().st_size for path in (machine.store / "segments").iterdir())


def restored(machine: Machine, tmp_path: Path) -> bool:
    """Whether the snapshot gives everything back."""
    machine("snapshot", "restore", "s", "home:/in")
    machine("export", "home:/in", tmp_path / "restored")
    return trees_equal(tmp_path / "in", tmp_path / "restored")


def old_runs(machine: Machine) -> list[tuple[int, int, int]]:
    """Segment, offset and bytes of what only snapshots hold."""
    with closing(sqlite3.connect(machine.store / "index.sqlite")) as db:
        rows = db.execute("SELECT segment, offset, (count - 1) * size + last FROM old_runs").fetchall()
    return [(segment, offset, size) for segment, offset, size in rows]


def test_every_flipped_byte_that_only_a_snapshot_holds_is_found(past: Machine) -> None:
    noise = random.Random(SEED)
    places = [(n, at + noise.randrange(size)) for n, at, size in old_runs(past) for _ in range(4)]
    places += [(n, at) for n, at, _ in old_runs(past)] + [(n, at + size - 1) for n, at, size in old_runs(past)]
    assert len(places) >= 12
    for number, offset in places:
        segment = past.store / "segments" / f"{number:08}.seg"
        flip(segment, offset)
        done = past("scrub", "--no-keys", "home:", code=6)
        assert "in the snapshot s" in done.out, offset
        flip(segment, offset)
    assert "everything is what was signed" in past("scrub", "home:").err


@pytest.mark.parametrize("column", ["record", "signed"])
def test_every_old_row_of_the_index_with_a_flipped_byte_is_found(past: Machine, column: str) -> None:
    index = past.store / "index.sqlite"
    with closing(sqlite3.connect(index)) as db:
        rows = db.execute(f"SELECT rowid, {column} FROM old_heads WHERE {column} IS NOT NULL").fetchall()
    assert rows
    for row, value in rows:
        changed = bytearray(value)
        changed[len(changed) // 2] ^= 0x10
        for content, code in ((bytes(changed), 6), (value, 0)):
            with closing(sqlite3.connect(index)) as db, db:
                db.execute(f"UPDATE old_heads SET {column} = ? WHERE rowid = ?", (content, row))
            past("scrub", "--no-keys", "home:", code=code)


def test_what_is_there_now_is_salvaged_although_a_snapshot_is_damaged(past: Machine, tmp_path: Path) -> None:
    for number, offset, size in old_runs(past):
        flip(past.store / "segments" / f"{number:08}.seg", offset + size // 2)
    done = past("fsck", "--salvage", tmp_path / "rescued", "home:")
    assert "everything could be read" in done.err
    assert (tmp_path / "rescued" / "new").read_bytes() == (past.directory.parent / "new").read_bytes()
    assert not (tmp_path / "rescued" / "in").exists()


def test_gc_keeps_what_a_snapshot_needs_and_frees_it_afterwards(past: Machine, tmp_path: Path) -> None:
    full = segment_bytes(past)
    past("gc", "--older-than", EVER, "home:")
    assert segment_bytes(past) > full * 0.9
    assert restored(past, tmp_path)
    past("rm", "-r", "home:/in")
    past("snapshot", "delete", "s", "home:")
    past("gc", "--older-than", EVER, "home:")
    assert segment_bytes(past) < 100_000
    assert "everything is what was signed" in past("scrub", "home:").err


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_a_backup_is_a_store_with_the_same_snapshots(past: Machine, tmp_path: Path, name: str) -> None:
    past("backup", "home:", tmp_path / name)
    past("snapshot", "delete", "s", "home:")
    past("gc", "home:")
    past("restore", "--replace", tmp_path / name, "home:")
    assert "everything is what was signed" in past("scrub", "home:").err
    assert restored(past, tmp_path)


def test_a_snapshot_that_came_since_the_last_backup_is_in_the_next(filled: Machine, tmp_path: Path) -> None:
    filled("backup", "home:", tmp_path / "backup")
    filled("snapshot", "create", "s", "home:")
    filled("rm", "-r", "home:/in")
    filled("backup", "home:", tmp_path / "backup")
    filled("snapshot", "delete", "s", "home:")
    filled("restore", "--replace", tmp_path / "backup", "home:")
    assert restored(filled, tmp_path)


@pytest.mark.parametrize("lost", ["DELETE FROM {}", "UPDATE {} SET offset = offset + 1"])
def test_a_rebuild_places_what_snapshots_hold_too(past: Machine, tmp_path: Path, lost: str) -> None:
    with closing(sqlite3.connect(past.store / "index.sqlite")) as db, db:
        db.execute(lost.format("runs"))
        db.execute(lost.format("old_runs"))
    past("scrub", "--no-keys", "home:", code=6)
    command = [sys.executable, "-m", "btfproto.store.rebuild", str(past.store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "everything is what was signed" in past("scrub", "home:").err
    assert restored(past, tmp_path)
    past("snapshot", "delete", "s", "home:")
    past("rm", "-r", "home:/in")
    past("gc", "home:")
    assert segment_bytes(past) < 100_000


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is checked
        act()
    return errno.errorcode[caught.value.errno or 0]


@pytest.mark.mount
@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="needs root and /dev/fuse")
def test_a_mount_over_a_server_shows_the_past_and_lets_nobody_write_there(
    nas: Machine, laptop: Machine, tmp_path: Path
) -> None:
    port, top = free_port(), tmp_path / "mnt"
    top.mkdir()
    content = random.Random(SEED).randbytes(300_000)
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/", "read,write")
        laptop("mount", "--server", "home:", top)
        try:
            (top / "dir").mkdir()
            (top / "dir" / "file").write_bytes(content)
            nas("snapshot", "create", "one", "home:")
            (top / "dir" / "file").write_bytes(b"new")
            (top / ".snapshots" / "two").mkdir()
            (top / "dir" / "file").unlink()
            assert {path.name for path in (top / ".snapshots").iterdir()} == {"one", "two"}
            one, two = top / ".snapshots" / "one" / "dir", top / ".snapshots" / "two" / "dir"
            assert (one / "file").read_bytes() == content
            assert (two / "file").read_bytes() == b"new"
            assert list((top / "dir").iterdir()) == []
            acts: list[Callable[[], object]] = [
                lambda: (one / "file").write_bytes(b"other"),
                lambda: (one / "new").write_bytes(b"other"),
                lambda: (one / "file").unlink(),
                lambda: (one / "file").chmod(0o600),
                lambda: (one / "file").rename(top / "moved"),
                lambda: (one / "sub").mkdir(),
                lambda: (top / ".snapshots" / "file").write_bytes(b"x"),
            ]
            assert [refusal(act) for act in acts] == ["EROFS"] * len(acts)
            laptop("snapshot", "list", "home:")
            (top / ".snapshots" / "two").rmdir()
            assert [path.name for path in (top / ".snapshots").iterdir()] == ["one"]
        finally:
            laptop("umount", top)
