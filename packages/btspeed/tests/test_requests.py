"""What `exchange` refuses, and which reads it answers by itself.

That it does what the Python does stands in the tests of btfuse.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import btspeed
import pytest

from .stored_file import SECTOR, StoredFile


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        yield kernel, ours


def score() -> memoryview:
    return memoryview(bytearray(40)).cast("Q")


@pytest.mark.parametrize("size", [1, 39])
def test_a_request_shorter_than_its_head_is_refused(ends: tuple[socket.socket, socket.socket], size: int) -> None:
    ends[0].send(bytes(size))
    with pytest.raises(ValueError, match="shorter than its header"):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, None, 1, score(), 1, 1, None)


@pytest.mark.parametrize(
    ("buffer", "words"), [(39, score()), (100, memoryview(bytearray(16))), (100, memoryview(bytearray(48))[1:41])]
)
def test_buffers_of_the_wrong_size_are_refused(
    ends: tuple[socket.socket, socket.socket], buffer: int, words: memoryview
) -> None:
    with pytest.raises(ValueError, match="five aligned words"):
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


def test_reads_come_from_a_table_of_that_type_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].send(bytes(40))
    with pytest.raises(TypeError, match="neither a ReadTable nor None"):
        btspeed.exchange(ends[1].fileno(), memoryview(bytearray(100)), 0, None, 1, score(), 1, 1, {})  # type: ignore[arg-type]


READ, SIZES = 15, struct.Struct("<IIQQIIIHH")


def request(opcode: int, unique: int, node: int, offset: int, size: int) -> bytes:
    body = struct.pack("<QQII", 0, offset, size, 0) + bytes(16)
    return SIZES.pack(SIZES.size + len(body), opcode, unique, node, 0, 0, 0, 0, 0) + body


def turn(ends: tuple[socket.socket, socket.socket], words: memoryview, table: btspeed.ReadTable | None) -> int:
    """The unique number of the request that is Python's."""
    head = btspeed.exchange(ends[1].fileno(), memoryview(bytearray(200)), 0, None, 1, words, 40, 1, table)
    assert head is not None
    return head[2]


def test_a_read_that_the_table_knows_is_answered_and_the_next_request_waited_for(
    ends: tuple[socket.socket, socket.socket], stored: StoredFile
) -> None:
    words = score()
    words[3] = 1
    ends[0].send(request(READ, 4, 9, 3 * SECTOR + 10, 500))
    ends[0].send(request(READ, 6, 9, 7 * SECTOR, SECTOR))
    ends[0].send(request(READ, 8, 10, 7 * SECTOR, SECTOR))  # of a file that it does not know
    assert turn(ends, words, stored.table(9)) == 8
    for unique, content in ((4, stored.plains[3][10:510]), (6, stored.plains[7])):
        assert ends[0].recv(10_000) == struct.pack("<IiQ", 16 + len(content), 0, unique) + content


@pytest.mark.parametrize("opcode", [14, 16])
def test_other_requests_are_not_taken_for_reads(
    ends: tuple[socket.socket, socket.socket], stored: StoredFile, opcode: int
) -> None:
    ends[0].send(request(opcode, 4, 9, 3 * SECTOR, SECTOR))
    assert turn(ends, score(), stored.table(9)) == 4


def test_a_read_without_its_range_is_for_python(ends: tuple[socket.socket, socket.socket], stored: StoredFile) -> None:
    ends[0].send(request(READ, 4, 9, 3 * SECTOR, SECTOR)[:60])
    assert turn(ends, score(), stored.table(9)) == 4


def test_now_and_then_python_gets_a_read_because_signals_are_its_task(
    ends: tuple[socket.socket, socket.socket], stored: StoredFile
) -> None:
    words, table = score(), stored.table(9)
    words[3] = 1
    answers: list[bytes] = []
    receiver = threading.Thread(target=lambda: answers.extend(ends[0].recv(10_000) for _ in range(256)))
    receiver.start()
    sender = threading.Thread(
        target=lambda: [ends[0].send(request(READ, n, 9, (n * 7 % 40) * SECTOR, 100)) for n in range(1, 258)]
    )
    sender.start()
    assert turn(ends, words, table) == 257
    sender.join(10)
    receiver.join(10)
    assert len(answers) == table.served() == 256


def test_python_gets_the_read_at_which_a_thread_shall_begin_to_spin(
    ends: tuple[socket.socket, socket.socket], stored: StoredFile
) -> None:
    words = score()
    for spins, expected in ((0, 4), (1, 8)):
        words[2], words[3] = 41, spins
        ends[0].send(request(READ, 4, 9, 3 * SECTOR, SECTOR))
        ends[0].send(request(14, 8, 9, 0, 0))
        assert turn(ends, words, stored.table(9)) == expected


RELEASE, GETXATTR = 18, 22
NO_DATA = 61


def asking(unique: int, name: bytes) -> bytes:
    body = struct.pack("<II", 64, 0) + name
    return SIZES.pack(SIZES.size + len(body), GETXATTR, unique, 9, 0, 0, 0, 0, 0) + body


@pytest.mark.parametrize("table", [True, False])
def test_attributes_that_no_mount_has_are_answered_without_python(
    ends: tuple[socket.socket, socket.socket], stored: StoredFile, table: bool
) -> None:
    names = [b"security.capability\0", b"system.posix_acl_access\0", b"user_x\0\0", b"trusted\0"]
    for unique, name in enumerate(names):
        ends[0].send(asking(unique, name))
    ends[0].send(request(14, 99, 9, 0, 0))
    words = score()
    words[3] = 1
    assert turn(ends, words, stored.table(9) if table else None) == 99
    for unique in range(len(names)):
        assert ends[0].recv(1000) == struct.pack("<IiQ", 16, -NO_DATA, unique)


@pytest.mark.parametrize("name", [b"user.note\0", b"trusted.x\0", b"x\0", b"", b"user.\0\0\0"])
def test_attributes_that_a_mount_may_have_are_pythons(
    ends: tuple[socket.socket, socket.socket], stored: StoredFile, name: bytes
) -> None:
    ends[0].send(asking(5, name))
    assert turn(ends, score(), stored.table(9)) == 5


def test_a_release_says_nothing_where_the_kernel_opens_by_itself(
    ends: tuple[socket.socket, socket.socket], stored: StoredFile
) -> None:
    words = score()
    words[3] = 1
    ends[0].send(request(RELEASE, 4, 9, 0, 0))
    ends[0].send(request(14, 8, 9, 0, 0))
    assert turn(ends, words, stored.table(9)) == 8
    assert ends[0].recv(1000) == struct.pack("<IiQ", 16, 0, 4)
    ends[0].send(request(RELEASE, 6, 9, 0, 0))
    assert turn(ends, words, None) == 6
