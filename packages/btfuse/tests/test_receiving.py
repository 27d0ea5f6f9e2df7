"""How a request is answered and the next awaited, over a socket pair that stands in for the device; by both twins."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from btfuse import _receiving
from btfuse._protocol import IN_HEADER, OUT_HEADER
from btfuse._receiving import _IN_VAIN, AWAKE_AFTER, Exchange

SIZE = 8192
Ends = tuple[socket.socket, socket.socket]
Make = Callable[..., Exchange]


@pytest.fixture
def ends() -> Iterator[Ends]:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        yield kernel, ours


@pytest.fixture(params=["python", "compiled"])
def make(request: pytest.FixtureRequest, ends: Ends) -> Make:
    if request.param == "compiled":
        pytest.importorskip("btspeed", exc_type=ImportError)

    def exchange(alert: bool = True) -> Exchange:
        return Exchange(ends[1].fileno(), SIZE, alert=alert, compiled=request.param == "compiled")

    return exchange


def head(unique: int, body: bytes = b"") -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), 15, unique, 2**63 + 5, 1000, 2**32 - 1, 7, 3, 9) + body


def test_requests_come_in_order_with_all_fields_of_their_head(make: Make, ends: Ends) -> None:
    ends[0].send(head(2**64 - 1, b"first"))
    ends[0].send(head(2, b"second"))
    exchange = make()
    assert exchange.turn(0, None) == IN_HEADER.unpack_from(head(2**64 - 1, b"first"))
    assert bytes(exchange.buffer[IN_HEADER.size :][:5]) == b"first"
    assert exchange.turn(0, None) == IN_HEADER.unpack_from(head(2, b"second"))
    assert bytes(exchange.buffer[IN_HEADER.size :][:6]) == b"second"


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 4080, b"x" * 4081, b"x" * 7000])
def test_an_answer_is_written_before_the_next_request_is_read(make: Make, ends: Ends, body: bytes) -> None:
    ends[0].send(head(8))
    assert make().turn(7, body) is not None
    assert ends[0].recv(SIZE) == OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, 7) + body


def test_without_an_answer_nothing_is_written(make: Make, ends: Ends) -> None:
    ends[0].send(head(8))
    make().turn(7, None)
    ends[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends[0].recv(SIZE)


def test_what_cannot_be_written_is_answered_with_the_reason(make: Make, ends: Ends) -> None:
    ends[0].send(head(8))
    ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    exchange = make()  # it no longer blocks: what is larger than the buffer fails
    assert exchange.turn(7, bytes(1 << 20)) is not None
    size, error, unique = OUT_HEADER.unpack(ends[0].recv(SIZE))
    assert (size, unique) == (OUT_HEADER.size, 7)
    assert error < 0


def test_what_comes_long_after_is_received_too(make: Make, ends: Ends) -> None:
    sender = threading.Timer(0.05, ends[0].send, [head(3)])
    exchange = make()
    sender.start()
    assert exchange.turn(0, None) == IN_HEADER.unpack_from(head(3))
    sender.join()


def looks_in_vain(exchange: Exchange, ends: Ends, before: int, nanoseconds: int) -> int:
    """In a row, after so many before and a request that comes in a moment and is looked for so long."""
    exchange._score[_IN_VAIN] = before
    sender = threading.Timer(0.1, ends[0].send, [head(3)])  # not before the turn waits, on a busy machine either
    sender.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_receiving, "ALERT_NANOSECONDS", nanoseconds)
        assert exchange.turn(0, None) is not None
    sender.join()
    return exchange._score[_IN_VAIN]


LONG, SHORT = 60 * 10**9, 1


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (4, 5), (15, 16), (16, 0), (17, 18), (32, 0)])
def test_after_some_looks_in_vain_one_looks_only_now_and_then(make: Make, ends: Ends, before: int, after: int) -> None:
    assert looks_in_vain(make(), ends, before, LONG) == after


@pytest.mark.parametrize("before", [0, 3, 4, 16])
def test_who_comes_too_late_was_looked_for_in_vain(make: Make, ends: Ends, before: int) -> None:
    assert looks_in_vain(make(), ends, before, SHORT) == before + 1


def test_a_descriptor_that_blocks_is_waited_for(make: Make, ends: Ends) -> None:
    sender = threading.Timer(0.01, ends[0].send, [head(3)])
    exchange = make(alert=False)
    sender.start()
    assert exchange.turn(0, None) == IN_HEADER.unpack_from(head(3))
    sender.join()


def test_the_end_gives_nothing(make: Make, ends: Ends) -> None:
    exchange = make()
    ends[0].close()
    assert exchange.turn(0, None) is None


def test_a_failing_descriptor_is_told(make: Make, ends: Ends) -> None:
    exchange = make()
    ends[1].close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        exchange.turn(0, None)


def ask_and_wait(exchange: Exchange, ends: Ends, count: int) -> None:
    """Requests each of which comes only after the answer to the one before."""
    kernel, ours = ends

    def ask() -> None:
        for _ in range(count):
            time.sleep(0.002)  # so that it is waited for, however busy the machine is
            kernel.send(head(1))
            kernel.recv(100)

    asker = threading.Thread(target=ask)
    asker.start()
    answer = None
    for _ in range(count):
        exchange.turn(1, answer)
        answer = b""
    ours.send(b"the last answer")
    asker.join()


class Spins:
    """Notes which thread begins to spin: one of another test may still be about to."""

    def __init__(self) -> None:
        self._begun = threading.Condition()
        self._owners: list[object] = []

    def note(self, beat: memoryview, _patience: int) -> None:
        with self._begun:
            self._owners.append(beat.obj)
            self._begun.notify_all()

    def of(self, exchange: Exchange, timeout: float) -> bool:
        owner = exchange._score.obj
        with self._begun:
            return self._begun.wait_for(lambda: owner in self._owners, timeout)


@pytest.fixture
def spins(monkeypatch: pytest.MonkeyPatch) -> Spins:
    pytest.importorskip("btspeed", exc_type=ImportError)
    spins = Spins()
    monkeypatch.setattr("btspeed.spin_while_counting", spins.note)
    return spins


def test_who_asks_and_waits_again_and_again_keeps_the_processors_awake(make: Make, ends: Ends, spins: Spins) -> None:
    exchange = make()
    ask_and_wait(exchange, ends, 2 * AWAKE_AFTER)
    assert spins.of(exchange, timeout=30)


def test_a_few_requests_keep_nobody_awake(make: Make, ends: Ends, spins: Spins) -> None:
    exchange = make()
    ask_and_wait(exchange, ends, AWAKE_AFTER // 2)
    assert not spins.of(exchange, timeout=0)


def test_requests_that_wait_themselves_keep_nobody_awake(make: Make, ends: Ends, spins: Spins) -> None:
    exchange = make()
    for _ in range(10 * AWAKE_AFTER):
        ends[0].send(head(1))
        exchange.turn(0, None)
    assert not spins.of(exchange, timeout=0)
