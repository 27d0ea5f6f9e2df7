"""`bt contact`: names for principals of any domain, and what happens where the key behind one changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Machine
from .test_access import joined, rows


@pytest.fixture
def bob(machine_at: Callable[[Path], Machine], homes: Path) -> Machine:
    """Somebody with a domain of his own."""
    machine = machine_at(homes / "bob")
    machine.process("init", "home", "--host", "bobs", "--no-input")
    return machine


def card(machine: Machine, name: str = "bob") -> Path:
    file = machine.home.parent / f"{name}-{machine.home.name}.request"
    machine("contact", "card", "--name", name, "--out", file)
    return file


def another(machine_at: Callable[[Path], Machine], homes: Path) -> Machine:
    machine = machine_at(homes / "mallory")
    machine.process("init", "home", "--host", "mallory", "--no-input")
    return machine


def test_a_contact_of_another_domain_is_granted_and_shown_by_its_name(nas: Machine, bob: Machine) -> None:
    nas("mkdir", "home:/photos")
    added = nas("contact", "add", "bob", card(bob), "--yes", "--json").document
    nas("grant", "bob", "home:/photos", "read,write")
    assert rows(nas, "home:/photos")["bob"]["principal"] == added["principal"]
    assert "bob (" in nas("access", "list", "home:/photos").out
    assert "lets bob write" in nas("access", "log", "home:").out
    assert nas("access", "explain", "bob", "home:/photos", "--json").document["principal"] == added["principal"]
    assert f"bob              {added['principal']}" in nas("contact", "list").out
    assert "It calls itself bob" in nas("contact", "show", "bob").out
    nas("revoke", "bob", "home:/photos", "--yes")
    assert not rows(nas, "home:/photos").get("bob", {}).get("write", {}).get("allowed", False)


def test_a_changed_key_is_refused_loudly_until_it_is_confirmed(
    nas: Machine, bob: Machine, machine_at: Callable[[Path], Machine], homes: Path
) -> None:
    nas("mkdir", "home:/photos")
    first = nas("contact", "add", "bob", card(bob), "--yes", "--json").document
    other = card(another(machine_at, homes))
    for words in (
        ("contact", "add", "bob", other, "--yes"),
        ("grant", other, "home:/photos", "read"),
    ):
        refused = nas(*words, code=5)
        assert "WARNING: THE KEY OF bob HAS CHANGED" in refused.err
        assert str(first["principal"]) in refused.err
        assert "--new-key" in refused.err
    assert nas("contact", "show", "bob", "--json").document["principal"] == first["principal"]
    assert "bob" not in rows(nas, "home:/photos")
    changed = nas("contact", "add", "bob", other, "--yes", "--new-key")
    assert f"bt revoke {first['principal']}" in changed.err
    nas("grant", other, "home:/photos", "read")
    assert rows(nas, "home:/photos")["bob"]["principal"] != first["principal"]


def test_the_name_of_an_enrolled_machine_is_known_too(nas: Machine, laptop: Machine, bob: Machine) -> None:
    nas("mkdir", "home:/photos")
    joined(nas, laptop)
    assert "HAS CHANGED" in nas("contact", "add", "laptop", card(bob), "--yes", code=5).err
    assert "HAS CHANGED" in nas("grant", card(bob, "laptop"), "home:/photos", "read", code=5).err


def test_a_fingerprint_answers_the_question_and_has_to_be_right(nas: Machine, bob: Machine) -> None:
    file = card(bob)
    assert "use --fingerprint or --yes" in nas("contact", "add", "bob", file, code=2).err
    wrong = nas("contact", "add", "bob", file, "--fingerprint", "bt1" + "q" * 58, code=2)
    assert "nothing was kept" in wrong.err
    assert nas("contact", "list").out == ""


def test_a_contact_that_is_forgotten_is_not_known_any_more(nas: Machine, bob: Machine) -> None:
    nas("mkdir", "home:/photos")
    nas("contact", "add", "bob", card(bob), "--yes")
    assert "What it was granted stays" in nas("contact", "remove", "bob").out
    assert "bt contact list" in nas("contact", "remove", "bob", code=1).err
    assert "bt contact add NAME FILE" in nas("grant", "bob", "home:/photos", "read", code=1).err


def test_a_damaged_card_or_name_is_refused(nas: Machine, bob: Machine, tmp_path: Path) -> None:
    file = card(bob)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:-4] + "AAAA", *lines[2:]]))
    assert nas("contact", "add", "bob", file, "--yes", code=6).out == ""
    assert "no petname" in nas("contact", "add", "Bob/..", card(bob), "--yes", code=2).err
