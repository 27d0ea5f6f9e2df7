"""Who may do what: what pjdfstest checks as other users, on real mounts in every mode."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.fs_suite.caller import ALICE, BOB, GUESTS, STAFF, as_user, call

pytestmark = pytest.mark.mount

KINDS = ("file", "directory", "fifo", "symlink")


def make(kind: str, path: Path, owner: int | None = None) -> Path:
    if kind == "file":
        path.write_bytes(b"content")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    if owner is not None:
        os.chown(path, owner, owner, follow_symlinks=False)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_directory_without_search_permission_hides_what_is_in_it(mount: Path) -> None:
    closed = make("directory", mount / "closed", ALICE)
    inside = make("file", closed / "file", ALICE)
    make("directory", closed / "sub", ALICE)
    closed.chmod(0o600)
    asked = [
        ("stat", inside), ("open", inside, os.O_RDONLY), ("chmod", inside, 0o600), ("truncate", inside, 0),
        ("unlink", inside), ("rmdir", closed / "sub"), ("mkdir", closed / "new"), ("mkfifo", closed / "new"),
        ("symlink", "x", closed / "new"), ("link", inside, mount / "new"), ("rename", inside, mount / "new"),
        ("utime", inside), ("chown", inside, ALICE, ALICE),
    ]  # fmt: skip
    assert as_user(ALICE, *asked) == ["EACCES"] * len(asked)
    assert as_user(ALICE, ("chmod", closed, 0o700), ("stat", inside), ("unlink", inside)) == ["ok"] * 3


def test_a_directory_without_write_permission_keeps_its_names(mount: Path) -> None:
    closed = make("directory", mount / "closed", ALICE)
    inside = make("file", closed / "file", ALICE)
    make("directory", closed / "sub", ALICE)
    closed.chmod(0o500)
    refused = [
        ("unlink", inside), ("rmdir", closed / "sub"), ("mkdir", closed / "new"), ("mkfifo", closed / "new"),
        ("symlink", "x", closed / "new"), ("link", inside, closed / "new"), ("rename", inside, closed / "new"),
        ("rename", inside, mount / "new"), ("open", closed / "new", os.O_CREAT | os.O_WRONLY),
    ]  # fmt: skip
    assert as_user(ALICE, *refused) == ["EACCES"] * len(refused)
    assert as_user(ALICE, ("open", inside, os.O_RDWR), ("link", inside, mount / "linked")) == ["ok", "ok"]


@pytest.mark.parametrize(("mode", "reading", "writing"), [(0o4, 0, 1), (0o2, 1, 0), (0o6, 0, 0), (0o1, 1, 1)])
@pytest.mark.parametrize("class_", ["owner", "group", "others"])
def test_the_bits_of_the_own_class_alone_count(mount: Path, class_: str, mode: int, reading: int, writing: int) -> None:
    path = mount / "file"
    path.write_bytes(b"x")
    os.chown(path, ALICE if class_ == "owner" else BOB, STAFF if class_ != "others" else GUESTS)
    shift = {"owner": 6, "group": 3, "others": 0}[class_]
    path.chmod((0o777 & ~(0o7 << shift)) | mode << shift)
    expected = [("ok", "EACCES")[reading], ("ok", "EACCES")[writing], ("ok", "EACCES")[reading | writing]]
    calls = [("open", path, flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)]
    truncations = [("open", path, os.O_RDONLY | os.O_TRUNC), ("truncate", path, 0)]
    answers = as_user(ALICE, *calls, *truncations, groups=(STAFF,))
    assert answers == [*expected, ("ok", "EACCES")[reading | writing], ("ok", "EACCES")[writing]]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_owner_changes_mode_and_times(mount: Path, kind: str) -> None:
    path = make(kind, mount / "it", ALICE)
    if kind != "symlink":
        assert as_user(BOB, ("chmod", path, 0o777)) == ["EPERM"]
        assert as_user(BOB, ("utime", path, [1, 1])) == ["EPERM"]
        assert as_user(ALICE, ("chmod", path, 0o640), ("utime", path, [1, 2])) == ["ok", "ok"]
        assert (mode_of(path), path.stat().st_mtime) == (0o640, 2)
    assert as_user(BOB, ("lchown", path, BOB, BOB)) == ["EPERM"]
    assert as_user(ALICE, ("lchown", path, BOB, -1)) == ["EPERM"]


def test_whoever_may_write_sets_the_times_to_now_and_to_nothing_else(mount: Path) -> None:
    path = make("file", mount / "file", ALICE)
    path.chmod(0o666)
    os.utime(path, (1, 1))
    assert as_user(BOB, ("utime", path)) == ["ok"]
    assert path.stat().st_mtime > 1
    path.chmod(0o644)
    assert as_user(BOB, ("utime", path)) == ["EACCES"]


def test_an_owner_gives_a_file_to_groups_that_are_his(mount: Path) -> None:
    path = make("file", mount / "file", ALICE)
    calls = [("chown", path, -1, GUESTS), ("chown", path, ALICE, STAFF), ("chown", path, -1, 12345)]
    assert as_user(ALICE, *calls, groups=(STAFF, GUESTS)) == ["ok", "ok", "EPERM"]
    assert (path.stat().st_uid, path.stat().st_gid) == (ALICE, STAFF)


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_a_change_of_owner_takes_the_set_id_bits(mount: Path, kind: str) -> None:
    path = make(kind, mount / "it", ALICE)
    path.chmod(0o6555)
    assert as_user(ALICE, ("chown", path, -1, GUESTS), groups=(STAFF, GUESTS)) == ["ok"]
    assert mode_of(path) == 0o555


def test_a_directory_keeps_its_set_id_bits_when_its_owner_changes(mount: Path) -> None:
    path = make("directory", mount / "it", ALICE)
    path.chmod(0o6755)
    os.chown(path, BOB, BOB)
    assert mode_of(path) == 0o6755


def test_only_members_of_its_group_make_a_file_set_gid(mount: Path) -> None:
    path = make("file", mount / "file", ALICE)
    os.chown(path, ALICE, 12345)
    assert as_user(ALICE, ("chmod", path, 0o2755)) == ["ok"]
    assert mode_of(path) == 0o755
    os.chown(path, ALICE, STAFF)
    assert as_user(ALICE, ("chmod", path, 0o2755), groups=(STAFF,)) == ["ok"]
    assert mode_of(path) == 0o2755


def test_a_write_takes_the_set_id_bits(mount: Path) -> None:
    path = make("file", mount / "file", ALICE)
    path.chmod(0o6777)
    assert as_user(BOB, ("truncate", path, 3)) == ["ok"]
    assert mode_of(path) == 0o777


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_sticky_directory_only_the_owners_remove_and_rename(mount: Path, kind: str) -> None:
    sticky = make("directory", mount / "sticky")
    sticky.chmod(0o1777)
    remove = "rmdir" if kind == "directory" else "unlink"
    path = make(kind, sticky / "it", ALICE)
    assert as_user(BOB, (remove, path), ("rename", path, mount / "mine")) == ["EPERM", "EPERM"]
    assert as_user(ALICE, ("rename", path, sticky / "renamed"), (remove, sticky / "renamed")) == ["ok", "ok"]
    os.chown(sticky, BOB, BOB)
    make(kind, path, ALICE)
    assert as_user(BOB, (remove, path)) == ["ok"]


def test_in_a_sticky_directory_a_name_of_others_is_not_replaced(mount: Path) -> None:
    sticky = make("directory", mount / "sticky")
    sticky.chmod(0o1777)
    make("file", sticky / "theirs", ALICE)
    mine = make("file", mount / "mine", BOB)
    assert as_user(BOB, ("rename", mine, sticky / "theirs")) == ["EPERM"]
    assert as_user(ALICE, ("rename", sticky / "theirs", sticky / "other")) == ["ok"]


def test_a_directory_moves_to_another_parent_only_for_who_may_write_in_it(mount: Path) -> None:
    here, there = make("directory", mount / "here"), make("directory", mount / "there")
    for place in (here, there):
        place.chmod(0o777)
    make("directory", here / "moving", BOB)
    assert as_user(ALICE, ("rename", here / "moving", there / "moving")) == ["EACCES"]
    assert as_user(ALICE, ("rename", here / "moving", here / "still")) == ["ok"]
    assert call("rename", here / "still", there / "moving") == "ok"


@pytest.mark.parametrize("kind", ["mkdir", "mkfifo", "open"])
def test_new_objects_belong_to_their_maker_and_lose_what_the_umask_takes(mount: Path, kind: str) -> None:
    path = mount / "new"
    words = (os.O_CREAT | os.O_WRONLY, 0o777) if kind == "open" else (0o777,)
    assert as_user(ALICE, (kind, path, *words), groups=(STAFF,)) == ["ok"]
    found = path.stat()
    assert (found.st_uid, found.st_gid, mode_of(path)) == (ALICE, STAFF, 0o755)


def test_only_root_makes_devices(mount: Path) -> None:
    calls = [("mknod", mount / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))]
    assert as_user(ALICE, *calls) == ["EPERM"]
    assert call("mknod", mount / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3)) == "ok"
    assert (mount / "null").stat().st_rdev == os.makedev(1, 3)
