"""`bt enroll`, `grant` and `access explain`: two machines, and what passes between them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from blocktree.commands import enroll
from blocktree.errors import CommandError
from btlib.credentials import FileCredentialStore

from .conftest import PASSPHRASE, Machine


@pytest.fixture
def asked(laptop: Machine, tmp_path: Path) -> Path:
    """The laptop's request."""
    file = tmp_path / "laptop.request"
    laptop("enroll", "request", "home", "--host", "laptop", "--out", file)
    return file


@pytest.fixture
def principal(laptop: Machine, asked: Path) -> str:
    return str(FileCredentialStore(laptop.home / "pending" / "home" / "credentials").public().principal)


@pytest.fixture
def root(nas: Machine) -> str:
    return nas.root


@pytest.fixture
def answer(nas: Machine, asked: Path, principal: str) -> Path:
    """The signed answer to it."""
    nas("enroll", "sign", asked, "--fingerprint", principal, "--server", "nas:4433")
    return asked.with_suffix(".response")


def test_both_ends_show_both_fingerprints(
    nas: Machine, laptop: Machine, tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = laptop("enroll", "request", "home", "--host", "laptop")
    second = nas("enroll", "sign", "laptop.request", "--yes", "--server", "nas:4433")
    third = laptop("enroll", "accept", "laptop.response", "--yes")
    principal = laptop.principal
    assert principal in first.out
    assert principal in second.err
    assert root in second.out
    assert root in third.err


def test_an_accepted_machine_knows_root_server_and_its_name(
    laptop: Machine, answer: Path, root: str, principal: str
) -> None:
    facts = laptop("enroll", "accept", answer, "--root", root, "--json").document
    assert facts == {"petname": "home", "root": root, "host": "laptop", "server": "nas:4433"}
    (domain,) = json.loads(laptop("status", "--json").out)["domains"]
    assert (domain["principal"], domain["store"], domain["server"]) == (principal, None, "nas:4433")
    chains = FileCredentialStore(laptop.directory / "credentials").unlock(PASSPHRASE).chains
    assert [chain.caps[-1].path for chain in chains] == [f"/{root}/hosts/laptop", f"/{root}/hosts"]


def test_membership_gives_no_right_to_write_in_the_root_scope(nas: Machine, laptop: Machine, answer: Path) -> None:
    laptop("enroll", "accept", answer, "--yes")
    own, talk = FileCredentialStore(laptop.directory / "credentials").unlock(PASSPHRASE).chains
    root_scope = own.caps[0].scope
    assert own.caps[-1].scope != root_scope
    assert talk.caps[-1].rights == 2


def test_another_name_can_be_given_and_an_end(nas: Machine, laptop: Machine, asked: Path) -> None:
    signed = nas("enroll", "sign", asked, "--yes", "--host", "tablet", "--until", "2d", "--json").document
    assert signed["host"] == "tablet"
    laptop("enroll", "accept", asked.with_suffix(".response"), "--yes", "--server", "nas:1")
    (domain,) = json.loads(laptop("status", "--json").out)["domains"]
    assert (domain["host"], domain["server"]) == ("tablet", "nas:1")


def test_a_machine_is_granted_to_under_the_name_it_was_given(nas: Machine, laptop: Machine, asked: Path) -> None:
    nas("enroll", "sign", asked, "--yes", "--host", "tablet")
    nas("grant", "tablet", "home:/", "read")
    nas("grant", "laptop", "home:/", "read", code=1)


def test_a_membership_is_renewed_and_keeps_keys_and_settings(
    nas: Machine, laptop: Machine, answer: Path, tmp_path: Path, principal: str
) -> None:
    laptop("enroll", "accept", answer, "--yes")
    nas("enroll", "sign", "laptop", "--yes", "--until", "5y", "--out", tmp_path / "again.response")
    laptop("enroll", "accept", tmp_path / "again.response", "--yes")
    (domain,) = json.loads(laptop("status", "--json").out)["domains"]
    assert (domain["principal"], domain["server"], domain["host"]) == (principal, "nas:4433", "laptop")
    chains = FileCredentialStore(laptop.directory / "credentials").unlock(PASSPHRASE).chains
    assert len({chain.caps[-1].not_after for chain in chains}) == 2


def test_nothing_secret_travels(nas: Machine, laptop: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = b"a seed of thirty-two known bytes"
    monkeypatch.setattr("btlib.credentials._interface.random_seed", lambda: seed)
    file = tmp_path / "laptop.request"
    said = [laptop("enroll", "request", "home", "--out", file), nas("enroll", "sign", file, "--yes")]
    for text in (file.read_text(), file.with_suffix(".response").read_text()):
        content = base64.b64decode("".join(text.splitlines()[1:]))
        assert seed not in content
        assert PASSPHRASE.encode() not in content
    assert all(PASSPHRASE not in done.out + done.err for done in said)


@pytest.mark.parametrize("command", ["sign", "accept"])
def test_without_a_terminal_nobody_says_yes(nas: Machine, laptop: Machine, answer: Path, command: str) -> None:
    machine, file = {"sign": (nas, answer.with_suffix(".request")), "accept": (laptop, answer)}[command]
    done = machine.process("enroll", command, file, code=2)
    assert "--yes" in done.err


def test_a_no_ends_it(nas: Machine, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(question: str, *, otherwise: str) -> None:
        raise CommandError("stopped: the answer was not yes")

    monkeypatch.setattr(enroll, "confirm", refuse)
    nas("enroll", "sign", asked, code=2)
    assert not asked.with_suffix(".response").exists()


def test_another_fingerprint_is_refused(nas: Machine, laptop: Machine, asked: Path, root: str, answer: Path) -> None:
    answer.unlink()
    assert "mixed up" in nas("enroll", "sign", asked, "--fingerprint", root, code=3).err
    assert not answer.exists()


def test_a_response_of_another_root_is_refused(
    machine_at: Callable[[Path], Machine], laptop: Machine, asked: Path, root: str, tmp_path: Path
) -> None:
    evil = machine_at(tmp_path / "evil")
    evil("init", "home", "--no-input")
    evil("enroll", "sign", asked, "--yes", "--server", "evil:4433")
    assert "mixed up" in laptop("enroll", "accept", asked.with_suffix(".response"), "--root", root, code=3).err
    assert laptop("status", "--json").document["pending"] == ["home"]


def test_a_response_for_somebody_else_is_refused(
    nas: Machine, machine_at: Callable[[Path], Machine], answer: Path, tmp_path: Path
) -> None:
    other = machine_at(tmp_path / "other")
    assert "no request from here" in other("enroll", "accept", answer, "--yes", code=1).err


def test_a_wrong_passphrase_leaves_the_enrolment_waiting(laptop: Machine, answer: Path) -> None:
    laptop("enroll", "accept", answer, "--yes", code=3, BLOCKTREE_PASSPHRASE="wrong")
    laptop("enroll", "accept", answer, "--yes")


def test_a_machine_that_may_not_delegate_cannot_enrol(
    laptop: Machine, machine_at: Callable[[Path], Machine], answer: Path, tmp_path: Path
) -> None:
    laptop("enroll", "accept", answer, "--yes")
    third = machine_at(tmp_path / "third")
    third("enroll", "request", "home", "--host", "third", "--out", tmp_path / "third.request")
    assert "third" in laptop("enroll", "sign", tmp_path / "third.request", "--yes", code=5).err


DAMAGED = [
    (lambda text: text[:200], 6, "is damaged"),
    (lambda text: text.replace("request", "response"), 2, "this is no"),
    (lambda text: "", 2, "this is no"),
    (lambda text: text + "é", 2, "other bytes than text"),
    (lambda text: text + "A" * 400_000, 2, "no enrolment file"),
]


@pytest.mark.parametrize(("damage", "code", "complaint"), DAMAGED)
def test_a_damaged_request_is_refused(
    nas: Machine, asked: Path, damage: Callable[[str], str], code: int, complaint: str
) -> None:
    asked.write_text(damage(asked.read_text()), encoding="utf-8")
    assert complaint in nas("enroll", "sign", asked, "--yes", code=code).err


def test_a_missing_request_is_named(nas: Machine) -> None:
    assert "nowhere.request: No such file" in nas("enroll", "sign", "nowhere.request", "--yes", code=1).err


# Granting


def test_a_grant_names_its_machine_by_principal_name_or_file(
    nas: Machine, asked: Path, principal: str, answer: Path
) -> None:
    nas("mkdir", "home:/photos")
    for name in (principal, "laptop", str(asked)):
        granted = nas("grant", name, "home:/photos", "read", "--json").document
        assert (granted["principal"], granted["rights"], granted["until"]) == (principal, ["read"], None)


def test_what_was_granted_is_explained(nas: Machine, answer: Path, principal: str, root: str) -> None:
    nas("mkdir", "-p", "home:/photos/2026", "home:/notes")
    nas("grant", "laptop", "home:/photos", "read,write", "--until", "90d")
    explained = json.loads(nas("access", "explain", "laptop", "home:/photos/2026", "--json").out)
    assert {power: explained[power]["allowed"] for power in ("read", "write", "execute")} == {
        "read": True,
        "write": True,
        "execute": False,
    }
    elsewhere = json.loads(nas("access", "explain", principal, "home:/notes", "--json").out)
    assert [elsewhere[power]["allowed"] for power in ("read", "write", "execute")] == [False, False, False]
    text = nas("access", "explain", "laptop", "home:/photos").out
    assert "a readcap opens home:/photos and all below (epoch 0)" in text
    assert f"{root} lets" in text


def test_the_owner_may_do_everything(nas: Machine) -> None:
    explained = json.loads(nas("access", "explain", "home:/", "--json").out)
    assert all(explained[power]["allowed"] for power in ("read", "write", "execute"))


def test_after_a_grant_of_writing_everything_still_reads(nas: Machine, answer: Path, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / "many" / f"d{number}").mkdir(parents=True)
        (tmp_path / "many" / f"d{number}" / "f").write_text(str(number))
    nas("cp", "-r", tmp_path / "many", "home:/")
    assert nas("grant", "laptop", "home:/many", "read,write", "--json").document["rehomed"] == 41
    assert nas("cat", "home:/many/d7/f").out == "7"
    nas("cp", "-r", tmp_path / "many", "home:/many/again")
    assert nas("grant", "laptop", "home:/many", "write", "--json").document["rehomed"] == 0


def test_a_write_scope_around_another_is_refused_before_it_does_harm(nas: Machine, answer: Path) -> None:
    nas("mkdir", "-p", "home:/a/b/c")
    nas("grant", "laptop", "home:/a/b", "write")
    assert "/a/b already, and cannot yet be granted above it" in nas("grant", "laptop", "home:/a", "write", code=1).err
    nas("grant", "laptop", "home:/a", "read")
    nas("grant", "laptop", "home:/a/b/c", "write")
    assert nas("ls", "home:/a/b").out == "c/\n"


REFUSED = [
    (["grant", "nobody", "home:/", "read"], 1, "the keys of nobody are not known on this machine"),
    (["grant", "bt1xyz", "home:/", "read"], 2, "is no principal"),
    (["grant", "laptop", "home:/", "fly"], 2, "'fly' is no right; use some of read, write, execute"),
    (["grant", "laptop", "home:/", ""], 2, "'' is no right"),
    (["grant", "laptop", "home:/none", "read"], 1, "there is no home:/none"),
    (["grant", "laptop", "home:/", "read", "--until", "yesterday"], 2, "'yesterday' is no date"),
    (["grant", "laptop", "home:/", "write", "--until", "2020-01-01"], 2, "2020-01-01 is past already"),
    (["access", "explain", "nobody", "home:/"], 1, "are not known"),
]


@pytest.mark.parametrize(("words", "code", "complaint"), REFUSED)
def test_what_cannot_be_granted_is_said_in_a_sentence(
    nas: Machine, answer: Path, words: list[str], code: int, complaint: str
) -> None:
    done = nas(*words, code=code)
    assert complaint in done.err
    assert done.err.count("\n") == 1
