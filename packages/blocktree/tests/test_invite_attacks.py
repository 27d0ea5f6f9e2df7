"""`bt invite` and `bt join` against relays, scanners, races, and ends that misbehave."""

from __future__ import annotations

import os
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
from blocktree.commands import join as join_command
from blocktree.enrolment import make_request
from blocktree.errors import CommandError
from blocktree.inviting import MAX_TALKS, Host, let_one_in, listening, reached_at
from blocktree.knocking import knock, places
from blocktree.session import now
from btlib.errors import BlocktreeError, PairingError
from btlib.kinds import Kind
from btlib.pairing import FrameKind, Invitation, InvitationCode, Joiner, frame
from btlib.testing import make_keys
from spake2 import SPAKE2_A

from .conftest import Machine
from .inviting import connect, inviting

CODE = "lemon-rocket-absorb-winter"


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


@contextmanager
def letting_in(host: Host) -> Iterator[tuple[str, list[BlocktreeError]]]:
    """An invitation in this process, for `CODE`: where it is, and afterwards how it failed."""
    invitation = Invitation(InvitationCode.parse(CODE), expires=time.monotonic() + 60)
    failures: list[BlocktreeError] = []
    with listening("127.0.0.1:0") as listener:

        def serve() -> None:
            try:
                let_one_in(invitation, listener, host)
            except BlocktreeError as error:
                failures.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(reached_at(listener)), failures
        thread.join()


def test_the_answer_to_another_request_is_not_taken(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    """Even who knows the code cannot have a machine take what was signed for other keys."""
    nas("enroll", "request", "other", "--out", tmp_path / "other.request")
    nas("enroll", "sign", tmp_path / "other.request", "--yes")
    text = (tmp_path / "other.response").read_bytes()

    class Evil:
        def respond(self, request: bytes) -> bytes:
            return text

        def joined(self) -> bytes:
            raise AssertionError("it joined")

    with letting_in(Evil()) as (place, failures):
        refused = laptop("join", f"{CODE}@{place}", code=1)
    assert "no request from here" in refused.err
    assert "could not go on" in str(failures)


def test_a_silent_caller_does_not_hold_the_line(nas: Machine, laptop: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with letting_in(Unused()) as (place, failures):
        with monkeypatch.context() as hurried:
            hurried.setattr(inviting_shell, "TALK_SECONDS", 0.05)
            with connect(f"x@{place}") as silent:
                assert silent.recv(1) == b""  # it is closed by the other end
        laptop("join", f"lemon-rocket-absorb-zebra@{place}", code=3)
    assert [error.kind for error in failures] == [Kind.UNAUTHENTICATED]


class Unused:
    """A host that is never asked."""

    def respond(self, request: bytes) -> bytes:
        raise AssertionError("nobody knew the code")

    def joined(self) -> bytes:
        raise AssertionError("nobody joined")
