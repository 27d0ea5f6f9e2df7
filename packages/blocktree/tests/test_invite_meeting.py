"""`bt invite --via`: the two ends meet at a btfsd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from btlib.pairing import FrameKind, InvitationCode, Joiner, Refusal, frame, wait_frame

from .conftest import Machine
from .inviting import connect, inviting
from .serving import free_port, running_server, with_an_apple


@pytest.fixture
def served_meeting(
    nas: Machine, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Machine, str]]:
    """The first machine, whose btfsd lets others meet, and where."""
    place = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("BTFSD_MEETINGS_LISTEN", place)
    with_an_apple(nas, tmp_path, "home:/notes")
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
            probe.shutdown(socket.SHUT_WR)  # it took the place itself: the next is not to meet it there
            while probe.recv(1 << 10):
                pass
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
