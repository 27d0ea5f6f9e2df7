"""Prompts, at a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import PASSPHRASE, Machine
from .terminals import type_at_terminal


def test_a_passphrase_is_asked_for_and_not_shown(nas: Machine) -> None:
    code, screen = type_at_terminal(nas, ["ls", "home:"], [("Passphrase of this machine in home:", PASSPHRASE)])
    assert code == 0
    assert PASSPHRASE not in screen


def test_a_new_passphrase_is_typed_twice(laptop: Machine) -> None:
    answers = [
        ("New passphrase of the domain home:", "one"),
        ("The same again:", "another"),
        ("New passphrase of the domain home:", "one"),
        ("The same again:", "one"),
    ]
    code, screen = type_at_terminal(laptop, ["init", "--no-input"], answers)
    assert code == 0
    assert "The two differ." in screen
    laptop("ls", "home:", BLOCKTREE_PASSPHRASE="one")


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_a_fingerprint_is_confirmed_by_a_yes_alone(
    nas: Machine, laptop: Machine, tmp_path: Path, typed: str, code: int
) -> None:
    file = tmp_path / "laptop.request"
    laptop("enroll", "request", "home", "--out", file)
    answers = [("Is that the fingerprint", typed), ("Passphrase of this machine", PASSPHRASE)]
    assert type_at_terminal(nas, ["enroll", "sign", str(file), "--server", "nas:1"], answers)[0] == code
    assert file.with_suffix(".response").exists() == (code == 0)
