"""`bt invite` and `bt join`: two homes, one code."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from blocktree.commands import invite as invite_command
from btlib.credentials import FileCredentialStore

from .conftest import Machine
from .inviting import inviting
from .terminals import type_at_terminal


def test_a_machine_joins_by_a_code_and_reads_what_it_was_given(
    served: Machine, laptop: Machine, port: int, tmp_path: Path
) -> None:
    words = ["--path", "home:/notes", "--rights", "read,write", "--server", f"127.0.0.1:{port}"]
    with inviting(served, *words) as invitation:
        joined = laptop("join", invitation.code, "--host", "laptop")
        invited = invitation.end()
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
    laptop("cp", tmp_path / "apple.txt", "home:/notes/pear.txt")
    assert served("ls", "home:/notes").out == "apple.txt\npear.txt\n"
    laptop("ls", "home:/private", code=5)
    for text in (joined.out, invited.out):
        assert served.root in text
        assert laptop.principal in text
        assert "read, write at home:/notes" in text
    served("grant", "laptop", "home:/private", "read")
    laptop("ls", "home:/private")


@pytest.mark.mount
def test_a_machine_that_joined_mounts(served: Machine, laptop: Machine, port: int, tmp_path: Path) -> None:
    with inviting(served, "--path", "home:/notes", "--server", f"127.0.0.1:{port}") as invitation:
        laptop("join", invitation.code)
        invitation.end()
    place = tmp_path / "tree"
    place.mkdir()
    laptop("mount", "--server", "home:/notes", place)
    try:
        assert (place / "apple.txt").read_text() == "an apple"
    finally:
        laptop("umount", place)


def test_both_ends_tell_programs_the_same(served: Machine, laptop: Machine, port: int) -> None:
    words = ["--path", "home:/notes", "--server", f"127.0.0.1:{port}", "--host", "tablet", "--json"]
    with inviting(served, *words) as invitation:
        joined = laptop("join", invitation.code, "--as", "work", "--json").document
        invited = json.loads("{" + invitation.end().out.partition("{")[2])
    assert joined["host"] == invited["host"] == "tablet"
    assert joined["root"] == invited["root"] == served.root
    assert joined["principal"] == invited["principal"]
    assert (joined["petname"], joined["server"]) == ("work", f"127.0.0.1:{port}")
    assert (joined["path"], joined["rights"]) == ("/notes", ["read"])
    assert (invited["path"], invited["rights"]) == ("home:/notes", ["read"])
    assert laptop("cat", "work:/notes/apple.txt").out == "an apple"


def test_a_membership_alone_can_be_given(nas: Machine, laptop: Machine) -> None:
    with inviting(nas) as invitation:
        done = laptop("join", invitation.code, "--server", "nas:1", "--host", "laptop")
        assert "bt grant laptop home:/PATH" in invitation.end().out
    assert "may" not in done.out
    (domain,) = json.loads(laptop("status", "--json").out)["domains"]
    assert (domain["host"], domain["server"]) == ("laptop", "nas:1")


def test_a_wrong_guess_burns_the_code_says_so_at_both_ends_and_leaves_nothing(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        refused = laptop("join", invitation.wrong_code(), code=3)
        ended = invitation.end(code=3)
        late = laptop("join", invitation.code, code=4)
    assert "used up" in refused.err
    assert "guessed the code wrong" in ended.err
    assert "used up" in ended.err
    assert "have it invite anew" in late.err
    for done in (refused, ended, late):
        assert done.err.strip().splitlines()[-1].count("bt:") == 1
        assert "Traceback" not in done.err
    assert laptop("status", "--json").document["pending"] == []


def test_a_code_works_once(
    nas: Machine, laptop: Machine, machine_at: Callable[[Path], Machine], tmp_path: Path
) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        laptop("join", invitation.code)
        invitation.end()
        machine_at(tmp_path / "other")("join", invitation.code, code=4)


def test_a_code_expires(nas: Machine, laptop: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invite_command, "MINUTE", 0.0)
    done = nas("invite", "--listen", "127.0.0.1:0", "--server", "nas:1", code=5)
    assert "has expired" in done.err
    code = next(line.split()[2] for line in done.out.splitlines() if line.startswith("  bt join "))
    laptop("join", code, code=4)


def test_the_code_can_be_typed_and_then_stands_in_no_argument(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        secret = "a new passphrase"
        answers = [
            ("The code that bt invite shows:", invitation.code.replace("-", " ").upper()),
            ("New passphrase of this machine in home:", secret),
            ("The same again:", secret),
        ]
        code, screen = type_at_terminal(laptop, ["join"], answers)
        invitation.end()
    assert code == 0, screen
    assert "This machine is" in screen


def test_without_a_terminal_the_code_has_to_be_given(laptop: Machine) -> None:
    assert "give it: bt join CODE" in laptop.process("join", code=2).err


def test_a_qr_code_is_drawn_on_request(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1", "--qr") as invitation:
        drawn = [line for line in invitation.shown if "\u2588" in line or "\u2580" in line]
        laptop("join", invitation.code)
        invitation.end()
    assert len(drawn) > 10
    assert len({len(line) for line in drawn}) == 1


def test_what_cannot_be_given_is_told_at_both_ends_and_the_machine_is_a_member(nas: Machine, laptop: Machine) -> None:
    nas("mkdir", "home:/notes")
    with inviting(nas, "--path", "home:/notes", "--server", "nas:1", "--host", "laptop") as invitation:
        nas("rm", "-r", "home:/notes")
        joined = laptop("join", invitation.code)
        ended = invitation.end(code=1)
    assert "could not give access" in joined.err
    assert "bt grant laptop home:/notes read" in ended.out
    assert "there is no home:/notes" in ended.err
    assert len(json.loads(laptop("status", "--json").out)["domains"]) == 1


def test_a_machine_that_may_not_delegate_cannot_invite(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        laptop("join", invitation.code)
        invitation.end()
    done = laptop("invite", "--listen", "127.0.0.1:0", code=5)
    assert "bt join" not in done.out


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["invite", "--path", "home:/none"], 1, "there is no home:/none"),
        (["invite", "--path", "home:/", "--rights", "eat"], 2, "'eat' is no right"),
        (["invite", "--listen", "nas"], 2, "is no endpoint"),
        (["invite", "--listen", "192.0.2.1:1"], 4, "cannot listen at"),
        (["invite", "--host", "a/b"], 2, "a/b"),
        (["invite", "--minutes", "0"], 2, "minutes"),
        (["join", "lemon"], 2, "4 words, not 1"),
        (["join", "lemon-rocket-absorb-wonter@127.0.0.1:1"], 2, "word 4"),
        (["join", "lemon-rocket-absorb-winter@127.0.0.1"], 2, "is no endpoint"),
        (["join", "lemon-rocket-absorb-winter@127.0.0.1:1", "--as", "new"], 4, "nobody answers at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_is_said_before_a_code_is_shown_or_spent(
    nas: Machine, words: list[str], code: int, complaint: str
) -> None:
    done = nas(*words, code=code)
    assert complaint in done.err
    assert "bt join" not in done.out
    assert nas("status", "--json").document["pending"] == []


def test_a_machine_in_the_same_network_needs_the_words_alone(nas: Machine, laptop: Machine) -> None:
    pytest.importorskip("zeroconf", reason="multicast DNS is an extra: pip install btfproto[mdns]")
    with inviting(nas, "--server", "nas:1") as invitation:
        assert any("in the same network" in line for line in invitation.shown), invitation.shown
        laptop("join", invitation.code.partition("@")[0])
        invitation.end()


def test_a_code_is_kept_in_no_file(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        laptop("join", invitation.code)
        invitation.end()
    secret = "-".join(invitation.code.partition("@")[0].split("-")[1:]).encode()
    files = [file for machine in (nas, laptop) for file in machine.home.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert [file for file in files if secret in file.read_bytes()] == []


@pytest.mark.parametrize("suite", ["p256", "hybrid-pq"])
def test_keys_of_every_suite_join(nas: Machine, laptop: Machine, suite: str) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        laptop("join", invitation.code, "--suite", suite)
        invitation.end()
    assert FileCredentialStore(laptop.directory / "credentials").public().suite.text == suite


def test_the_code_says_where_a_router_forwards(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1", "--at", "home.example:7465") as invitation:
        assert invitation.code.endswith("@home.example:7465")


def test_an_interrupted_invitation_ends_at_once_and_the_code_with_it(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        invitation.process.send_signal(signal.SIGINT)
        assert "Traceback" not in invitation.end(code=130).err
    laptop("join", invitation.code, code=4)
