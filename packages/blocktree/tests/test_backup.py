"""`bt backup` and `bt restore`, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Machine
from .serving import free_port, running_server
from .test_recover import words_of, write_private
from .test_scrub import filled, flip

__all__ = ["filled"]


def number(document: dict[str, object], key: str) -> int:
    found = document[key]
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_a_lost_store_is_restored_from_its_backup(filled: Machine, tmp_path: Path, name: str) -> None:
    report = filled("backup", "--json", "home:", tmp_path / name).document
    assert report["verified"] is True
    assert report["damaged"] == []
    assert number(report, "copied") > 300 * 16_384
    (filled.store / "segments" / "00000001.seg").unlink()
    filled("cat", "home:/in/large.bin", code=6)
    done = filled("restore", tmp_path / name, "home:", "--replace")
    assert "everything in it is what was signed" in done.err
    assert ".replaced-" in done.err
    filled("cp", "home:/in/large.bin", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in" / "large.bin").read_bytes()
    filled("scrub", "home:")


def test_no_passphrase_is_asked_for(filled: Machine, tmp_path: Path) -> None:
    filled("backup", "home:", tmp_path / "backup", BLOCKTREE_PASSPHRASE="")
    filled("restore", tmp_path / "backup", tmp_path / "store", BLOCKTREE_PASSPHRASE="")


def test_a_store_in_use_is_backed_up_and_then_what_is_new(filled: Machine, tmp_path: Path) -> None:
    with running_server(filled, free_port(), tmp_path / "btfsd.log"):
        first = filled("backup", "--json", "home:", tmp_path / "backup").document
        filled("cp", tmp_path / "in" / "large.bin", "home:/again.bin")
        second = filled("backup", "--json", "home:", tmp_path / "backup").document
        third = filled("backup", "--json", "home:", tmp_path / "backup").document
    assert number(second, "kept") == number(first, "copied")
    assert number(second, "commits") > number(first, "commits")
    assert number(third, "copied") == 0
    filled("restore", tmp_path / "backup", "home:", "--replace")
    filled("cp", "home:/again.bin", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in" / "large.bin").read_bytes()


def test_a_restored_directory_is_what_bt_recover_takes(filled: Machine, laptop: Machine, tmp_path: Path) -> None:
    words = write_private(tmp_path / "words", " ".join(words_of(filled)))
    filled("backup", filled.store, tmp_path / "backup.tar")
    laptop("restore", tmp_path / "backup.tar", tmp_path / "store")
    laptop("recover", "home", "--store", tmp_path / "store", "--words-file", words, "--host", "new")
    assert laptop("ls", "home:/in").out == "deep/\nlarge.bin\n"


def test_a_damaged_backup_takes_nobodys_place(filled: Machine, tmp_path: Path) -> None:
    filled("backup", "home:", tmp_path / "backup")
    segment = tmp_path / "backup" / "segments" / "00000001.seg"
    flip(segment, segment.stat().st_size // 2)
    done = filled("restore", tmp_path / "backup", tmp_path / "store", code=6)
    assert "is not what was signed" in done.out
    assert "not restored" in done.err
    assert "damaged: 1" in done.err
    assert not (tmp_path / "store").exists()
    flip(segment, segment.stat().st_size // 2)
    filled("restore", tmp_path / "backup", tmp_path / "store")


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_a_damaged_store_is_told_from_a_damaged_backup(filled: Machine, tmp_path: Path, name: str) -> None:
    segment = filled.store / "segments" / "00000001.seg"
    flip(segment, segment.stat().st_size // 2)
    done = filled("backup", "home:", tmp_path / name, code=6)
    assert "bt fsck --salvage" in done.err
    flip(segment, segment.stat().st_size // 2)
    report = filled("backup", "--json", "home:", tmp_path / name).document
    assert number(report, "copied") == segment.stat().st_size
    filled("restore", tmp_path / name, tmp_path / "store")


def test_a_store_that_is_there_or_in_use_is_not_replaced_unasked(filled: Machine, tmp_path: Path) -> None:
    filled("backup", "home:", tmp_path / "backup")
    assert "--replace" in filled("restore", tmp_path / "backup", "home:", code=1).err
    with running_server(filled, free_port(), tmp_path / "btfsd.log"):
        busy = filled("restore", tmp_path / "backup", "home:", "--replace", code=7)
    assert "is in use by btfsd" in busy.err
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious")
    filled("restore", tmp_path / "backup", tmp_path / "precious", "--replace", code=1)
    filled("scrub", "home:")


def test_what_is_no_backup_is_refused(filled: Machine, tmp_path: Path) -> None:
    (tmp_path / "file.tar").write_bytes(b"no archive" * 1000)
    assert "is no whole backup" in filled("restore", tmp_path / "file.tar", tmp_path / "store", code=2).err
    assert "has no backup.json" in filled("restore", tmp_path / "in", tmp_path / "store", code=1).err
    assert "cannot open the backup" in filled("restore", tmp_path / "none.tar", tmp_path / "store", code=1).err
    assert "is a part of a domain" in filled("backup", "home:/in", tmp_path / "backup", code=2).err
    assert "there is no store in" in filled("backup", tmp_path / "in", tmp_path / "backup", code=1).err
    filled("backup", "home:", tmp_path / "whole.tar")
    assert "is there already" in filled("backup", "home:", tmp_path / "whole.tar", code=1).err


def test_a_backup_of_another_domain_is_refused(filled: Machine, laptop: Machine, tmp_path: Path) -> None:
    filled("backup", "home:", tmp_path / "backup")
    laptop("init", "home", "--host", "other", "--no-input")
    done = laptop("restore", tmp_path / "backup", "home:", "--replace", code=2)
    assert "is a backup of the domain of bt1" in done.err
    assert "is a backup of another store" in laptop("backup", "home:", tmp_path / "backup", code=1).err


def test_progress_and_help_are_shown(filled: Machine, tmp_path: Path) -> None:
    done = filled("backup", "--progress", "home:", tmp_path / "backup", TERM="dumb", COLUMNS="200")
    assert "done" in done.err
    assert "in use" in filled("backup", "--help").out
    assert "bt accept-restore" in filled("restore", "--help").out


@pytest.mark.mount
def test_a_restored_store_mounts(filled: Machine, tmp_path: Path) -> None:
    if not Path("/dev/fuse").exists():
        pytest.skip("needs /dev/fuse")
    filled("backup", "home:", tmp_path / "backup.tar")
    filled("restore", tmp_path / "backup.tar", "home:", "--replace")
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    filled.process("mount", "home:", mountpoint)
    try:
        content = (mountpoint / "in" / "large.bin").read_bytes()
        (mountpoint / "new").write_text("it can be written too")
    finally:
        filled.process("umount", mountpoint)
    assert content == (tmp_path / "in" / "large.bin").read_bytes()
