"""Spinning while somebody counts: it ends by itself, and holds nobody up."""

from __future__ import annotations

import threading

import btspeed
import pytest


def beat() -> memoryview:
    return memoryview(bytearray(16)).cast("Q")


def test_it_ends_when_the_count_stands_still() -> None:
    btspeed.spin_while_counting(beat(), 1000)


def test_it_goes_on_while_others_count_and_ends_when_told() -> None:
    words = beat()
    thread = threading.Thread(target=btspeed.spin_while_counting, args=(words, 10**12))
    thread.start()
    for _ in range(1000):  # the interpreter lock is free meanwhile
        words[0] += 1
    assert thread.is_alive()
    words[1] = 1
    thread.join(10)
    assert not thread.is_alive()


def test_it_does_not_begin_where_the_end_is_told_already() -> None:
    words = beat()
    words[1] = 1
    btspeed.spin_while_counting(words, 10**12)


@pytest.mark.parametrize("buffer", [bytearray(15), bytearray(17), memoryview(bytearray(32))[1:17]])
def test_a_beat_is_two_words(buffer: bytearray | memoryview) -> None:
    with pytest.raises(ValueError, match="two aligned words"):
        btspeed.spin_while_counting(buffer, 1)


def test_a_beat_can_be_written() -> None:
    with pytest.raises((TypeError, BufferError)):
        btspeed.spin_while_counting(memoryview(bytes(16)), 1)
