"""`bt init`: what it makes, what it hands over, and that it leaves nothing half made."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from blocktree import recovery_words
from blocktree.commands import init
from btlib.credentials import FileCredentialStore
from btlib.key_pairs import KeyPair
from btlib.public_keys import Suite
from btlib.words import words_to_seed

from .conftest import PASSPHRASE, Machine


def test_it_makes_a_root_a_machine_and_an_empty_tree(laptop: Machine) -> None:
    facts = laptop("init", "home", "--host", "nas", "--no-input", "--json").document
    assert FileCredentialStore(laptop.directory / "credentials").public().principal.__str__() == facts["principal"]
    assert FileCredentialStore(laptop.directory / "root-credentials").public().principal.__str__() == facts["root"]
    assert laptop("ls", "home:").out == ""
    assert laptop("ls", f"/{facts['root']}/").out == ""


def test_everything_it_writes_is_private(nas: Machine) -> None:
    below_private = (nas.store, nas.store / "segments")
    for path in (path for path in nas.home.rglob("*") if path.parent not in below_private):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_machine_gets_its_chain_and_the_root_needs_none(nas: Machine) -> None:
    machine = FileCredentialStore(nas.directory / "credentials").unlock(PASSPHRASE)
    root = FileCredentialStore(nas.directory / "root-credentials").unlock(PASSPHRASE)
    assert [str(chain.caps[0].issuer.principal) for chain in machine.chains] == [str(root.principal)]
    assert root.chains == ()


def test_it_knows_both_suites(laptop: Machine) -> None:
    laptop("init", "home", "--suite", "p256", "--no-input")
    assert FileCredentialStore(laptop.directory / "credentials").public().suite is Suite.P256
    assert "choose one of" in laptop("init", "other", "--suite", "rot13", "--no-input", code=2).err


def test_a_store_elsewhere_is_used(laptop: Machine, tmp_path: Path) -> None:
    laptop("init", "home", "--store", tmp_path / "elsewhere", "--no-input")
    assert (tmp_path / "elsewhere" / "index.sqlite").exists()
    assert laptop("ls", "home:").out == ""


def test_a_taken_petname_is_refused_and_the_domain_is_untouched(nas: Machine) -> None:
    before = (nas.directory / "credentials").read_bytes()
    assert "there is a domain called home already" in nas("init", "home", "--no-input", code=1).err
    assert (nas.directory / "credentials").read_bytes() == before
    assert nas("ls", "home:").out == ""


@pytest.mark.parametrize(
    ("words", "complaint"), [(["bt1x"], "is no petname"), (["home", "--host", "a/b"], "is no name in a tree")]
)
def test_bad_names_are_refused_and_nothing_is_made(laptop: Machine, words: list[str], complaint: str) -> None:
    assert complaint in laptop("init", *words, "--no-input", code=2).err
    assert not list(laptop.home.rglob("*credentials*"))


def test_without_a_terminal_and_a_passphrase_nothing_is_made(laptop: Machine) -> None:
    done = laptop.process("init", "--no-input", code=3, BLOCKTREE_PASSPHRASE="")
    assert "--passphrase-file" in done.err
    assert laptop("status", "--json").document["pending"] == []


def test_without_a_terminal_the_words_cannot_be_handed_over(laptop: Machine) -> None:
    assert "--no-input" in laptop.process("init", code=2).err
    assert not list(laptop.home.rglob("*credentials*"))


@pytest.fixture
def typist(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], str]], None]:
    """Sits somebody at the terminal, who answers each question as a function of it."""

    def sit(answer: Callable[[str], str]) -> None:
        monkeypatch.setattr(init, "at_terminal", lambda: True)
        monkeypatch.setattr(recovery_words, "ask", answer)

    return sit


def shown_words(text: str) -> list[str]:
    return re.findall(r"\d+\. ([a-z]+)", text)


def test_the_words_are_shown_typed_back_and_are_the_root(
    laptop: Machine, typist: Callable[[Callable[[str], str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    remarks: list[str] = []
    monkeypatch.setattr(init, "remark", remarks.append)

    def answer(question: str) -> str:
        number = int(re.findall(r"\d+", question)[0])
        return shown_words("\n".join(remarks))[number - 1].upper()

    typist(answer)
    facts = laptop("init", "--json").document
    seed = words_to_seed(" ".join(shown_words("\n".join(remarks))))
    root = FileCredentialStore(laptop.directory / "root-credentials").public()
    assert str(root.principal) == facts["root"]
    assert KeyPair.from_seed(root.suite, seed).public == root


def test_words_typed_wrongly_three_times_end_it_and_nothing_is_left(
    laptop: Machine, typist: Callable[[Callable[[str], str]], None]
) -> None:
    typist(lambda question: "wrong")
    assert "nothing was made" in laptop("init", code=1).err
    assert not list(laptop.home.rglob("*credentials*"))
    assert not laptop.store.exists()
    laptop("init", "--no-input")


def test_the_words_never_reach_standard_output_or_a_file(
    laptop: Machine, typist: Callable[[Callable[[str], str]], None]
) -> None:
    typist(lambda question: "wrong")
    done = laptop("init", code=1)
    assert len(shown_words(done.err)) == 24
    assert shown_words(done.out) == []
