"""Everything that can be wrong from outside: one sentence, the documented exit code, no traceback, nothing lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blocktree.commands import enroll
from blocktree.dates import DAY
from blocktree.session import now
from btfproto.store import EmbeddedStore
from btlib.home import Home

from .conftest import PASSPHRASE, Machine


@pytest.fixture
def filled(nas: Machine, tmp_path: Path) -> Machine:
    """The machine with one small and one large file in its tree."""
    (tmp_path / "small.txt").write_text("small")
    (tmp_path / "large.bin").write_bytes(os.urandom(300_000))
    nas("cp", tmp_path / "small.txt", tmp_path / "large.bin", "home:/")
    return nas


def one_sentence(text: str) -> bool:
    return text.startswith("bt: ") and text.count("\n") == 1 and "Traceback" not in text


# Credentials


def test_a_wrong_passphrase(nas: Machine) -> None:
    done = nas.process("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="hunter2")
    assert "is not the passphrase of" in done.err
    assert "hunter2" not in done.err
    assert one_sentence(done.err)


def test_no_passphrase_and_no_terminal(nas: Machine) -> None:
    done = nas.process("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="")
    assert "--passphrase-file" in done.err
    assert one_sentence(done.err)


def test_a_passphrase_file_works_and_one_that_others_may_read_does_not(nas: Machine, tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    file.chmod(0o600)
    nas("ls", "home:", "--passphrase-file", file, BLOCKTREE_PASSPHRASE="wrong")
    file.chmod(0o644)
    assert "chmod 600" in nas("ls", "home:", "--passphrase-file", file, code=2).err


@pytest.mark.parametrize("length", [0, 10, 100, -1])
def test_truncated_credentials(nas: Machine, length: int) -> None:
    file = nas.directory / "credentials"
    file.write_bytes(file.read_bytes()[:length])
    done = nas("ls", "home:", code=6)
    assert f"{file} is damaged" in done.err
    assert one_sentence(done.err)


def test_credentials_that_others_may_read(nas: Machine) -> None:
    (nas.directory / "credentials").chmod(0o644)
    assert "chmod 600" in nas("ls", "home:", code=3).err


def test_an_expired_chain(nas: Machine, laptop: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "laptop.request"
    laptop("enroll", "request", "home", "--out", file)
    nas("enroll", "sign", file, "--yes", "--until", "2d")
    monkeypatch.setattr(enroll, "now", lambda: now() + 3 * DAY)
    done = laptop("enroll", "accept", file.with_suffix(".response"), "--yes", code=5)
    assert "expired on" in done.err.splitlines()[-1]


# Configuration


CORRUPT = [
    ("format = ", "is not TOML"),
    ("", "missing required key"),
    ("\xff", "not UTF-8"),
    ('format = 1\nroot = "bt1qqqq"\nhost = "nas"\n', "key `root`"),
]


@pytest.mark.parametrize(("content", "complaint"), CORRUPT)
def test_a_corrupt_configuration(nas: Machine, content: str, complaint: str) -> None:
    file = nas.directory / "domain.toml"
    file.write_bytes(content.encode("latin-1"))
    done = nas("ls", "home:", code=2)
    assert str(file) in done.err
    assert complaint in done.err
    assert one_sentence(done.err)


def test_status_shows_a_corrupt_domain_beside_the_good_ones(nas: Machine) -> None:
    shutil.copytree(nas.directory, nas.home / "domains" / "other")
    (nas.directory / "domain.toml").write_text("nonsense")
    done = nas("status", "--json", code=2)
    home, other = json.loads(done.out)["domains"]
    assert home["error"]["kind"] == "INVALID"
    assert "principal" in other


def test_no_home_at_all(nas: Machine) -> None:
    environment = {name: value for name, value in nas.environment().items() if name in ("PATH",)}
    words = [sys.executable, "-m", "blocktree", "status"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "set BLOCKTREE_HOME" in done.stderr


# The store


def test_a_store_that_another_program_holds(filled: Machine) -> None:
    store = EmbeddedStore(filled.store, program="somebody")
    try:
        done = filled("ls", "home:", code=7)
    finally:
        store.close()
    assert f"somebody (process {os.getpid()})" in done.err
    assert one_sentence(done.err)
    filled("ls", "home:")


def test_a_store_that_is_gone(nas: Machine) -> None:
    shutil.rmtree(nas.store)
    done = nas("ls", "home:", code=1)
    assert one_sentence(done.err)


def segments(machine: Machine) -> list[Path]:
    return sorted((machine.store / "segments").glob("*.seg"))


def test_a_truncated_segment(filled: Machine) -> None:
    segment = max(segments(filled), key=lambda path: path.stat().st_size)
    os.truncate(segment, segment.stat().st_size // 2)
    done = filled.process("cat", "home:/large.bin", code=6)
    assert one_sentence(done.err)


def test_a_truncated_index(filled: Machine) -> None:
    index = filled.store / "index.sqlite"
    os.truncate(index, index.stat().st_size // 2)
    done = filled.process("cat", "home:/small.txt", code=6)
    assert one_sentence(done.err)


def test_a_flipped_byte_is_found_and_the_rest_still_reads(filled: Machine) -> None:
    segment = max(segments(filled), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    done = filled("cat", "home:/large.bin", code=6)
    assert "large.bin" in done.err
    assert filled("cat", "home:/small.txt").out == "small"


def test_a_full_disk_loses_nothing(filled: Machine, tmp_path: Path) -> None:
    (tmp_path / "huge.bin").write_bytes(os.urandom(4_000_000))

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    done = subprocess.run(
        [sys.executable, "-m", "blocktree", "cp", str(tmp_path / "huge.bin"), "home:/"],
        env=filled.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=small_files,
    )
    assert done.returncode == 1, done.stderr
    assert one_sentence(done.stderr)
    assert filled("cat", "home:/small.txt").out == "small"


# The command line


@pytest.mark.parametrize("words", [["fly"], ["ls"], ["ls", "home:", "--fly"], ["cp"], ["enroll"], []])
def test_a_wrong_command_line(nas: Machine, words: list[str]) -> None:
    done = nas.process(*words, code=2)
    assert "Traceback" not in done.err
    assert done.out + done.err != ""


COMMANDS = ["init", "status", "ls", "cat", "cp", "mkdir", "rm", "mount", "umount", "grant"]
COMMANDS += ["enroll request", "enroll sign", "enroll accept", "access explain"]
COMMANDS += ["access list", "access log", "revoke", "rekey"]


@pytest.mark.parametrize(
    "words", ["", "snapshot", "enroll", "access", "group", "contact", "guest", "key", "agent", "net", "protocol"]
)
def test_a_list_of_commands_says_what_each_does_in_a_whole_sentence(nas: Machine, words: str) -> None:
    _, _, listed = nas(*words.split(), "--help", COLUMNS="80").out.partition("Commands:\n")
    assert listed
    assert [line for line in listed.splitlines() if line.endswith("...")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(nas: Machine, command: str) -> None:
    text = nas(*command.split(), "--help").out
    assert "Example" in text
    assert f"bt {command}" in text.partition("Example")[2]
    assert "--json" in text


def test_no_option_takes_a_passphrase(nas: Machine) -> None:
    assert "--passphrase " not in nas("init", "--help").out + nas("ls", "--help").out


def test_errors_as_json(nas: Machine) -> None:
    done = nas("ls", "--json", "home:/none", code=1)
    assert done.out == ""
    assert json.loads(done.err) == {
        "error": {"kind": "NOT_FOUND", "message": "there is no home:/none", "hint": "see: bt ls home:/"}
    }


def test_a_traceback_only_where_it_was_asked_for(nas: Machine) -> None:
    assert "Traceback" not in nas.process("ls", "home:/none", code=1).err
    debugged = nas.process("ls", "hone:/none", code=2, BLOCKTREE_DEBUG="1").err
    assert "Traceback" in debugged
    assert debugged.splitlines()[-1].startswith("bt: no domain is called 'hone'")


def test_names_in_no_encoding_do_not_end_a_command(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "größe").write_text("x")
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/bad-\xff")).write_text("x")
    done = nas.process("cp", "-r", "--json", tmp_path / "in", "home:/", code=2, PYTHONIOENCODING="ascii")
    (failure,) = json.loads(done.out)["failures"]
    assert failure["kind"] == "INVALID"
    assert "is not valid UTF-8" in failure["message"]
    assert "bad-\\udcff" in done.err
    assert nas.process("ls", "home:/in", PYTHONIOENCODING="ascii").out == "gr\\xf6\\xdfe\n"


def test_a_defect_is_said_to_be_one(nas: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(environ: object) -> Home:
        raise RuntimeError("oh")

    monkeypatch.setattr(Home, "find", broken)
    done = nas("status", code=1)
    assert "a defect in bt: RuntimeError: oh" in done.err
    assert one_sentence(done.err)


def test_a_reader_that_goes_away_is_no_error(filled: Machine) -> None:
    bt = f"{sys.executable} -m blocktree"
    command = f"{bt} cat home:/large.bin | head -c 10 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=filled.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1)
    assert done.stderr == ""


def test_the_version_and_the_completion(nas: Machine) -> None:
    assert nas("--version").out.startswith("bt 0.1")
    done = nas.process("ls", "h", _BT_COMPLETE="complete_bash", COMP_WORDS="bt ls h", COMP_CWORD="2")
    assert done.out.strip() == "home:"
