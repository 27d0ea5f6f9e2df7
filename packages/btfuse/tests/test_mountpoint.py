from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from btfuse._errors import FuseError
from btfuse._mountpoint import check_mountpoint, find_mount, parse_mounts, unmount_and_wait
from btlib.kinds import Kind
from hypothesis import given
from hypothesis import strategies as st

MOUNTINFO = """\
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 25 0:39 / /mnt/with\\040space rw,nosuid,nodev shared:2 master:1 - fuse.btfuse home:/a\\040b rw,user_id=0
a line of another kind
"""


def test_mountinfo_is_read() -> None:
    root, ours = parse_mounts(MOUNTINFO)
    assert (root.mountpoint, root.kind) == ("/", "ext4")
    assert ours.mountpoint == "/mnt/with space"
    assert (ours.device, ours.kind, ours.source) == ("0:39", "fuse.btfuse", "home:/a b")


@given(st.text())
def test_other_text_holds_no_mounts(text: str) -> None:
    for entry in parse_mounts(text):
        assert entry.kind


def test_the_root_is_mounted() -> None:
    assert find_mount("/") is not None
    assert find_mount("/no/such/place") is None


def test_an_empty_directory_can_be_mounted_on(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert check_mountpoint(f"{tmp_path}/m/") == str(tmp_path / "m")
    (tmp_path / "link").symlink_to("m")
    assert check_mountpoint(str(tmp_path / "link")) == str(tmp_path / "m")


def test_an_absent_mount_point_names_the_command_that_makes_it(tmp_path: Path) -> None:
    for absent in (tmp_path / "m", tmp_path / "x/y"):
        with pytest.raises(FuseError, match=r"does not exist.*mkdir -p") as caught:
            check_mountpoint(str(absent))
        assert caught.value.kind is Kind.NOT_FOUND


def test_a_file_is_no_mount_point(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FuseError, match="no directory"):
        check_mountpoint(str(tmp_path / "file"))


def test_a_directory_with_content_is_refused_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FuseError, match=r"not empty.*nonempty") as caught:
        check_mountpoint(str(tmp_path))
    assert caught.value.kind is Kind.NOT_EMPTY
    assert check_mountpoint(str(tmp_path), allow_nonempty=True) == str(tmp_path)


def test_what_is_not_mounted_is_not_unmounted(tmp_path: Path) -> None:
    with pytest.raises(FuseError, match="nothing of btfuse is mounted"):
        unmount_and_wait(str(tmp_path))


def test_a_server_that_dies_between_two_questions_leaves_a_mount_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir
    answers = iter([OSError(errno.ENOTCONN, "Transport endpoint is not connected")])

    def dying(path: str) -> os._ScandirIterator[str]:
        for error in answers:
            raise error
        return scandir(path)

    monkeypatch.setattr(os, "scandir", dying)
    assert check_mountpoint(str(tmp_path)) == str(tmp_path)
