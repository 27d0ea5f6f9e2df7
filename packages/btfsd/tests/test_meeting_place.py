"""The meeting place, met by real connections on loopback: it passes on, and gives nobody more than a little."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from btfsd import _meeting_place
from btfsd._meeting_place import MAX_BYTES, meeting_place
from btfsd._settings import Meetings
from btlib.errors import PairingError
from btlib.pairing import FrameKind, FrameReader, Refusal, frame, wait_frame

WORD, OTHER = 7, 8
SECONDS = 20


def hello(meeting: int = WORD) -> bytes:
    return frame(FrameKind.HELLO, b"btjoin/1" + meeting.to_bytes(2, "big") + bytes(33))


@pytest.fixture
def place() -> Iterator[str]:
    with meeting_place(Meetings(listen="127.0.0.1:0")) as listening:
        assert listening is not None
        yield listening


@contextmanager
def connected(place: str) -> Iterator[socket.socket]:
    host, _, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as link:
        yield link


def read(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := link.recv(size - len(data))):
        data += more
    return data


@contextmanager
def waiting(place: str, meeting: int = WORD) -> Iterator[socket.socket]:
    """An inviting end that was told that it waits."""
    with connected(place) as link:
        link.sendall(wait_frame(meeting))
        assert read(link, 5) == frame(FrameKind.WAITING)
        yield link


def refusal(link: socket.socket) -> Refusal | None:
    """Why the connection is closed; None where nothing is said."""
    reader = FrameReader()
    while data := link.recv(100):
        reader.feed(data)
    found = reader.next_frame()
    return None if found is None else Refusal(found.body[0])


def test_two_that_share_a_word_meet_and_everything_passes(place: str) -> None:
    with waiting(place) as inviter, connected(place) as joiner:
        joiner.sendall(hello() + b"and more")
        assert read(inviter, len(hello()) + 8) == hello() + b"and more"
        for sender, receiver, data in ((inviter, joiner, b"x" * 200_000), (joiner, inviter, b"y" * 200_000)):
            sender.sendall(data)
            assert read(receiver, len(data)) == data
        inviter.shutdown(socket.SHUT_WR)
        assert joiner.recv(1) == b""


def test_others_do_not_hear_of_it(place: str) -> None:
    with waiting(place) as inviter, waiting(place, OTHER) as other, connected(place) as joiner:
        joiner.sendall(hello())
        assert read(inviter, len(hello())) == hello()
        other.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            other.recv(1)


def test_where_nobody_waits_that_is_said(place: str) -> None:
    with connected(place) as joiner:
        joiner.sendall(hello())
        assert refusal(joiner) is Refusal.NOBODY


def test_a_second_joiner_finds_nobody(place: str) -> None:
    with waiting(place) as inviter, connected(place) as first, connected(place) as second:
        first.sendall(hello())
        assert read(inviter, len(hello())) == hello()
        second.sendall(hello())
        assert refusal(second) is Refusal.NOBODY


def test_a_word_is_for_one_that_waits_and_free_when_it_has_gone(place: str) -> None:
    with waiting(place) as first, connected(place) as second:
        second.sendall(wait_frame(WORD))
        assert refusal(second) is Refusal.BUSY
        first.shutdown(socket.SHUT_WR)
        assert first.recv(1) == b""
    with waiting(place):
        pass


def test_an_inviter_that_speaks_out_of_turn_is_sent_away(place: str) -> None:
    with waiting(place) as inviter:
        inviter.sendall(b"?")
        assert refusal(inviter) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frame(FrameKind.JOINED, bytes(16)),
        hello().replace(b"btjoin/1", b"btjoin/2"),
        wait_frame(2048),
    ],
)
def test_who_says_something_else_is_refused(place: str, data: bytes) -> None:
    with connected(place) as stranger:
        stranger.sendall(data)
        assert refusal(stranger) is Refusal.DAMAGED


def test_who_says_nothing_is_not_kept(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meeting_place, "OPENING_SECONDS", 0.05)
    with connected(place) as silent:
        assert refusal(silent) is None


def test_one_address_gets_its_share(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meeting_place, "MAX_PER_ADDRESS", 2)
    with ExitStack() as stack:
        for meeting in (1, 2):
            stack.enter_context(waiting(place, meeting))
        with connected(place) as third:
            third.sendall(wait_frame(3))
            assert refusal(third) is Refusal.BUSY


@pytest.mark.parametrize("joiner_talks", [True, False])
def test_more_than_machines_have_to_say_is_cut_off(place: str, joiner_talks: bool) -> None:
    with waiting(place) as inviter, connected(place) as joiner:
        joiner.sendall(hello())
        read(inviter, len(hello()))
        talker, hearer = (joiner, inviter) if joiner_talks else (inviter, joiner)
        hearer.setblocking(False)
        with pytest.raises(ConnectionError):
            talk_for_ever(talker, hearer)


def talk_for_ever(talker: socket.socket, hearer: socket.socket) -> None:
    passed = 0
    while passed <= 4 * MAX_BYTES:  # what was sent before the cut may still arrive
        talker.sendall(bytes(1 << 14))
        passed += drain(hearer)


def drain(link: socket.socket) -> int:
    try:
        return len(link.recv(1 << 20))
    except OSError:
        return 0


def test_everyone_is_sent_away_when_the_server_ends() -> None:
    with meeting_place(Meetings(listen="127.0.0.1:0")) as listening, ExitStack() as stack:
        assert listening is not None
        inviter = stack.enter_context(waiting(listening))
        left = stack.pop_all()
    with left:
        assert inviter.recv(1) == b""


def test_without_a_setting_there_is_none_and_a_taken_port_is_named(place: str) -> None:
    with meeting_place(Meetings()) as listening:
        assert listening is None
    with pytest.raises(PairingError, match="cannot listen"), meeting_place(Meetings(listen=place)):
        pass
