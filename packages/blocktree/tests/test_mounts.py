"""`bt mount` and `umount`, and the kernel's table of mounts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from blocktree.mounts import Mount, parse_mounts

from .conftest import Machine

TABLE = r"""
22 1 0:20 / /proc rw,nosuid - proc proc rw
71 60 0:44 / /mnt/with\040space rw,nosuid,nodev - fuse.btfuse home:/a\040b rw,user_id=0
72 60 0:45 / /mnt/peers rw shared:1 master:2 - fuse.btfuse home: rw
73 60 0:46 / /mnt/other rw - fuse.sshfs host:/ rw
broken line
"""


def test_our_mounts_are_found_among_others() -> None:
    assert list(parse_mounts(TABLE)) == [
        Mount(source="home:/a b", mountpoint=Path("/mnt/with space"), options="rw,nosuid,nodev"),
        Mount(source="home:", mountpoint=Path("/mnt/peers"), options="rw"),
    ]


def test_every_truncation_of_the_table_is_read_without_a_failure() -> None:
    for length in range(len(TABLE)):
        assert len(list(parse_mounts(TABLE[:length]))) <= 2


REFUSED = [
    (["mount", "hone:", "/tmp"], 2, "no domain is called 'hone'"),
    (["mount", "--thin", "home:", "/tmp"], 2, "add --server"),
    (["mount", "home:", "/nonexistent"], 1, "does not exist"),
    (["umount", "/nonexistent"], 1, "/nonexistent"),
]


@pytest.mark.parametrize(("words", "code", "complaint"), REFUSED)
def test_what_cannot_be_mounted_is_said(nas: Machine, words: list[str], code: int, complaint: str) -> None:
    done = nas(*words, code=code)
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_a_wrong_passphrase_is_refused_before_anything_is_mounted(nas: Machine, tmp_path: Path) -> None:
    place = tmp_path / "tree"
    place.mkdir()
    assert "not the passphrase" in nas("mount", "home:", place, code=3, BLOCKTREE_PASSPHRASE="wrong").err
    assert not os.path.ismount(place)


@pytest.mark.mount
def test_a_mount_is_shown_by_status_and_ends_with_everything_committed(nas: Machine, tmp_path: Path) -> None:
    place = tmp_path / "tree"
    place.mkdir()
    nas("mount", "home:", place)
    try:
        (place / "note").write_text("written in a mount")
        status = json.loads(nas("status", "--json").out)
        assert status["domains"][0]["holder"]["program"] == "btfuse"
        assert str(place) in [mount["mountpoint"] for mount in status["mounts"]]
        assert "in use by btfuse" in nas("status").out
        assert "in use by btfuse" in nas("ls", "home:", code=7).err
    finally:
        nas("umount", place)
    assert nas("cat", "home:/note").out == "written in a mount"
