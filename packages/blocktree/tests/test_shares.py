"""`bt key shares`, and shares in place of words: for proving a backup, and for recovering."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from btlib.credentials import FileCredentialStore
from btlib.shares import Share, combine_shares, split_seed

from .conftest import CHEAP, PASSPHRASE, Machine
from .terminals import Answer, type_at_terminal
from .test_recover import shows, write_private


def seed_of(machine: Machine) -> bytes:
    return FileCredentialStore(machine.directory / "root-credentials", CHEAP).reveal(PASSPHRASE).seed


@pytest.fixture
def shares(nas: Machine) -> tuple[Share, ...]:
    return split_seed(seed_of(nas), 2, 3)


def text(share: Share) -> str:
    return " ".join(share.words)


def files_of(shares: tuple[Share, ...], directory: Path) -> list[str]:
    """The options that name a private file for each share."""
    files = [write_private(directory / f"share-{share.number}", text(share) + "\n") for share in shares]
    return [word for file in files for word in ("--share-file", str(file))]


def sheets(screen: str) -> list[str]:
    """The shares that were shown, as their words."""
    parts = re.split(r"Share \d+ of \d+, on a sheet", screen)[1:]
    return [" ".join(re.findall(r"\d+\. ([a-z]+)", part)) for part in parts]


def word_asked_for(screen: str) -> str:
    number = int(re.findall(r"word (\d+):", screen)[-1])
    return sheets(screen)[-1].split()[number - 1]


TYPED_BACK: list[tuple[str, Answer]] = [("word ", word_asked_for)] * 3


def test_shares_are_shown_typed_back_and_are_the_root(nas: Machine) -> None:
    answers = [("Passphrase of the root of home:", PASSPHRASE), *TYPED_BACK * 3]
    code, screen = type_at_terminal(nas, ["key", "shares", "--threshold", "2", "--count", "3"], answers)
    assert code == 0, screen
    shown = [Share.parse(words) for words in sheets(screen)]
    assert [(share.number, share.threshold) for share in shown] == [(1, 2), (2, 2), (3, 2)]
    assert combine_shares(shown) == seed_of(nas)
    assert "any 2 are needed" in screen
    assert "any 2 of them are its root" in screen
    assert PASSPHRASE not in screen


def test_a_word_typed_wrongly_three_times_ends_it(nas: Machine) -> None:
    answers: list[tuple[str, Answer]] = [("Passphrase of the root of home:", PASSPHRASE), *[("word ", "wrong")] * 3]
    code, screen = type_at_terminal(nas, ["key", "shares"], answers)
    assert code == 1
    assert len(sheets(screen)) == 1
    assert "nothing was made" in screen


def test_shares_are_shown_at_a_terminal_alone(nas: Machine, laptop: Machine) -> None:
    assert "at a terminal alone" in nas.process("key", "shares", code=2).err
    (nas.directory / "root-credentials").unlink()
    assert "not on this machine" in nas("key", "shares", code=1).err


@pytest.mark.parametrize("numbers", [("1", "3"), ("2", "17"), ("4", "3")])
def test_numbers_out_of_range_are_refused_before_anything_is_asked(nas: Machine, numbers: tuple[str, str]) -> None:
    done = nas("key", "shares", "--threshold", numbers[0], "--count", numbers[1], code=2)
    assert "assphrase" not in done.err


def test_shares_prove_themselves_without_a_passphrase_and_are_never_shown(
    nas: Machine, shares: tuple[Share, ...], tmp_path: Path
) -> None:
    done = nas.process("key", "verify-backup", *files_of(shares[1:], tmp_path), BLOCKTREE_PASSPHRASE="")
    assert "These are the shares of home" in done.out
    assert not shows(list(shares[1].words), done.out + done.err)


def test_shares_are_typed_one_after_the_other(nas: Machine, shares: tuple[Share, ...]) -> None:
    first, second = shares[2].words, shares[0].words
    answers: list[tuple[str, Answer]] = [
        ("Share word 1 of 33:", " ".join(first[:30])),
        ("Share word 31 of 33:", "notaword"),
        ("Share word 31 of 33:", " ".join(word[:4] for word in first[30:])),
        ("Share word 1 of 33:", " ".join(first)),
        ("Share word 1 of 33:", " ".join([second[1], second[0], *second[2:]])),
        ("Share word 1 of 33:", " ".join(second)),
    ]
    code, screen = type_at_terminal(nas, ["key", "verify-backup", "--shares"], answers)
    assert code == 0, screen
    assert "This is share 3; 1 more to go." in screen
    assert "Word 31 is not in the list of share words" in screen
    assert "typed already" in screen
    assert "do not belong together; this share again" in screen
    assert "This is share 1; that is enough." in screen
    assert not shows(list(first), screen)


def test_a_share_of_another_set_is_told_while_typing(nas: Machine, shares: tuple[Share, ...]) -> None:
    (other, *_) = split_seed(seed_of(nas), 2, 3)
    answers = [("Share word 1 of 33:", text(shares[0])), *[("Share word 1 of 33:", text(other))] * 3]
    code, screen = type_at_terminal(nas, ["key", "verify-backup", "--shares"], answers)
    assert code == 1
    assert screen.count("not made together") == 3
    assert "after 3 tries" in screen


def test_too_few_shares_foreign_ones_and_words_beside_them_are_refused(
    nas: Machine, shares: tuple[Share, ...], tmp_path: Path
) -> None:
    one = files_of(shares[:1], tmp_path)
    assert "2 different shares are needed, and there are 1" in nas("key", "verify-backup", *one, code=3).err
    assert "not both" in nas("key", "verify-backup", *one, "--words-file", one[1], code=2).err
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    done = nas("key", "verify-backup", *files_of(split_seed(bytes(32), 2, 3), foreign), code=3)
    assert "these are shares, but not those of home" in done.err
    bad = write_private(tmp_path / "bad", " ".join(["canary", *shares[0].words[1:]]))
    done = nas("key", "verify-backup", "--share-file", bad, code=3)
    assert f"{bad}: word 1 is not in the list of share words" in done.err
    assert "canary" not in done.err
    assert "--share-file" in nas.process("key", "verify-backup", "--shares", code=3).err


def test_a_domain_comes_back_from_its_shares(
    nas: Machine, laptop: Machine, shares: tuple[Share, ...], tmp_path: Path
) -> None:
    (tmp_path / "apple.txt").write_text("an apple")
    nas("cp", tmp_path / "apple.txt", "home:/")
    laptop("recover", "home", "--store", nas.store, *files_of(shares[:2], tmp_path))
    assert laptop("cat", "home:/apple.txt").out == "an apple"
    root = FileCredentialStore(laptop.directory / "root-credentials", CHEAP).public().principal
    assert root == FileCredentialStore(nas.directory / "root-credentials").public().principal
