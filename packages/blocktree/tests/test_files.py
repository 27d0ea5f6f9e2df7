"""`bt ls`, `cat`, `cp`, `mkdir`, `rm`, as a user runs them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from .conftest import Machine


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    top = tmp_path / "photos"
    (top / "2026").mkdir(parents=True)
    (top / "2026" / "apple.txt").write_text("an apple")
    (top / "b\x1b[31mad").write_text("red")
    (top / "z").symlink_to("2026")
    return top


def test_what_is_copied_in_is_listed_read_and_copied_out(nas: Machine, photos: Path, tmp_path: Path) -> None:
    done = nas("cp", "-r", photos, "home:/")
    assert done.err.startswith("copied 2 files, 11 B, in ")
    assert nas("ls", "home:/photos").out == "2026/\nb\\x1b[31mad\nz@\n"
    assert nas("cat", "home:/photos/2026/apple.txt", "home:/photos/z/apple.txt").out == "an applean apple"
    nas("cp", "-r", "home:/photos", tmp_path / "back")
    assert (tmp_path / "back" / "2026" / "apple.txt").read_text() == "an apple"
    assert (tmp_path / "back" / "z").readlink() == Path("2026")


def test_a_copy_names_a_file_or_goes_into_a_directory(nas: Machine, photos: Path, tmp_path: Path) -> None:
    apple = photos / "2026" / "apple.txt"
    nas("mkdir", "home:/in")
    nas("cp", apple, "home:/in")
    nas("cp", apple, "home:/pear.txt")
    assert nas("ls", "home:").out == "in/\npear.txt\n"
    assert nas("ls", "home:/in").out == "apple.txt\n"
    nas("cp", "home:/pear.txt", "home:/in/plum.txt")
    nas("cp", "home:/in/apple.txt", "home:/in/plum.txt", tmp_path)
    assert (tmp_path / "plum.txt").read_text() == (tmp_path / "apple.txt").read_text() == "an apple"


def test_the_whole_tree_copies_out_under_its_petname(nas: Machine, photos: Path, tmp_path: Path) -> None:
    nas("cp", "-r", photos, "home:")
    (tmp_path / "out").mkdir()
    nas("cp", "-r", "home:", tmp_path / "out")
    assert (tmp_path / "out" / "home" / "photos" / "2026" / "apple.txt").exists()


def test_a_listing_as_json_says_everything(nas: Machine, photos: Path) -> None:
    apple = photos / "2026" / "apple.txt"
    apple.chmod(0o640)
    os.utime(apple, (0, 1_000_000_000))
    nas("cp", apple, "home:/")
    (entry,) = json.loads(nas("ls", "--json", "home:").out)
    expected = {"name": "apple.txt", "kind": "file", "mode": "0640", "size": 8, "modified": "2001-09-09T01:46:40Z"}
    assert expected.items() <= entry.items()
    assert nas("ls", "-l", "home:/apple.txt").out == "-rw-r-----        8 B 2001-09-09 01:46:40 apple.txt\n"


def test_a_file_as_json_is_base64(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(range(256)))
    nas("cp", tmp_path / "raw", "home:/")
    (found,) = json.loads(nas("cat", "--json", "home:/raw").out)
    assert base64.b64decode(found["base64"]) == bytes(range(256))


def test_a_copy_as_json_counts(nas: Machine, photos: Path) -> None:
    os.mkfifo(photos / "pipe")
    report = nas("cp", "-r", "--json", photos, "home:/").document
    assert (report["files"], report["directories"], report["links"], report["bytes"]) == (2, 2, 1, 11)
    assert report["skipped"] == [str(photos / "pipe")]


def test_a_bar_is_shown_where_it_is_wanted(nas: Machine, photos: Path) -> None:
    done = nas("cp", "-r", "--progress", photos, "home:/", TERM="dumb", COLUMNS="200")
    assert "done" in done.err
    assert "5/5" in done.err
    assert "done" not in nas("cp", "-r", photos, "home:/").err


def test_directories_are_made_and_removed(nas: Machine) -> None:
    nas("mkdir", "-p", "home:/a/b/c", "home:/a/d")
    nas("mkdir", "-p", "home:/a/b/c")
    assert nas("ls", "home:/a").out == "b/\nd/\n"
    assert "exists" in nas("mkdir", "home:/a", code=1).err
    assert "is a directory; use: bt rm -r home:/a" in nas("rm", "home:/a", code=1).err
    assert nas("rm", "-r", "--json", "home:/a").document == {"removed": 4}
    assert nas("ls", "home:").out == ""
    nas("rm", "-f", "home:/a")


def test_a_link_is_removed_and_not_what_it_leads_to(nas: Machine, photos: Path) -> None:
    nas("cp", "-r", photos, "home:/")
    nas("rm", "-r", "home:/photos/z")
    assert nas("ls", "home:/photos/2026").out == "apple.txt\n"


REFUSED = [
    (["ls", "home:/none"], 1, "there is no home:/none; see: bt ls home:/"),
    (["cat", "home:/"], 1, "home:/ is a directory; use: bt ls home:/"),
    (["rm", "home:/none"], 1, "there is no home:/none"),
    (["rm", "-r", "home:/"], 7, "is the root of the domain and cannot be removed"),
    (["mkdir", "home:/no/where"], 1, "there is no home:/no"),
    (["cp", "x"], 2, "a source and a target"),
    (["cp", "a", "b"], 2, "none of these paths is in a domain"),
    (["cp", "/nonexistent", "home:/"], 1, "/nonexistent: No such file or directory"),
    (["cp", "/etc", "home:/"], 1, "/etc is a directory; use: bt cp -r"),
    (["cp", "/etc/passwd", "home:/no/where/x"], 1, "there is no home:/no"),
    (["cp", "/etc/passwd", "/etc/hostname", "home:/x"], 1, "several sources need a directory"),
    (["cp", "-r", "home:/", "home:/x"], 1, "cannot be copied into itself"),
    (["ls", "home"], 2, "is not a path in a domain"),
    (["ls", "hone:/"], 2, "no domain is called 'hone' here (known: home); see: bt status"),
    (["ls", "home:/../x"], 2, "cannot be a name"),
    (["ls", "home:/" + "x" * 256], 2, "1 to 255 bytes"),
]


@pytest.mark.parametrize(("words", "code", "complaint"), REFUSED)
def test_what_cannot_be_done_is_said_in_a_sentence(nas: Machine, words: list[str], code: int, complaint: str) -> None:
    done = nas(*words, code=code)
    assert complaint in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
