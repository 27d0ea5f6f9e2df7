"""`bt rekey`: after it the others read on, and who was revoked has nothing of what is new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Machine
from .serving import enrol, free_port, running_server, with_an_apple
from .test_rotate import killed_at


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
        nas("revoke", "tablet", "--yes", "--keep-keys")
        done = nas("rekey", "home:/notes", "--json").document
        assert (done["blocks"], done["kept"], done["unread"], done["epoch"]) == (3, [], [], 1)
        assert laptop("cat", "home:/notes/2026/apple.txt").out == "an apple"
        laptop("cp", tmp_path / "apple.txt", "home:/notes/pear.txt")
        assert nas("cat", "home:/notes/pear.txt").out == "an apple"
        tablet("cat", "home:/notes/2026/apple.txt", code=5)
    nas("scrub", "home:")  # its exit code says that nothing is damaged


def test_the_whole_domain_can_be_rekeyed(nas: Machine, tmp_path: Path) -> None:
    with_an_apple(nas, tmp_path, "home:/notes")
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
            {"path": f"/{root}/notes", "blocks": 3, "kept": 0, "waiting": 0},
            {"path": f"/{root}/photos/2026", "blocks": 1, "kept": 0, "waiting": 0},
        ]
        assert nas("cat", "home:/notes/apple.txt").out == "an apple"


def test_a_writecap_has_nothing_to_rekey(nas: Machine) -> None:
    refused = nas("revoke", "00" * 16, "--now", "--yes", code=2)
    assert "opens nothing" in refused.err


@pytest.fixture
def shared(nas: Machine, laptop: Machine, tmp_path: Path) -> Machine:
    """A domain, served nowhere now, in which a laptop may read `/notes`, with some files."""
    (tmp_path / "apple.txt").write_text("an apple")
    nas("mkdir", "-p", "home:/notes/2026")
    for number in range(5):
        nas("cp", tmp_path / "apple.txt", f"home:/notes/2026/{number}.txt")
    enrol(nas, laptop, 1)
    nas("grant", "laptop", "home:/notes", "read")
    return nas


def epochs(machine: Machine) -> tuple[int, str]:
    """How many have new keys only since now, and whether something is noted."""
    (domain,) = json.loads(machine("status", "--json").out)["domains"]
    return len(domain["rekeying"]), machine("rekey", "--resume").out


def test_a_revocation_gives_directories_new_keys_and_files_follow(shared: Machine) -> None:
    done = json.loads(shared("revoke", "laptop", "--yes", "--json").out)
    (place,) = done["rekeyed"]
    assert (place["blocks"], place["waiting"]) == (2, 5)
    assert "it cannot find what is made there later" in str(done["not_undone"])
    left, said = epochs(shared)
    assert left == 1
    assert "5 files and directories at home:/notes have new keys" in said
    assert epochs(shared) == (0, "Nothing is left to be re-keyed.\n")
    assert shared("cat", "home:/notes/2026/4.txt").out == "an apple"


def test_a_file_that_is_written_meanwhile_has_its_new_key_already(shared: Machine, tmp_path: Path) -> None:
    shared("revoke", "laptop", "--yes")
    pear = tmp_path / "pear"
    pear.write_text("a pear")
    shared("cp", pear, "home:/notes/2026/4.txt")
    shared("cp", pear, "home:/notes/new.txt")
    assert "4 files and directories at home:/notes have new keys" in epochs(shared)[1]
    assert shared("cat", "home:/notes/2026/4.txt").out == "a pear"


def test_with_keep_keys_no_key_is_changed(shared: Machine) -> None:
    done = shared("revoke", "laptop", "home:/notes", "--keep-keys", "--yes", "--json").document
    assert done["rekeyed"] == []
    assert epochs(shared)[0] == 0


@pytest.mark.parametrize("words", [("--now",), ()])
@pytest.mark.parametrize("place", [(), ("home:/notes",)])
def test_killed_before_any_durable_write_it_can_be_completed(
    shared: Machine, homes: Path, machine_at: Callable[[Path], Machine], words: tuple[str, ...], place: tuple[str, ...]
) -> None:
    for last in range(20):
        shutil.copytree(shared.home, homes / "copy")
        machine = machine_at(homes / "copy")
        command = ("revoke", "laptop", *place, "--yes", "--from", "2026-01-01", *words)
        killed = killed_at(machine, last, *command)
        assert machine("cat", "home:/notes/2026/4.txt").out == "an apple"
        again = machine.call(machine.home, list(command), {})
        assert again.code in (0, 1), again  # 1: at a path, all of it was taken back already
        machine("rekey", "--resume")
        read_keys = machine("rekey", "home:/notes", "--resume", "--json").document
        assert (read_keys["epoch"], read_keys["blocks"]) in {(1, 0), (2, 0)}  # everything has its new key
        assert machine("cat", "home:/notes/2026/4.txt").out == "an apple"
        shutil.rmtree(homes / "copy")
        if not killed:
            break
    assert last > 2


def test_to_rekey_nothing_has_to_be_said(shared: Machine) -> None:
    assert "say what is to be re-keyed" in shared("rekey", code=2).err
