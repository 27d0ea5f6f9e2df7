"""`bt invite` and `bt join`: two homes, one code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blocktree import inviting as inviting_shell
from blocktree.commands import invite as invite_command
from blocktree.commands import join as join_command
from blocktree.enrolment import make_request
from blocktree.errors import CommandError
from blocktree.inviting import MAX_TALKS, let_one_in, listening, reached_at
from blocktree.knocking import knock, places
from blocktree.session import now
from btlib.credentials import FileCredentialStore
from btlib.errors import BlocktreeError, PairingError
from btlib.kinds import Kind
from btlib.pairing import FrameKind, Invitation, InvitationCode, Joiner, Refusal, frame, wait_frame
from btlib.testing import make_keys
from spake2 import SPAKE2_A

from .conftest import Machine
from .inviting import inviting
from .test_asking import type_at_terminal
from .test_server import free_port, running_server


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def served(nas: Machine, port: int, tmp_path: Path) -> Iterator[Machine]:
    """The first machine, whose store btfsd serves."""
    (tmp_path / "apple.txt").write_text("an apple")
    nas("mkdir", "home:/notes", "home:/private")
    nas("cp", tmp_path / "apple.txt", "home:/notes/")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        yield nas


def root_of(machine: Machine) -> str:
    return str(FileCredentialStore(machine.directory / "root-credentials").public().principal)


def principal_of(machine: Machine) -> str:
    return str(FileCredentialStore(machine.directory / "credentials").public().principal)


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
        assert root_of(served) in text
        assert principal_of(laptop) in text
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
    assert joined["root"] == invited["root"] == root_of(served)
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


def test_of_two_that_race_one_gets_in_and_the_other_is_told(
    nas: Machine, machine_at: Callable[[Path], Machine], homes: Path
) -> None:
    racers = [machine_at(homes / name) for name in ("first", "second")]
    with inviting(nas, "--server", "nas:1") as invitation:
        done: list[tuple[int, str]] = []
        barrier = threading.Barrier(2)

        def race(machine: Machine) -> None:
            barrier.wait()
            done.append(race_once(machine, invitation.code))

        threads = [threading.Thread(target=race, args=[machine]) for machine in racers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        invitation.end()
    assert sorted(code for code, _ in done)[0] == 0
    (loser,) = [(code, text) for code, text in done if code != 0]
    assert loser[0] in (3, 4), loser
    assert "Traceback" not in loser[1]


def race_once(machine: Machine, code: str) -> tuple[int, str]:
    words = [sys.executable, "-m", "blocktree", "join", code]
    done = subprocess.run(words, env=machine.environment(), capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


def test_scanners_and_garbage_burn_nothing(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        place = invitation.code.partition("@")[2].rpartition(":")
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes([FrameKind.REQUEST]) + b"\xff" * 4, bytes(5)):
            with socket.create_connection((place[0], int(place[2]))) as scanner:
                scanner.sendall(data)
        laptop("join", invitation.code)
        invitation.end()


@contextmanager
def relaying(code: str, change: Callable[[int, bytes], bytes]) -> Iterator[str]:
    """An evil relay between the two ends; the code that leads to it. `change` gets the number of an answer."""
    spoken, _, place = code.partition("@")
    host, _, port = place.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_relay, args=[listener, (host, int(port)), change])
        thread.start()
        yield f"{spoken}@127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def _relay(listener: socket.socket, target: tuple[str, int], change: Callable[[int, bytes], bytes]) -> None:
    joiner, _ = listener.accept()
    with joiner, socket.create_connection(target) as inviter:

        def up() -> None:
            while data := joiner.recv(1 << 16):
                inviter.sendall(data)
            inviter.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=up)
        thread.start()
        number = 0
        while data := inviter.recv(1 << 16):
            joiner.sendall(change(number, data))
            number += 1
        joiner.shutdown(socket.SHUT_WR)
        thread.join()


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def test_a_relay_that_passes_everything_on_learns_nothing_and_lets_in(nas: Machine, laptop: Machine) -> None:
    seen: list[bytes] = []

    def look(number: int, data: bytes) -> bytes:
        seen.append(data)
        return data

    with inviting(nas, "--server", "nas.canary:1") as invitation:
        with relaying(invitation.code, look) as code:
            laptop("join", code, "--host", "canary")
        invitation.end()
    assert b"canary" not in b"".join(seen)
    assert invitation.code.partition("@")[0].encode() not in b"".join(seen)


def test_a_relay_that_changes_the_answer_burns_the_code_at_both_ends(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        other = frame(FrameKind.ANSWER, SPAKE2_A(b"a guess").start())
        with relaying(invitation.code, lambda number, data: other if number == 0 else data) as code:
            refused = laptop("join", code, code=3)
        ended = invitation.end(code=3)
    assert "used up" in refused.err
    assert "used up" in ended.err


def test_a_relay_that_changes_the_response_is_noticed_at_both_ends(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        with relaying(invitation.code, lambda number, data: flip_last(data) if number == 1 else data) as code:
            refused = laptop("join", code, code=1)
        ended = invitation.end(code=1)
    assert "changed on the way" in refused.err
    assert "did not understand" in ended.err
    assert laptop("status", "--json").document["pending"] == []


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


def connect(code: str) -> socket.socket:
    host, _, port = code.partition("@")[2].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_too_many_at_once_are_sent_away_and_the_code_stays_good(nas: Machine, laptop: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        crowd = [connect(invitation.code) for _ in range(MAX_TALKS)]
        busy = laptop("join", invitation.code, code=7)
        for one in crowd:
            one.close()
        assert "still good" in busy.err
        laptop("join", invitation.code)
        invitation.end()


def test_who_knows_the_code_and_asks_for_nonsense_is_refused_and_the_code_is_used(
    nas: Machine, laptop: Machine
) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        code = InvitationCode.parse(invitation.code)
        with pytest.raises(PairingError, match="could not go on"):
            knock(code, b"blocktree enroll request 1\nAAAA\n", places(code), lambda response: None)
        assert "is damaged" in invitation.end(code=1).err
    laptop("join", invitation.code, code=4)


def test_who_knows_the_code_and_goes_away_is_told_of(nas: Machine) -> None:
    with inviting(nas, "--server", "nas:1") as invitation:
        request = make_request(make_keys("alice"), "laptop", now()).encode()
        joiner = Joiner(InvitationCode.parse(invitation.code), request, os.urandom)
        with connect(invitation.code) as link:
            link.sendall(joiner.data_to_send())
            joiner.receive_data(link.recv(1 << 16), 0.0)
            link.sendall(joiner.data_to_send())
        ended = invitation.end(code=4)
    assert "was lost before it said that it is a member" in ended.err
    assert ended.out.count("\n") == len(invitation.shown)


def test_a_response_that_the_new_machine_cannot_keep_is_told_at_both_ends(
    nas: Machine, laptop: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise CommandError("no room", kind=Kind.NO_SPACE)

    monkeypatch.setattr(join_command, "become_member", fail)
    with inviting(nas, "--server", "nas:1") as invitation:
        assert "no room" in laptop("join", invitation.code, code=1).err
        assert "could not go on" in invitation.end(code=1).err
    assert laptop("status", "--json").document["pending"] == []


def test_the_answer_to_another_request_is_not_taken(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    """Even who knows the code cannot have a machine take what was signed for other keys."""
    nas("enroll", "request", "other", "--out", tmp_path / "other.request")
    nas("enroll", "sign", tmp_path / "other.request", "--yes")
    text = (tmp_path / "other.response").read_bytes()
    invitation = Invitation(InvitationCode.parse("lemon-rocket-absorb-winter"), expires=time.monotonic() + 60)

    class Evil:
        def respond(self, request: bytes) -> bytes:
            return text

        def joined(self) -> bytes:
            raise AssertionError("it joined")

    with listening("127.0.0.1:0") as listener:
        place = reached_at(listener)
        failures: list[BlocktreeError] = []

        def serve() -> None:
            try:
                let_one_in(invitation, listener, Evil())
            except BlocktreeError as error:
                failures.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        refused = laptop("join", f"lemon-rocket-absorb-winter@{place}", code=1)
        thread.join()
    assert "no request from here" in refused.err
    assert "could not go on" in str(failures)


def test_a_silent_caller_does_not_hold_the_line(nas: Machine, laptop: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inviting_shell, "TALK_SECONDS", 0.05)
    invitation = Invitation(InvitationCode.parse("lemon-rocket-absorb-winter"), expires=time.monotonic() + 60)
    with listening("127.0.0.1:0") as listener:
        place = reached_at(listener)
        ends: list[BlocktreeError] = []

        def serve() -> None:
            try:
                let_one_in(invitation, listener, Unused())
            except BlocktreeError as error:
                ends.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        with connect(f"x@{place}") as silent:
            assert silent.recv(1) == b""  # it is closed by the other end
        laptop("join", f"lemon-rocket-absorb-zebra@{place}", code=3)
        thread.join()
    assert [error.kind for error in ends] == [Kind.UNAUTHENTICATED]


class Unused:
    """A host that is never asked."""

    def respond(self, request: bytes) -> bytes:
        raise AssertionError("nobody knew the code")

    def joined(self) -> bytes:
        raise AssertionError("nobody joined")


# Through a btfsd


@pytest.fixture
def served_meeting(
    nas: Machine, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Machine, str]]:
    """The first machine, whose btfsd lets others meet, and where."""
    place = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("BTFSD_MEETINGS_LISTEN", place)
    (tmp_path / "apple.txt").write_text("an apple")
    nas("mkdir", "home:/notes")
    nas("cp", tmp_path / "apple.txt", "home:/notes/")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        yield nas, place


def test_a_machine_joins_over_the_server_and_a_scanner_in_between_burns_nothing(
    served_meeting: tuple[Machine, str], laptop: Machine, port: int
) -> None:
    nas, place = served_meeting
    with inviting(nas, "--path", "home:/notes", "--server", f"127.0.0.1:{port}", "--via", place) as invitation:
        assert invitation.code.endswith(f"@{place}")
        with connect(invitation.code) as scanner:
            code = InvitationCode.parse(invitation.code)
            scanner.sendall(Joiner(code, b"", os.urandom).data_to_send()[:-1] + b"\0")
            while scanner.recv(1 << 16):
                pass
        until_waiting(invitation.code)
        laptop("join", invitation.code)
        invitation.end()
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"


def until_waiting(code: str) -> None:
    """Until the inviting end is back at its meeting place: who would take its word is told that it is taken."""
    busy = frame(FrameKind.REFUSAL, bytes([Refusal.BUSY]))
    for _ in range(1000):
        with connect(code) as probe:
            probe.sendall(wait_frame(InvitationCode.parse(code).meeting))
            if probe.recv(len(busy)) == busy:
                return
    raise AssertionError("it does not come back")


def test_a_wrong_guess_over_the_server_is_told_at_both_ends(
    served_meeting: tuple[Machine, str], laptop: Machine
) -> None:
    nas, place = served_meeting
    with inviting(nas, "--server", "nas:1", "--via", place) as invitation:
        assert "used up" in laptop("join", invitation.wrong_code(), code=3).err
        assert "used up" in invitation.end(code=3).err
        assert "nobody waits there" in laptop("join", invitation.code, code=4).err


def test_a_meeting_place_that_is_none_is_told_before_a_code_is_shown(nas: Machine) -> None:
    done = nas("invite", "--server", "nas:1", "--via", f"127.0.0.1:{free_port()}", code=4)
    assert "no meeting place answers at" in done.err
    assert "bt join" not in done.out
