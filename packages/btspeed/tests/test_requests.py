"""What `exchange` refuses. That it does what the Python does stands in the tests of btfuse."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import btspeed
import pytest


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        yield kernel, ours


def score() -> memoryview:
    return memoryview(bytearray(32)).cast("Q")


@pytest.mark.parametrize("size", [1, 39])
def test_a_request_shorter_than_its_head_is_refused(ends: tuple[socket.socket, socket.socket], size: int) -> None:
    ends[0].send(bytes(size))
    with pytest.raises(ValueError, match="shorter than its header"):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, None, 1, score(), 1, 1, None)


@pytest.mark.parametrize(
    ("buffer", "words"), [(39, score()), (100, memoryview(bytearray(16))), (100, memoryview(bytearray(40))[1:33])]
)
def test_buffers_of_the_wrong_size_are_refused(
    ends: tuple[socket.socket, socket.socket], buffer: int, words: memoryview
) -> None:
    with pytest.raises(ValueError, match="four aligned words"):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(buffer)), 0, None, 1, words, 1, 1, None)


def test_an_answer_is_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(TypeError):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, "text", 1, score(), 1, 1, None)  # type: ignore[arg-type]
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
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, None, 1, words, 5, 3, None)
        assert (words[0], words[1], words[2]) == (0, over, expected)


def request(unique: int, opcode: int = 15, size: int = 4096) -> bytes:
    """A READ of so many bytes, or what looks like one."""
    return struct.pack("=IIQQIIIHH", 80, opcode, unique, 1, 0, 0, 0, 0, 0) + struct.pack(
        "=QQIIQII", 0, 0, size, 0, 0, 0, 0
    )


class Asker:
    """The end that asks, and sees what was answered so far."""

    def __init__(self, ends: tuple[socket.socket, socket.socket]) -> None:
        self._kernel, ours = ends
        for end in ends:
            end.setblocking(False)
        self._turn = ours.fileno(), memoryview(bytearray(1000))
        self._score, self._held = score(), list[tuple[int, bytes | memoryview]]()

    def ask(self, *requests: bytes) -> None:
        for asked in requests:
            self._kernel.send(asked)

    def turn(self, unique: int, body: bytes | None) -> int:
        """Answer, and the number of the next request."""
        descriptor, buffer = self._turn
        head = btspeed.exchange(descriptor, buffer, unique, body, 1, self._score, 32, 4, self._held)
        assert head is not None
        return head[2]

    def answers(self) -> list[tuple[int, bytes]]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                answer = self._kernel.recv(1000)
                found.append((struct.unpack_from("=IiQ", answer)[2], answer[16:]))
        return found


def test_answers_wait_for_those_of_small_reads_that_are_there_and_keep_their_order(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    asker = Asker(ends)
    asker.ask(*map(request, range(1, 7)))
    assert asker.turn(0, None) == 1
    for unique in (1, 2, 3):
        assert asker.turn(unique, b"%d" % unique) == unique + 1
        assert asker.answers() == []
    assert asker.turn(4, b"4") == 5
    assert asker.answers() == [(1, b"1"), (2, b"2"), (3, b"3"), (4, b"4")]
    assert asker.turn(5, b"5") == 6
    asker.ask(request(7))
    assert asker.turn(6, None) == 7  # a handler that failed has answered by itself
    assert asker.answers() == [(5, b"5")]


@pytest.mark.parametrize("behind", [request(2, opcode=16), request(2, size=8193), request(2)[:59]])
def test_an_answer_waits_for_nothing_else(ends: tuple[socket.socket, socket.socket], behind: bytes) -> None:
    asker = Asker(ends)
    asker.ask(request(1), behind)
    asker.turn(0, None)
    assert asker.turn(1, b"1") == 2
    assert asker.answers() == [(1, b"1")]


def test_a_large_answer_is_not_held_back(ends: tuple[socket.socket, socket.socket]) -> None:
    asker = Asker(ends)
    asker.ask(request(1), request(2))
    asker.turn(0, None)
    asker.turn(1, bytes(8193))
    assert [unique for unique, _ in asker.answers()] == [1]


def test_more_than_a_few_answers_are_not_held_back(ends: tuple[socket.socket, socket.socket]) -> None:
    held: list[tuple[int, bytes | memoryview]] = [(1, b"")] * 4
    with pytest.raises(ValueError, match="too many"):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, None, 1, score(), 1, 1, held)
