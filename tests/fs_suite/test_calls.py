"""What calls change and what they refuse: names, links, times and sizes, on real mounts in every mode.

Some of it pjdfstest checks on FreeBSD alone: refusals of a read-only mount, a running program, another file system.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fs_suite.caller import call
from tests.fs_suite.mounts import mounted

pytestmark = pytest.mark.mount

Act = Callable[[Path], object]


@pytest.fixture
def things(mount: Path) -> Path:
    """A directory with one of each."""
    (mount / "file").write_bytes(b"content")
    (mount / "directory").mkdir()
    (mount / "full").mkdir()
    (mount / "full/file").touch()
    (mount / "symlink").symlink_to("file")
    (mount / "loop").symlink_to("loop")
    os.mkfifo(mount / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        before = os.open(".", os.O_PATH)
        os.chdir(mount)
        try:
            server.bind("socket")
        finally:
            os.fchdir(before)
            os.close(before)
    return mount


@pytest.mark.parametrize("name", ["chmod", "open", "truncate", "mkdir", "unlink", "rmdir", "mkfifo", "readlink"])
def test_every_call_refuses_a_bad_path(things: Path, name: str) -> None:
    more = {"chmod": (0o644,), "open": (os.O_RDONLY,), "truncate": (1,)}.get(name, ())
    assert call(name, things / "file/below", *more) == "ENOTDIR"
    assert call(name, things / "absent/below", *more) == "ENOENT"
    assert call(name, things / "loop/below", *more) == "ELOOP"
    assert call(name, things / ("n" * 256), *more) == "ENAMETOOLONG"
    assert call(name, f"{things}{'/.' * 2100}", *more) == "ENAMETOOLONG"


def test_names_of_the_longest_kind_are_made_and_removed(things: Path) -> None:
    name = things / ("n" * 255)
    for make, remove in (("mkdir", "rmdir"), ("mkfifo", "unlink")):
        assert [call(make, name), call("stat", name), call(remove, name), call("stat", name)] == [
            "ok", "ok", "ok", "ENOENT",
        ]  # fmt: skip


@pytest.mark.parametrize("taken", ["file", "directory", "symlink", "loop", "fifo", "socket"])
def test_nothing_is_made_where_a_name_is_taken(things: Path, taken: str) -> None:
    path = things / taken
    for name, *words in (
        ("mkdir", path), ("mkfifo", path), ("symlink", "x", path), ("link", things / "full/file", path),
        ("open", path, os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    ):  # fmt: skip
        assert call(name, *words) == "EEXIST"


def test_removing_takes_the_right_kind(things: Path) -> None:
    assert call("rmdir", things / "file") == "ENOTDIR"
    assert call("rmdir", things / "full") == "ENOTEMPTY"
    assert call("rmdir", f"{things}/directory/.") == "EINVAL"
    assert call("rmdir", f"{things}/directory/..") == "ENOTEMPTY"
    assert call("unlink", things / "directory") == "EISDIR"
    for name in ("file", "symlink", "loop", "fifo", "socket"):
        assert call("unlink", things / name) == "ok"
    assert call("rmdir", things / "directory") == "ok"


def test_opening_takes_the_right_kind(things: Path) -> None:
    assert call("open", things / "directory", os.O_WRONLY) == "EISDIR"
    assert call("open", things / "directory", os.O_RDWR) == "EISDIR"
    assert call("open", things / "directory", os.O_RDONLY | os.O_TRUNC) == "EISDIR"
    assert call("open", things / "file", os.O_RDONLY | os.O_DIRECTORY) == "ENOTDIR"
    assert call("open", things / "symlink", os.O_RDONLY | os.O_NOFOLLOW) == "ELOOP"
    assert call("open", things / "fifo", os.O_WRONLY | os.O_NONBLOCK) == "ENXIO"
    assert call("open", things / "socket", os.O_RDONLY) == "ENXIO"


def test_a_rename_takes_the_right_kind(things: Path) -> None:
    assert call("rename", things / "directory", things / "file") == "ENOTDIR"
    assert call("rename", things / "file", things / "directory") == "EISDIR"
    assert call("rename", things / "directory", things / "full") == "ENOTEMPTY"
    assert call("rename", things / "full", things / "full/below") == "EINVAL"
    assert call("rename", f"{things}/directory/.", things / "x") == "EBUSY"
    assert call("rename", things / "absent", things / "x") == "ENOENT"
    assert call("rename", things / "full", things / "directory") == "ok"
    assert call("rename", things / "fifo", things / "file") == "ok"
    assert sorted(path.name for path in things.iterdir()) == ["directory", "file", "loop", "socket", "symlink"]


def test_a_rename_over_one_of_several_names_leaves_the_others(things: Path) -> None:
    os.link(things / "file", things / "second")
    before = (things / "file").stat().st_ctime_ns
    assert call("rename", things / "fifo", things / "second") == "ok"
    assert (things / "file").stat().st_nlink == 1
    assert (things / "file").stat().st_ctime_ns > before
    assert (things / "file").read_bytes() == b"content"


def test_a_rename_between_two_names_of_one_file_changes_nothing(things: Path) -> None:
    os.link(things / "file", things / "second")
    assert call("rename", things / "file", things / "second") == "ok"
    assert (things / "file").stat().st_nlink == 2


def test_directories_count_the_directories_in_them(things: Path) -> None:
    links = things.stat().st_nlink
    (things / "a").mkdir()
    assert things.stat().st_nlink == links + 1
    (things / "a").rename(things / "full/a")
    assert (things.stat().st_nlink, (things / "full").stat().st_nlink) == (links, 3)
    assert (things / "full/a/..").stat().st_ino == (things / "full").stat().st_ino
    (things / "full/a").rmdir()
    assert (things / "full").stat().st_nlink == 2


def test_a_directory_has_no_second_name(things: Path) -> None:
    assert call("link", things / "directory", things / "second") == "EPERM"
    assert call("link", things / "absent", things / "second") == "ENOENT"


CHANGES: dict[str, tuple[Act, list[str]]] = {
    "mkdir": (lambda path: (path / "new").mkdir(), ["."]),
    "mkfifo": (lambda path: os.mkfifo(path / "new"), ["."]),
    "symlink": (lambda path: (path / "new").symlink_to("x"), ["."]),
    "create": (lambda path: (path / "new").touch(), ["."]),
    "link": (lambda path: os.link(path / "file", path / "second"), [".", "file"]),
    "unlink": (lambda path: (path / "fifo").unlink(), ["."]),
    "rmdir": (lambda path: (path / "directory").rmdir(), ["."]),
    "rename": (
        lambda path: (path / "file").rename(path / "directory/file"),
        [".", "directory", "directory/file"],
    ),
    "chmod": (lambda path: (path / "file").chmod(0o600), ["file"]),
    "chown": (lambda path: os.chown(path / "file", 1, 1), ["file"]),
    "shorten": (lambda path: os.truncate(path / "file", 3), ["file"]),
    "truncate to the same size": (lambda path: os.truncate(path / "file", 7), ["file"]),
    "setxattr": (lambda path: os.setxattr(path / "file", "user.a", b"b"), ["file"]),
}


@pytest.mark.parametrize(("act", "changed"), CHANGES.values(), ids=CHANGES)
def test_what_is_changed_gets_a_new_change_time(things: Path, act: Act, changed: list[str]) -> None:
    before = time.time_ns() - 20_000_000  # a kernel's clock of files stands still for some milliseconds
    os.utime(things / "file", ns=(1, 1))
    act(things)
    for name in changed:
        assert (things / name).lstat().st_ctime_ns > before


def test_a_refused_call_changes_no_time(things: Path) -> None:
    before = [(things / name).lstat().st_ctime_ns for name in (".", "file", "full")]
    refused = [call("mkdir", things / "file"), call("rmdir", things / "full"), call("truncate", things / "file", -1)]
    assert refused == ["EEXIST", "ENOTEMPTY", "EINVAL"]
    assert [(things / name).lstat().st_ctime_ns for name in (".", "file", "full")] == before


@pytest.mark.parametrize("seconds", [0, 1, -1, 2**31, 2**32, -(2**31) - 1])
def test_times_before_1970_and_after_2038_are_kept(things: Path, seconds: int) -> None:
    wanted = seconds * 10**9 + 123_456_789
    for name in ("file", "directory", "fifo", "symlink"):
        os.utime(things / name, ns=(wanted, wanted + 1), follow_symlinks=False)
        found = (things / name).lstat()
        assert (found.st_atime_ns, found.st_mtime_ns) == (wanted, wanted + 1)


def test_sizes_beyond_four_tebibytes_and_negative_ones(things: Path) -> None:
    assert call("truncate", things / "file", -1) == "EINVAL"
    assert call("truncate", things / "file", 5 << 40) == "ok"
    assert (things / "file").stat().st_size == 5 << 40
    with (things / "file").open("r+b") as file:
        file.seek((4 << 40) + 5)
        file.write(b"far")
        file.seek(4 << 40)
        assert file.read(9) == bytes(5) + b"far" + bytes(1)
    assert call("truncate", things / "directory", 0) == "EISDIR"
    assert call("truncate", things / "file", (1 << 63) - 1) in ("EFBIG", "EINVAL")


def test_allocation_extends_and_refuses_nonsense(things: Path) -> None:
    with (things / "file").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 20_000, 3_456)
        assert os.fstat(file.fileno()).st_size == 23_456
        assert file.read(8) == b"content\0"
        with pytest.raises(OSError, match="Invalid argument"):
            os.posix_fallocate(file.fileno(), 0, 0)


def test_an_unlinked_open_file_has_no_name_and_all_its_content(things: Path) -> None:
    with (things / "file").open("r+b") as file:
        (things / "file").unlink()
        assert os.fstat(file.fileno()).st_nlink == 0
        file.seek(7)
        file.write(b" and more")
        file.seek(0)
        assert file.read() == b"content and more"


def test_a_running_program_is_not_written(things: Path) -> None:
    shutil.copy("/bin/sleep", things / "sleep")
    with subprocess.Popen([str(things / "sleep"), "60"]) as process:
        try:
            assert call("open", things / "sleep", os.O_WRONLY) == "ETXTBSY"
            assert call("truncate", things / "sleep", 1) == "ETXTBSY"
        finally:
            process.kill()


def test_names_do_not_cross_to_another_file_system(things: Path, tmp_path: Path) -> None:
    assert call("rename", things / "file", tmp_path / "file") == "EXDEV"
    assert call("link", things / "file", tmp_path / "file") == "EXDEV"


def test_a_read_only_mount_refuses_every_change() -> None:
    with mounted("alone", "ro") as place:
        for name, *words in (
            ("mkdir", place / "x"), ("mkfifo", place / "x"), ("symlink", "x", place / "x"), ("chmod", place, 0o700),
            ("chown", place, 1, 1), ("utime", place), ("open", place / "x", os.O_CREAT | os.O_WRONLY),
        ):  # fmt: skip
            assert call(name, *words) == "EROFS"
