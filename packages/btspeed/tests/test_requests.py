"""What `exchange` refuses. That it does what the Python does stands in the tests of btfuse."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import btspeed
import pytest


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        yield kernel, ours


def score() -> memoryview:
    return memoryview(bytearray(24)).cast("Q")


@pytest.mark.parametrize("size", [1, 39])
def test_a_request_shorter_than_its_head_is_refused(ends: tuple[socket.socket, socket.socket], size: int) -> None:
    ends[0].send(bytes(size))
    with pytest.raises(ValueError, match="shorter than its header"):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, None, 1, score(), 1, 1)


@pytest.mark.parametrize(
    ("buffer", "words"), [(39, score()), (100, memoryview(bytearray(16))), (100, memoryview(bytearray(32))[1:25])]
)
def test_buffers_of_the_wrong_size_are_refused(
    ends: tuple[socket.socket, socket.socket], buffer: int, words: memoryview
) -> None:
    with pytest.raises(ValueError, match="three aligned words"):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(buffer)), 0, None, 1, words, 1, 1)


def test_an_answer_is_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(TypeError):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, "text", 1, score(), 1, 1)  # type: ignore[arg-type]
    ends[1].setblocking(False)
    ends[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends[0].recv(100)


def test_the_score_rises_with_waiting_and_falls_in_steps(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].setblocking(True)
    words = score()
    words[2] = 5
    for expected, over in ((2, 0), (0, 1), (0, 1)):
        ends[0].send(bytes(40))
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, None, 1, words, 5, 3)
        assert (words[0], words[1], words[2]) == (0, over, expected)
