"""Guests: a principal of another root reads and writes a subtree with the keys that it has at home, in both modes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Machine
from .serving import free_port, running_server, with_an_apple


@pytest.fixture
def bob(machine_at: Callable[[Path], Machine], homes: Path) -> Machine:
    """Somebody with a domain of his own, which trusts nobody else's."""
    machine = machine_at(homes / "bob")
    machine.process("init", "mine", "--host", "bobs", "--no-input")
    return machine


@pytest.fixture
def served(nas: Machine, bob: Machine, tmp_path: Path) -> Iterator[Machine]:
    """A domain with a server; bob's card is in its owner's contact book, and he holds a pass."""
    with_an_apple(nas, tmp_path, "home:/photos", "home:/private")
    card, leave = tmp_path / "bob.request", tmp_path / "bob.pass"
    bob("contact", "card", "--name", "bob", "--out", card)
    nas("contact", "add", "bob", card, "--yes")
    port = free_port()
    with running_server(nas, port, tmp_path / "btfsd.log"):
        made = nas("guest", "pass", "bob", "--server", f"127.0.0.1:{port}", "--out", leave, "--json").document
        bob("guest", "accept", leave, "friends", "--root", str(made["root"]))
        yield nas


def test_a_guest_sees_what_he_was_granted_and_nothing_else(served: Machine, bob: Machine, tmp_path: Path) -> None:
    assert "holds no read capability" in bob("ls", "friends:/photos", code=5).err
    served("grant", "bob", "home:/photos", "read")
    assert bob("cat", "friends:/photos/apple.txt").out == "an apple"
    bob("ls", "friends:/private", code=5)
    bob("ls", "friends:/", code=5)
    bob.process("cp", tmp_path / "apple.txt", "friends:/photos/pear.txt", code=1)
    served("grant", "bob", "home:/photos", "write")
    bob("cp", tmp_path / "apple.txt", "friends:/photos/pear.txt")
    assert served("cat", "home:/photos/pear.txt").out == "an apple"
    assert "lets bob write" in served("access", "log", "home:").out
    served("revoke", "bob", "--yes")
    assert "was revoked" in bob("cat", "friends:/photos/apple.txt", code=5).err


@pytest.mark.mount
def test_a_guest_mounts_end_to_end_and_thin(served: Machine, bob: Machine, tmp_path: Path) -> None:
    served("grant", "bob", "home:/photos", "read,write")
    place = tmp_path / "tree"
    place.mkdir()
    for options in (["--server"], ["--server", "--thin"]):
        bob("mount", *options, "friends:/photos", place)
        try:
            assert (place / "apple.txt").read_text() == "an apple"
            (place / "new.txt").write_text(" ".join(options))
            os.sync()
        finally:
            bob("umount", place)
        assert served("cat", "home:/photos/new.txt").out == " ".join(options)


def test_an_agent_holds_the_keys_for_both_domains(served: Machine, bob: Machine) -> None:
    served("grant", "bob", "home:/photos", "read")
    bob.process("agent", "start")
    try:
        assert bob("cat", "friends:/photos/apple.txt", BLOCKTREE_PASSPHRASE="").out == "an apple"
        bob("mkdir", "mine:/by-the-agent", BLOCKTREE_PASSPHRASE="")
    finally:
        bob.process("agent", "stop")


def test_a_guest_may_be_in_a_group(served: Machine, bob: Machine) -> None:
    served("group", "create", "friends")
    served("grant", "friends", "home:/photos", "read")
    served("group", "add", "friends", "bob")
    assert bob("cat", "friends:/photos/apple.txt").out == "an apple"
    served("group", "remove", "friends", "bob", "--yes")
    bob("cat", "friends:/photos/apple.txt", code=5)


def test_a_pass_makes_nobody_a_member_and_his_own_domain_stays_as_it_is(served: Machine, bob: Machine) -> None:
    served("grant", "bob", "home:/photos", "read")
    explained = bob("access", "explain", "friends:/", "--json").document
    assert [explained[power]["allowed"] for power in ("read", "write", "execute")] == [False, False, False]  # type: ignore[index]
    bob("mkdir", "mine:/still-mine")
    domains = bob("status", "--json").document["domains"]
    assert {domain["petname"] for domain in domains} == {"mine", "friends"}  # type: ignore[attr-defined]


def test_a_pass_of_another_root_or_for_somebody_else_is_refused(
    served: Machine, bob: Machine, machine_at: Callable[[Path], Machine], homes: Path, tmp_path: Path
) -> None:
    eve = machine_at(homes / "eve")
    eve.process("init", "own", "--host", "eve", "--no-input")
    leave = tmp_path / "bob.pass"
    assert "no request from here" in eve("guest", "accept", leave, "friends", "--yes", code=1).err
    assert "use --root or --yes" in eve("guest", "accept", leave, "friends", code=2).err
    wrong = bob("guest", "accept", leave, "again", "--as", "mine", "--root", "bt1" + "q" * 58, code=3)
    assert "somebody changed it" in wrong.err
    assert "already" in bob("guest", "accept", leave, "friends", "--as", "mine", "--yes", code=1).err
