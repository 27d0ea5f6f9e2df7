"""How the next request is awaited, over a socket pair that stands in for the device."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from btfuse._receiving import AWAKE_AFTER, Receiver


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        yield kernel, ours


def received(receiver: Receiver, ours: socket.socket) -> bytes:
    buffer = memoryview(bytearray(100))
    return bytes(buffer[: receiver.receive(ours.fileno(), [buffer])])


def test_what_is_there_is_received_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = ends
    kernel.send(b"first")
    kernel.send(b"second")
    receiver = Receiver(ours.fileno(), awake=False)
    assert [received(receiver, ours), received(receiver, ours)] == [b"first", b"second"]


def test_what_comes_long_after_is_received_too(ends: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = ends
    receiver = Receiver(ours.fileno(), awake=False)
    sender = threading.Timer(0.05, kernel.send, [b"late"])
    sender.start()
    assert received(receiver, ours) == b"late"
    sender.join()


def test_the_end_gives_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = ends
    receiver = Receiver(ours.fileno(), awake=False)
    kernel.close()
    assert received(receiver, ours) == b""


def ask_and_wait(receiver: Receiver, kernel: socket.socket, ours: socket.socket, count: int) -> None:
    """Requests each of which comes only after the answer to the one before."""

    def ask() -> None:
        for _ in range(count):
            kernel.send(b"request")
            kernel.recv(10)

    asker = threading.Thread(target=ask)
    asker.start()
    for _ in range(count):
        received(receiver, ours)
        ours.setblocking(True)
        ours.send(b"answer")
        ours.setblocking(False)
    asker.join()


@pytest.fixture
def spins(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    pytest.importorskip("btspeed", exc_type=ImportError)
    calls: list[int] = []
    monkeypatch.setattr("btspeed.spin_while_counting", lambda beat, _patience: calls.append(beat[0]))
    return calls


def test_who_asks_and_waits_again_and_again_keeps_the_processors_awake(
    ends: tuple[socket.socket, socket.socket], spins: list[int]
) -> None:
    kernel, ours = ends
    ask_and_wait(Receiver(ours.fileno()), kernel, ours, 20 * AWAKE_AFTER)
    assert spins


def test_a_few_requests_keep_nobody_awake(ends: tuple[socket.socket, socket.socket], spins: list[int]) -> None:
    kernel, ours = ends
    ask_and_wait(Receiver(ours.fileno()), kernel, ours, AWAKE_AFTER // 2)
    assert not spins


def test_requests_that_wait_themselves_keep_nobody_awake(
    ends: tuple[socket.socket, socket.socket], spins: list[int]
) -> None:
    kernel, ours = ends
    receiver = Receiver(ours.fileno())
    for _ in range(10 * AWAKE_AFTER):
        kernel.send(b"request")
        received(receiver, ours)
    assert not spins
