"""`bt rekey`: after it the others read on, and who was revoked has nothing of what is new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Machine
from .test_server import enrol, free_port, running_server


@pytest.fixture
def tablet(machine_at: Callable[[Path], Machine], homes: Path) -> Machine:
    return machine_at(homes / "tablet")


def test_over_a_server_the_others_read_and_write_on(
    nas: Machine, laptop: Machine, tablet: Machine, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "apple.txt").write_text("an apple")
    nas("mkdir", "-p", "home:/notes/2026")
    nas("cp", tmp_path / "apple.txt", "home:/notes/2026/")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        for machine in (laptop, tablet):
            enrol(nas, machine, port)
            nas("grant", machine.home.name, "home:/notes", "read,write")
        assert laptop("cat", "home:/notes/2026/apple.txt").out == "an apple"
        nas("revoke", "tablet", "--yes")
        done = nas("rekey", "home:/notes", "--json").document
        assert (done["blocks"], done["kept"], done["unread"], done["epoch"]) == (3, [], [], 1)
        assert laptop("cat", "home:/notes/2026/apple.txt").out == "an apple"
        laptop("cp", tmp_path / "apple.txt", "home:/notes/pear.txt")
        assert nas("cat", "home:/notes/pear.txt").out == "an apple"
        tablet("cat", "home:/notes/2026/apple.txt", code=5)
    nas("scrub", "home:")  # its exit code says that nothing is damaged


def test_the_whole_domain_can_be_rekeyed(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "apple.txt").write_text("an apple")
    nas("mkdir", "home:/notes")
    nas("cp", tmp_path / "apple.txt", "home:/notes/")
    assert "3 files and directories at home:/ have new keys" in nas("rekey", "home:").out
    assert nas("cat", "home:/notes/apple.txt").out == "an apple"
    assert "0 files and directories" in nas("rekey", "home:", "--resume").out


def test_a_bar_shows_how_far_it_is(nas: Machine) -> None:
    nas("mkdir", "home:/notes")
    assert "done" in nas("rekey", "home:/notes", "--progress").err


def test_a_file_is_no_directory(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "apple.txt").write_text("an apple")
    nas("cp", tmp_path / "apple.txt", "home:/")
    assert "is not a directory" in nas("rekey", "home:/apple.txt", code=1).err


def test_revoking_and_rekeying_in_one(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "apple.txt").write_text("an apple")
    nas("mkdir", "-p", "home:/notes/2026", "home:/photos/2026", "home:/private")
    nas("cp", tmp_path / "apple.txt", "home:/notes/")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        for place in ("home:/notes", "home:/notes/2026", "home:/photos/2026"):
            nas("grant", "laptop", place, "read")
        done = nas("revoke", "laptop", "--now", "--yes", "--json").document
        root = str(done["rekeyed"][0]["path"]).split("/")[1]  # type: ignore[index]
        assert done["rekeyed"] == [
            {"path": f"/{root}/notes", "blocks": 3, "kept": 0},
            {"path": f"/{root}/photos/2026", "blocks": 1, "kept": 0},
        ]
        assert nas("cat", "home:/notes/apple.txt").out == "an apple"


def test_a_writecap_has_nothing_to_rekey(nas: Machine) -> None:
    refused = nas("revoke", "00" * 16, "--now", "--yes", code=2)
    assert "opens nothing" in refused.err
