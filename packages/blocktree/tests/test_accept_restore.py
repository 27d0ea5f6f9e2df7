"""`bt accept-restore`, as a user runs it: an older state is refused, shown, and accepted on purpose only."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from btfproto.opening import open_files
from btlib.errors import BlocktreeError
from btlib.home import Home
from btlib.paths import BlockPath

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
    assert f"the store {restored.store} went back in time: it has" in done.err
    assert "were seen before" in done.err
    assert "bt accept-restore" in done.err


def test_what_went_back_is_shown_accepted_and_logged(restored: Machine) -> None:
    done = restored("accept-restore", "home", "--yes")
    assert "As a whole: it has " in done.err
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


@pytest.mark.parametrize(
    "words",
    [
        ("grant", "nas", "home:/", "read"),
        ("rekey", "home:/notes"),
        ("gc", "home:"),
    ],
    ids=lambda words: words[0],
)
def test_commands_that_read_no_file_refuse_it_too(restored: Machine, words: tuple[str, ...]) -> None:
    assert "went back in time" in restored(*words, code=6).err


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
    commits = report["commits"]
    assert isinstance(commits, dict)
    assert 0 < commits["shown"] < commits["seen"]


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


@pytest.mark.parametrize("mode", ["end-to-end", "thin"])
def test_a_store_put_back_is_refused_by_who_saw_nothing_of_what_is_gone(
    nas: Machine, laptop: Machine, tmp_path: Path, mode: str
) -> None:
    """The laptop may read one directory, and what was lost was written in another: no block of its own went back."""
    port = free_port()
    (tmp_path / "lost.txt").write_text("lost")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("mkdir", "home:/ours", "home:/theirs")
        nas("grant", "laptop", "home:/ours", "read")
        nas("backup", "home:", tmp_path / "backup")
        nas("cp", tmp_path / "lost.txt", "home:/theirs/")
        assert listed(laptop, mode) == ""
    nas("restore", tmp_path / "backup", "home:", "--replace")
    nas("accept-restore", "home", "--yes")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        with pytest.raises(
            BlocktreeError, match=rf"the store at .*:{port} went back in time: (it has|its commit) \d+ "
        ):
            listed(laptop, mode)
        done = laptop("accept-restore", "home", "--yes")
        assert "files, directories and records went back" not in done.err
        assert "What else was committed is gone, whoever did it." in done.err
        assert listed(laptop, mode) == ""
        assert "nothing of home went back" in laptop("accept-restore", "home").err


def listed(machine: Machine, mode: str) -> str:
    """What is in the directory that this machine may read. Raises the error of opening it."""
    domain = Home.find(machine.environment()).domain("home")
    identity = domain.credentials.unlock(PASSPHRASE)
    path = BlockPath(domain.root, ("ours",))
    provider = open_files(domain, identity, path, remote=True, thin=mode == "thin")
    try:
        return " ".join(entry.name for entry in provider.readdir(provider.root, 0, 100))
    finally:
        provider.shutdown()


def test_a_server_does_not_serve_a_store_that_was_put_back(nas: Machine, tmp_path: Path) -> None:
    nas("mkdir", "home:/kept")
    shutil.copytree(nas.store, tmp_path / "old")
    with running_server(nas, free_port(), tmp_path / "btfsd.log"):
        nas("mkdir", "home:/lost")
    nas.store.rename(tmp_path / "newest")
    shutil.copytree(tmp_path / "old", nas.store)
    words = [sys.executable, "-m", "btfsd", "--domain", "home", "--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(words, env=nas.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6
    assert f"the store {nas.store} went back in time: it has" in done.stderr
    assert "bt accept-restore" in done.stderr
    shutil.rmtree(nas.store)
    (tmp_path / "newest").rename(nas.store)
    with running_server(nas, free_port(), tmp_path / "btfsd.log"):
        assert nas("ls", "home:/").out == "kept/\nlost/\n"
