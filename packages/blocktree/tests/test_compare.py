"""`bt compare`: an honest store agrees, and one that answers each machine differently is found out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Machine
from .serving import enrol, free_port, running_server, with_an_apple


@pytest.fixture
def filled(nas: Machine, tmp_path: Path) -> Machine:
    (tmp_path / "pear.txt").write_text("a pear")
    with_an_apple(nas, tmp_path, "home:/notes")
    return nas


@pytest.fixture
def branch(filled: Machine, homes: Path, machine_at: Callable[[Path], Machine]) -> Machine:
    """What another client of the same server is shown from now on: the same until here."""
    shutil.copytree(filled.home, homes / "branch")
    return machine_at(homes / "branch")


def test_over_an_honest_server_two_machines_agree(filled: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    with running_server(filled, port, tmp_path / "btfsd.log"):
        enrol(filled, laptop, port)
        filled("grant", "laptop", "home:/notes", "read,write")
        laptop("compare", "home", "--write", tmp_path / "laptop.view")
        filled("cp", tmp_path / "pear.txt", "home:/notes/")
        filled("compare", "home", "--write", tmp_path / "nas.view")
        assert "shows here all that it showed laptop" in filled("compare", "home", tmp_path / "laptop.view").out
        done = laptop("compare", "home", tmp_path / "nas.view", "--json").document
        (one,) = done["comparisons"]  # type: ignore[misc]
        assert (one["agrees"], one["gone"]) == (True, 0)  # type: ignore[has-type]


def test_a_server_that_answers_each_differently_is_found_at_the_first_exchange(
    filled: Machine, branch: Machine, tmp_path: Path
) -> None:
    filled("cp", tmp_path / "apple.txt", "home:/notes/one.txt")
    branch("cp", tmp_path / "pear.txt", "home:/notes/two.txt")
    filled("compare", "home", "--write", tmp_path / "nas.view")
    branch("compare", "home", "--write", tmp_path / "branch.view")
    for machine, theirs in ((filled, "branch.view"), (branch, "nas.view")):
        refused = machine("compare", "home", tmp_path / theirs, code=6)
        assert "another content of the same version" in refused.out
        assert "Stop writing through it" in refused.err


def test_two_revocation_lists_of_one_version_are_found(filled: Machine, branch: Machine, tmp_path: Path) -> None:
    filled("revoke", "00" * 16, "--yes")
    branch("revoke", "11" * 16, "--yes")
    branch("compare", "home", "--write", tmp_path / "branch.view")
    refused = filled("compare", "home", tmp_path / "branch.view", code=6)
    assert "two revocation lists of version 1" in refused.out


def test_a_revocation_that_is_withheld_is_found(filled: Machine, branch: Machine, tmp_path: Path) -> None:
    filled("revoke", "00" * 16, "--yes")
    filled("compare", "home", "--write", tmp_path / "nas.view")
    refused = branch("compare", "home", tmp_path / "nas.view", code=6)
    assert "it is withheld" in refused.out


def test_a_view_that_was_changed_is_refused(filled: Machine, tmp_path: Path) -> None:
    file = tmp_path / "nas.view"
    filled("compare", "home", "--write", file)
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    filled("compare", "home", file, code=6)
    file.write_bytes(b"no view")
    filled("compare", "home", file, code=6)


def test_something_has_to_be_asked(filled: Machine) -> None:
    assert "nothing to do" in filled("compare", "home", code=2).err
