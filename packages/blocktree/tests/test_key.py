"""`bt key`: words that are proved and shown again, and passphrases that change."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from btlib.credentials import FileCredentialStore
from btlib.words import seed_to_words

from .conftest import PASSPHRASE, Machine
from .terminals import type_at_terminal
from .test_recover import shows, words_of, write_private

NEW = "another passphrase"


@pytest.fixture
def words(nas: Machine) -> list[str]:
    return list(words_of(nas))


@pytest.fixture
def new_file(tmp_path: Path) -> Path:
    return write_private(tmp_path / "new", NEW + "\n")


def test_the_right_words_are_proved_without_a_passphrase_and_never_shown(
    nas: Machine, words: list[str], tmp_path: Path
) -> None:
    file = write_private(tmp_path / "words", " ".join(words))
    (nas.directory / "root-credentials").unlink()
    done = nas.process("key", "verify-backup", "--words-file", file, BLOCKTREE_PASSPHRASE="")
    assert "These are the recovery words of home" in done.out
    assert done.err == ""
    assert not shows(words, done.out)
    facts = nas("key", "verify-backup", "home", "--words-file", file, "--json").document
    assert facts["matches"] is True


def test_the_words_are_proved_at_a_terminal(nas: Machine, words: list[str]) -> None:
    answers = [("Recovery word 1 of 24:", " ".join(words[:20])), ("Recovery word 21 of 24:", " ".join(words[20:]))]
    code, screen = type_at_terminal(nas, ["key", "verify-backup"], answers)
    assert code == 0, screen
    assert not shows(words, screen)


def test_three_times_no_word_ends_it(nas: Machine) -> None:
    code, screen = type_at_terminal(nas, ["key", "verify-backup"], [("Recovery word 1 of 24:", "xyzzy")] * 3)
    assert code == 1
    assert "after 3 tries" in screen
    assert "xyzzy" not in screen


@pytest.mark.parametrize("place", [0, 23])
def test_words_of_another_root_and_words_in_disorder_are_refused(
    nas: Machine, words: list[str], tmp_path: Path, place: int
) -> None:
    other = write_private(tmp_path / "other", " ".join(seed_to_words(bytes([place]) * 32)))
    done = nas("key", "verify-backup", "--words-file", other, code=3)
    assert "not those of home" in done.err
    assert done.out == ""
    short = write_private(tmp_path / "short", " ".join(words[:place]) + " ")
    assert nas("key", "verify-backup", "--words-file", short, code=3).err.count("\n") == 1


def test_a_word_on_the_command_line_is_no_way_in(nas: Machine, words: list[str]) -> None:
    nas("key", "verify-backup", "home", *words, code=2)


def test_the_words_are_shown_at_a_terminal_after_the_typed_passphrase(nas: Machine, words: list[str]) -> None:
    answers = [("Passphrase of the root of home:", PASSPHRASE)]
    code, screen = type_at_terminal(nas, ["key", "show-words"], answers)
    assert code == 0
    assert re.findall(r"\d+\. ([a-z]+)", screen) == words
    assert PASSPHRASE not in screen


def test_a_wrong_passphrase_shows_no_words(nas: Machine) -> None:
    code, screen = type_at_terminal(nas, ["key", "show-words"], [("Passphrase of the root of home:", "wrong")])
    assert code == 3
    assert re.findall(r"\d+\. ([a-z]+)", screen) == []


def test_elsewhere_than_at_a_terminal_no_words_are_shown(nas: Machine) -> None:
    done = nas.process("key", "show-words", code=2)
    assert "at a terminal alone" in done.err
    assert re.findall(r"\d+\. ([a-z]+)", done.out + done.err) == []


def test_without_the_roots_file_it_says_where_that_is(nas: Machine) -> None:
    (nas.directory / "root-credentials").unlink()
    for command in (["show-words"], ["passphrase", "--root"]):
        assert "where the domain was made" in nas("key", *command, code=1).err


def test_the_file_of_another_root_shows_no_words(nas: Machine) -> None:
    shutil.copy(nas.directory / "credentials", nas.directory / "root-credentials")
    answers = [("Passphrase of the root of home:", PASSPHRASE)]
    code, screen = type_at_terminal(nas, ["key", "show-words"], answers)
    assert code == 6
    assert "of another root" in screen
    assert re.findall(r"\d+\. ([a-z]+)", screen) == []


@pytest.mark.parametrize(
    ("option", "changed", "kept"),
    [
        ([], "credentials", "root-credentials"),
        (["--root"], "root-credentials", "credentials"),
    ],
)
def test_one_file_gets_a_new_passphrase_and_the_keys_stay(
    nas: Machine, new_file: Path, option: list[str], changed: str, kept: str
) -> None:
    before = FileCredentialStore(nas.directory / changed).unlock(PASSPHRASE)
    other = (nas.directory / kept).read_bytes()
    facts = nas("key", "passphrase", *option, "--new-passphrase-file", new_file, "--json").document
    after = FileCredentialStore(nas.directory / changed).unlock(NEW)
    assert (after.public, after.chains) == (before.public, before.chains)
    assert facts["principal"] == str(after.principal)
    assert (nas.directory / kept).read_bytes() == other


def test_after_the_change_only_the_new_one_is_accepted(nas: Machine, new_file: Path) -> None:
    assert "--root" in nas("key", "passphrase", "home", "--new-passphrase-file", new_file).out
    nas("ls", "home:", code=3)
    assert nas("ls", "home:", BLOCKTREE_PASSPHRASE=NEW).out == ""


def test_the_passphrases_are_typed_at_a_terminal(nas: Machine) -> None:
    answers = [
        ("Passphrase of this machine in home:", PASSPHRASE),
        ("New passphrase of this machine in home:", NEW),
        ("The same again:", NEW),
    ]
    code, screen = type_at_terminal(nas, ["key", "passphrase"], answers)
    assert code == 0
    assert NEW not in screen
    assert nas("ls", "home:", BLOCKTREE_PASSPHRASE=NEW).out == ""


def test_a_wrong_old_passphrase_changes_nothing_and_asks_for_no_new_one(nas: Machine, new_file: Path) -> None:
    before = (nas.directory / "credentials").read_bytes()
    nas("key", "passphrase", "--new-passphrase-file", new_file, code=3, BLOCKTREE_PASSPHRASE="wrong")
    code, screen = type_at_terminal(nas, ["key", "passphrase"], [("Passphrase of this machine", "wrong")])
    assert code == 3
    assert "New passphrase" not in screen
    assert (nas.directory / "credentials").read_bytes() == before


def test_a_new_passphrase_comes_from_neither_the_environment_nor_the_old_file(nas: Machine, tmp_path: Path) -> None:
    assert "--new-passphrase-file" in nas.process("key", "passphrase", code=3).err
    same = write_private(tmp_path / "same", PASSPHRASE)
    assert "is the old one" in nas("key", "passphrase", "--new-passphrase-file", same, code=2).err
    same.chmod(0o644)
    assert "chmod 600" in nas("key", "passphrase", "--new-passphrase-file", same, code=2).err
