"""`bt recover`: a domain from 24 words and a surviving store, and what is said when one of them is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from btlib.credentials import FileCredentialStore
from btlib.public_keys import Suite
from btlib.words import seed_to_words

from .conftest import CHEAP, PASSPHRASE, Machine
from .serving import free_port, running_server, with_an_apple
from .terminals import type_at_terminal


def write_private(file: Path, text: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(text)
    return file


@pytest.fixture
def words(nas: Machine) -> list[str]:
    """The recovery words of `nas`."""
    return list(words_of(nas))


def words_of(machine: Machine) -> tuple[str, ...]:
    credentials = FileCredentialStore(machine.directory / "root-credentials", CHEAP)
    return seed_to_words(credentials.reveal(PASSPHRASE).seed)


def shows(words: list[str], text: str) -> bool:
    """Whether two words stand in a text as they follow each other; single ones may be part of any sentence."""
    return any(f"{first} {second}" in text for first, second in pairwise(words))


@pytest.fixture
def words_file(words: list[str], tmp_path: Path) -> Path:
    return write_private(tmp_path / "words", " ".join(words) + "\n")


@pytest.fixture
def survivor(nas: Machine, words: list[str], tmp_path: Path) -> Path:
    """A copy of the store, with something in it; the machine that made it is gone, except for its words."""
    with_an_apple(nas, tmp_path, "home:/notes")
    shutil.copytree(nas.store, tmp_path / "survivor")
    shutil.rmtree(nas.home)
    return tmp_path / "survivor"


def test_the_words_and_a_copy_of_the_store_bring_all_back(
    laptop: Machine, survivor: Path, words_file: Path, tmp_path: Path
) -> None:
    done = laptop("recover", "home", "--store", survivor, "--host", "laptop", "--words-file", words_file, "--json")
    facts = done.document
    root = FileCredentialStore(laptop.directory / "root-credentials").public()
    assert facts["root"] == str(root.principal)
    assert facts["store"] == str(survivor)
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
    laptop("cp", tmp_path / "apple.txt", "home:/notes/pear.txt")
    assert laptop("ls", f"/{facts['root']}/notes").out == "apple.txt\npear.txt\n"
    explained = laptop("access", "explain", "home:/", "--json").document
    assert {right: explained[right]["allowed"] for right in ("read", "write", "execute")} == {  # type: ignore[index]
        "read": True,
        "write": True,
        "execute": True,
    }


def test_the_recovered_machine_enrols_and_grants(
    laptop: Machine,
    machine_at: Callable[[Path], Machine],
    homes: Path,
    survivor: Path,
    words_file: Path,
    tmp_path: Path,
) -> None:
    laptop("recover", "home", "--store", survivor, "--words-file", words_file)
    phone = machine_at(homes / "phone")
    phone("enroll", "request", "home", "--host", "phone", "--out", tmp_path / "phone.request")
    laptop("enroll", "sign", tmp_path / "phone.request", "--yes")
    laptop("grant", "phone", "home:/notes", "read,write")


def test_the_words_are_typed_at_a_terminal_and_not_shown(laptop: Machine, survivor: Path, words: list[str]) -> None:
    answers = [
        ("Recovery word 1 of 24:", " ".join(words[:12])),
        ("Recovery word 13 of 24:", "notaword " + words[13]),
        ("Recovery word 13 of 24:", words[12].upper()),
        ("Recovery word 14 of 24:", " ".join(word[:4] for word in words[13:])),
        ("New passphrase of the domain home:", PASSPHRASE),
        ("The same again:", PASSPHRASE),
    ]
    code, screen = type_at_terminal(laptop, ["recover", "home", "--store", str(survivor)], answers)
    assert code == 0, screen
    assert "Word 13 is not in the list" in screen
    assert "notaword" not in screen
    assert not shows(words, screen)
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"


def test_the_other_suite_is_tried_too(laptop: Machine, machine_at: Callable[[Path], Machine], tmp_path: Path) -> None:
    other = machine_at(tmp_path / "other")
    other("init", "home", "--suite", "p256", "--no-input")
    file = write_private(tmp_path / "words", " ".join(words_of(other)))
    laptop("recover", "home", "--store", other.store, "--words-file", file)
    assert FileCredentialStore(laptop.directory / "root-credentials").public().suite is Suite.P256
    assert laptop("ls", "home:").out == ""


@pytest.mark.parametrize(
    ("change", "code", "complaint"),
    [
        (lambda words: [*words[:-1], "aband0n"], 3, "word 24 is not in the list"),
        (lambda words: words[:-1], 3, "not 23"),
        (lambda words: list(seed_to_words(bytes(32))), 3, "these keys are of another root"),
    ],
    ids=["no word", "a word missing", "another domain's"],
)
def test_wrong_words_are_refused_and_leave_nothing(
    laptop: Machine,
    survivor: Path,
    words: list[str],
    tmp_path: Path,
    change: Callable[[list[str]], list[str]],
    code: int,
    complaint: str,
) -> None:
    file = write_private(tmp_path / "words", " ".join(change(words)))
    done = laptop("recover", "home", "--store", survivor, "--words-file", file, code=code)
    assert complaint in done.err
    assert done.err.count("\n") == 1
    assert not list(laptop.home.rglob("*credentials*"))
    assert laptop("status", "--json").document["pending"] == []
    right = write_private(tmp_path / "right", " ".join(words))
    laptop("recover", "home", "--store", survivor, "--words-file", right)


def test_wrong_stores_are_told_from_wrong_words(
    laptop: Machine, machine_at: Callable[[Path], Machine], words_file: Path, tmp_path: Path
) -> None:
    other = machine_at(tmp_path / "other")
    root = other("init", "home", "--no-input", "--json").document["root"]
    assert str(root) in laptop("recover", "--store", other.store, "--words-file", words_file, code=3).err
    (tmp_path / "nothing").mkdir()
    done = laptop("recover", "--store", tmp_path / "nothing", "--words-file", words_file, code=1)
    assert "is no store" in done.err
    assert list((tmp_path / "nothing").iterdir()) == []
    assert "is no store" in laptop("recover", "--store", tmp_path / "missing", "--words-file", words_file, code=1).err
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--store", "x", "--server", "nas:1", "--server-host", "nas"],
        ["--server", "nas:1"],
        ["--server", "nas:1", "--server-host", "a/b"],
    ],
)
def test_one_place_to_recover_from_is_needed(laptop: Machine, words: list[str]) -> None:
    laptop("recover", "home", *words, code=2)
    assert laptop("status", "--json").document["pending"] == []


def test_without_a_terminal_the_words_come_from_a_private_file(
    laptop: Machine, survivor: Path, words_file: Path
) -> None:
    assert "--words-file" in laptop.process("recover", "--store", survivor, code=3).err
    words_file.chmod(0o644)
    assert "chmod 600" in laptop("recover", "--store", survivor, "--words-file", words_file, code=2).err
    words_file.chmod(0o600)
    laptop.process("recover", "--store", survivor, "--words-file", words_file)
    assert laptop.process("ls", "home:").out == "notes/\n"


def test_a_machine_that_is_in_the_domain_needs_no_recovery(nas: Machine, words_file: Path) -> None:
    done = nas("recover", "again", "--store", nas.store, "--words-file", words_file, code=1)
    assert "already, as home" in done.err
    assert nas("status", "--json").document["pending"] == []


def test_a_server_that_survived(nas: Machine, laptop: Machine, words_file: Path, tmp_path: Path) -> None:
    (tmp_path / "apple.txt").write_text("an apple")
    nas("cp", tmp_path / "apple.txt", "home:/")
    port = free_port()
    where = ["--server", f"127.0.0.1:{port}", "--server-host", "nas"]
    wrong = write_private(tmp_path / "wrong", " ".join(seed_to_words(bytes(32))))
    with running_server(nas, port, tmp_path / "btfsd.log"):
        refused = laptop("recover", "home", *where, "--words-file", wrong, code=3)
        assert "is not one of the domain of these words" in refused.err
        laptop("recover", "home", *where, "--host", "laptop", "--words-file", words_file)
        assert laptop("cat", "home:/apple.txt").out == "an apple"
        laptop("cp", tmp_path / "apple.txt", "home:/pear.txt")
        assert nas("ls", "home:/").out == "apple.txt\npear.txt\n"
    assert "127.0.0.1" in laptop("recover", "more", *where, "--words-file", wrong, code=4).err


def test_a_forgotten_passphrase_is_gone_around_with_the_words(nas: Machine, words_file: Path, tmp_path: Path) -> None:
    (tmp_path / "apple.txt").write_text("an apple")
    nas("cp", tmp_path / "apple.txt", "home:/")
    nas.directory.rename(tmp_path / "home-of-before")
    nas("recover", "home", "--store", nas.store, "--words-file", words_file, BLOCKTREE_PASSPHRASE="another")
    assert nas("cat", "home:/apple.txt", BLOCKTREE_PASSPHRASE="another").out == "an apple"
