"""`bt agent` and the keyring: commands, mounts and servers that are given no passphrase, until keys are forgotten."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import pytest
from btlib import os_keyring
from keyring.backends import fail

from .conftest import PASSPHRASE, Machine
from .serving import enrol, free_port, running_server
from .terminals import type_at_terminal
from .test_recover import write_private


@pytest.fixture
def held(nas: Machine) -> Iterator[Machine]:
    """A machine whose keys an agent holds."""
    nas.process("agent", "start")
    yield nas
    stop(nas)


def stop(machine: Machine) -> None:
    machine.process("agent", "stop")
    socket = machine.home / "run" / "agent.sock"
    end = time.monotonic() + 20
    while socket.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_commands_need_no_passphrase_while_the_agent_holds_the_keys(held: Machine, tmp_path: Path) -> None:
    (tmp_path / "apple.txt").write_text("an apple")
    held.process("cp", tmp_path / "apple.txt", "home:/", BLOCKTREE_PASSPHRASE="")
    assert held.process("cat", "home:/apple.txt", BLOCKTREE_PASSPHRASE="").out == "an apple"
    facts = held("agent", "status", "--json").document
    assert [item["petname"] for item in facts["held"]] == ["home"]  # type: ignore[attr-defined]
    held.process("agent", "lock", BLOCKTREE_PASSPHRASE="")
    assert "holds no keys" in held.process("agent", "status", BLOCKTREE_PASSPHRASE="").out
    refused = held.process("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="")
    assert "a passphrase is needed" in refused.err


def test_the_passphrase_is_asked_for_once_at_a_terminal(nas: Machine) -> None:
    answers = [("Passphrase of this machine in home:", PASSPHRASE)]
    code, screen = type_at_terminal(nas, ["agent", "start"], answers)
    try:
        assert code == 0, screen
        assert "Forgotten in" in screen
        assert PASSPHRASE not in screen
        assert type_at_terminal(nas, ["ls", "home:"], [])[0] == 0
        assert type_at_terminal(nas, ["agent", "start"], [])[0] == 0
    finally:
        stop(nas)


def test_a_wrong_passphrase_leaves_no_agent_behind(nas: Machine) -> None:
    done = nas.process("agent", "start", code=3, BLOCKTREE_PASSPHRASE="wrong")
    assert "not the passphrase" in done.err
    assert "no agent answers" in nas("agent", "status", code=4).err


def test_without_an_agent_locking_and_stopping_have_nothing_to_do(nas: Machine) -> None:
    assert "No agent runs" in nas("agent", "lock").out
    assert nas("agent", "stop", "--json").document == {"stopped": False}
    assert "bt agent start" in nas("agent", "status", code=4).err


@pytest.mark.parametrize("words", [["--idle", "soon"], ["--max", "8"], ["--idle", "0s"], ["--max", "8d"]])
def test_times_that_are_none_or_too_long_are_refused(nas: Machine, words: list[str]) -> None:
    nas("agent", "start", *words, code=2)
    assert not (nas.home / "run" / "agent.sock").exists()


def test_the_times_are_those_that_were_asked_for(nas: Machine) -> None:
    try:
        facts = nas("agent", "start", "--idle", "15m", "--max", "8h", "--json").document
        assert (facts["idle_seconds"], facts["max_seconds"]) == (900, 8 * 3600)
        assert 890 <= int(str(facts["left_seconds"])) <= 900
    finally:
        stop(nas)


def test_without_a_domain_there_is_nothing_to_hold(laptop: Machine) -> None:
    assert "there is no domain here yet" in laptop("agent", "start", code=2).err


@pytest.mark.mount
def test_a_mount_takes_its_keys_from_the_agent_and_goes_on_when_they_are_forgotten(
    held: Machine, tmp_path: Path
) -> None:
    if not Path("/dev/fuse").exists():
        pytest.skip("needs /dev/fuse")
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    held.process("mount", "home:", mountpoint, BLOCKTREE_PASSPHRASE="")
    try:
        (mountpoint / "apple.txt").write_text("an apple")
        held.process("agent", "lock")
        (mountpoint / "pear.txt").write_text("written with the mount's own keys")
    finally:
        held.process("umount", mountpoint, BLOCKTREE_PASSPHRASE="")
    assert held("ls", "home:").out == "apple.txt\npear.txt\n"
    assert held("cat", "home:/apple.txt", "home:/pear.txt").out == "an applewritten with the mount's own keys"


class Keyless(Machine):
    """A machine whose programs are given no passphrase."""

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return {**super().environment(more), "BLOCKTREE_PASSPHRASE": ""}


def test_a_server_takes_its_keys_from_the_agent_and_goes_on_when_they_are_forgotten(
    held: Machine, laptop: Machine, tmp_path: Path
) -> None:
    port = free_port()
    with running_server(Keyless(held.home, held.call), port, tmp_path / "btfsd.log"):
        enrol(held, laptop, port)
        held("grant", "laptop", "home:", "read")
        assert laptop("ls", "home:").out == ""
        held.process("agent", "lock")
        assert laptop("ls", "home:").out == ""


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A real back end to the library, in this process alone."""

    priority = 1.0
    viable = False  # never chosen unasked

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    before, made = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_a_remembered_passphrase_is_used_until_it_is_forgotten(nas: Machine, ring: MemoryKeyring) -> None:
    assert "a passphrase is needed" in nas("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="").err
    nas("key", "remember")
    assert list(ring.kept.values()) == [PASSPHRASE]
    nas("ls", "home:", BLOCKTREE_PASSPHRASE="")
    assert nas("key", "forget", "--json").document["forgotten"] is True
    assert ring.kept == {}
    nas("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="")
    assert "holds no passphrase" in nas("key", "forget").out


def test_a_keyring_is_not_opened_unless_it_was_asked_to_remember(nas: Machine, ring: MemoryKeyring) -> None:
    nas("key", "remember")
    (nas.directory / "keyring").unlink()
    nas("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="")
    nas("key", "remember")
    nas("ls", "home:", BLOCKTREE_PASSPHRASE="")


def test_a_wrong_passphrase_is_not_remembered(nas: Machine, ring: MemoryKeyring) -> None:
    nas("key", "remember", code=3, BLOCKTREE_PASSPHRASE="wrong")
    assert ring.kept == {}


def test_a_changed_passphrase_is_remembered_anew_and_a_stale_one_does_no_harm(
    nas: Machine, ring: MemoryKeyring, tmp_path: Path
) -> None:
    nas("key", "remember")
    new = write_private(tmp_path / "new", "another")
    nas("key", "passphrase", "--new-passphrase-file", new)
    assert list(ring.kept.values()) == ["another"]
    nas("ls", "home:", BLOCKTREE_PASSPHRASE="")
    ring.kept = dict.fromkeys(ring.kept, PASSPHRASE)
    assert "a passphrase is needed" in nas("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="").err
    nas("ls", "home:", BLOCKTREE_PASSPHRASE="another")
    ring.kept = dict.fromkeys(ring.kept, "another")
    nas("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="")  # a wrong one is tried once: a chip counts


def test_without_a_keyring_that_works_it_is_said_what_to_do(nas: Machine, ring: MemoryKeyring) -> None:
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]
    assert "bt agent start" in nas("key", "remember", code=1).err
    assert "bt agent start" in nas("key", "forget", code=1).err
    assert "a passphrase is needed" in nas("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="").err


def test_without_the_package_it_is_said_what_to_install(nas: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "keyring", None)
        assert "btlib[keyring]" in nas("key", "remember", code=1).err
        assert os_keyring._find() is None
        nas("ls", "home:")
