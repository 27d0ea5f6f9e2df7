"""`bt accept-restore`, as a user runs it: an older state is refused, shown, and accepted on purpose only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import PASSPHRASE, Machine
from .serving import enrol, free_port, running_server
from .terminals import type_at_terminal

QUESTION = "the newest there is?"


@pytest.fixture
def restored(nas: Machine, tmp_path: Path) -> Machine:
    """A machine that saw more than its store, which was restored, now has."""
    for name, text in (("old.txt", "old"), ("new.txt", "new")):
        (tmp_path / name).write_text(text)
    nas("mkdir", "home:/notes")
    nas("cp", tmp_path / "old.txt", "home:/notes/")
    nas("backup", "home:", tmp_path / "backup")
    nas("cp", tmp_path / "new.txt", "home:/notes/")
    nas("mkdir", "home:/more")
    nas("restore", tmp_path / "backup", "home:", "--replace")
    return nas


def log(machine: Machine) -> list[dict[str, object]]:
    file = machine.store.parent / "accepted-restores.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_an_older_state_is_refused_with_the_command_that_accepts_it(restored: Machine) -> None:
    done = restored("ls", "home:/", code=6)
    assert "was seen before: it went back in time" in done.err
    assert "bt accept-restore" in done.err


def test_what_went_back_is_shown_accepted_and_logged(restored: Machine) -> None:
    done = restored("accept-restore", "home", "--yes")
    assert "2 files, directories and records went back:" in done.err
    assert "  home:/: version" in done.err
    assert "  home:/notes: version" in done.err
    assert "2 that were seen are not in the store at all" in done.err
    assert restored("ls", "home:/notes").out == "old.txt\n"
    assert restored("cat", "home:/notes/old.txt").out == "old"
    (entry,) = log(restored)
    assert {found["path"] for found in entry["went_back"] if found["path"]} == {"home:/", "home:/notes"}  # type: ignore[attr-defined]
    restored("mkdir", "home:/again")
    restored("scrub", "home:")


def test_nothing_is_accepted_without_a_yes(restored: Machine) -> None:
    assert "--yes" in restored("accept-restore", "home", code=2).err
    code, screen = type_at_terminal(restored, ["accept-restore"], [("Passphrase", PASSPHRASE), (QUESTION, "no")])
    assert code == 1
    assert "the answer was not yes" in screen
    assert log(restored) == []
    restored("ls", "home:/", code=6)
    code, _ = type_at_terminal(restored, ["accept-restore"], [("Passphrase", PASSPHRASE), (QUESTION, "yes")])
    assert code == 0
    restored("ls", "home:/")


def test_programs_get_a_document(restored: Machine) -> None:
    report = restored("accept-restore", "--json", "--yes", "home").document
    assert isinstance(report["went_back"], list)
    assert len(report["went_back"]) == 4
    assert report["revocations"] is None


def test_where_nothing_went_back_nothing_is_asked(nas: Machine) -> None:
    nas("mkdir", "home:/notes")
    assert "nothing of home went back" in nas("accept-restore", "home").err
    assert log(nas) == []


def test_a_revocation_that_went_back_is_named_with_its_command(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
    nas("backup", "home:", tmp_path / "backup")
    nas("revoke", "laptop", "home:", "--yes")
    nas("restore", tmp_path / "backup", "home:", "--replace")
    assert "bt accept-restore" in nas("ls", "home:/", code=6).err
    done = nas("accept-restore", "home", "--yes")
    assert "The revocation list went back from version 1 to 0" in done.err
    (line,) = [line for line in done.err.splitlines() if "again: bt revoke" in line]
    words = line.partition("again: bt ")[2].split()
    nas(*words, "--yes")
    assert "revoked laptop from" in nas("access", "log", "home:").out


def test_another_machine_accepts_for_itself(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/", "read")
        nas("backup", "home:", tmp_path / "backup")
        nas("mkdir", "home:/more")
        assert laptop("ls", "home:/").out == "more/\n"
    nas("restore", tmp_path / "backup", "home:", "--replace")
    nas("accept-restore", "home", "--yes")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        assert "bt accept-restore" in laptop("ls", "home:/", code=6).err
        laptop("accept-restore", "home", "--yes")
        assert laptop("ls", "home:/").out == ""
