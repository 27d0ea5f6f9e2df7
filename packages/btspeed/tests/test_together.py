"""Large batches, which two threads share where there is a second processor: nothing but the time tells."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import btspeed
import pytest
from btlib.block import NONCE_SIZE, SectorCipher, leaf_hash
from btlib.labels import Label
from hypothesis import given, settings
from hypothesis import strategies as st

KEY, BLOCK = bytes(range(32)), bytes(range(16))
CIPHER = SectorCipher(KEY, BLOCK, 7)
BOUND = Label.SECTOR.value + BLOCK + (7).to_bytes(4, "little")
LEAF = Label.LEAF.value
SIZE = 4096
BATCH, FROM = 32, 128  #: sectors that are worked on as one, and from how many on there are two threads
COUNTS = (FROM - 1, FROM, FROM + 1, 1000)
MANY = 1000


@pytest.fixture(autouse=True, params=["all processors", "one processor"])
def processors(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    if request.param == "one processor":
        os.sched_setaffinity(0, {min(before)})
    elif len(before) < 2:
        pytest.skip("there is one processor only")
    yield
    os.sched_setaffinity(0, before)


class Sealed:
    """Sectors by the reference."""

    def __init__(self, count: int, size: int = SIZE) -> None:
        self.indexes = list(range(9, 9 + count))
        self.plains = [index.to_bytes(4, "little") * (size // 4) for index in self.indexes]
        self.nonces = os.urandom(NONCE_SIZE * count)
        cut = [self.nonces[at : at + NONCE_SIZE] for at in range(0, len(self.nonces), NONCE_SIZE)]
        self.stored = list(map(CIPHER.seal, self.indexes, self.plains, cut))
        self.hashes = list(map(leaf_hash, self.indexes, self.stored))

    def open(self, stored: list[bytes] | None = None, hashes: list[bytes] | None = None) -> list[bytes] | None:
        return btspeed.open_sectors(KEY, BOUND, LEAF, self.indexes, stored or self.stored, hashes or self.hashes, SIZE)

    def seal(self) -> tuple[list[bytes], list[bytes]]:
        return btspeed.seal_sectors(KEY, BOUND, LEAF, self.indexes, self.plains, self.nonces)


@pytest.fixture(scope="module")
def many() -> Sealed:
    return Sealed(MANY)


@pytest.mark.parametrize("size", [16, SIZE])  # the small ones are not worth letting the interpreter go
@pytest.mark.parametrize("count", COUNTS)
def test_it_seals_and_opens_what_the_reference_does(count: int, size: int) -> None:
    sealed = Sealed(count, size)
    assert sealed.seal() == (sealed.stored, sealed.hashes)
    assert sealed.open() == sealed.plains
    joined = btspeed.open_joined(KEY, BOUND, LEAF, sealed.indexes, sealed.stored, sealed.hashes, SIZE)
    assert joined == b"".join(plain.ljust(SIZE, b"\0") for plain in sealed.plains)


@given(
    victims=st.sets(
        st.integers(0, MANY - 1) | st.sampled_from((0, BATCH - 1, BATCH, MANY - 1)), min_size=1, max_size=3
    ),
    place=st.integers(0, SIZE),
    rehashed=st.booleans(),
)
@settings(max_examples=60)
def test_a_wrong_sector_in_any_place_gives_nothing(many: Sealed, victims: set[int], place: int, rehashed: bool) -> None:
    stored, hashes = list(many.stored), list(many.hashes)
    for victim in victims:
        wrong = bytearray(stored[victim])
        wrong[place] ^= 1
        stored[victim] = bytes(wrong)
        if rehashed:  # it fails at its seal
            hashes[victim] = leaf_hash(many.indexes[victim], wrong)
    assert many.open(stored, hashes) is None
    assert btspeed.open_joined(KEY, BOUND, LEAF, many.indexes, stored, hashes, SIZE) is None


def test_several_threads_at_once_each_get_their_own(many: Sealed) -> None:
    others = [Sealed(count) for count in (*COUNTS, 300)]
    wrong: list[str] = []

    def work(sealed: Sealed) -> None:
        broken = [*sealed.stored[:-1], sealed.stored[0]]
        for _ in range(15):
            if sealed.open() != sealed.plains:
                wrong.append("opened")
            if sealed.seal() != (sealed.stored, sealed.hashes):
                wrong.append("sealed")
            if sealed.open(broken) is not None:
                wrong.append("refused")

    threads = [threading.Thread(target=work, args=(sealed,)) for sealed in (many, *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_thread_is_left_behind(many: Sealed) -> None:
    before = len([*Path("/proc/self/task").iterdir()])
    for _ in range(20):
        many.open()
        many.seal()
    assert len([*Path("/proc/self/task").iterdir()]) <= before + 1, "the last may still stand there for a moment"


def test_signals_go_to_the_interpreter_and_not_to_the_second_thread(many: Sealed) -> None:
    seen: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(100):
            assert many.open() == many.plains
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert seen


def test_a_batch_that_lacks_a_key_raises_as_a_small_one_does(many: Sealed) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        btspeed.open_sectors(KEY[:-1], BOUND, LEAF, many.indexes, many.stored, many.hashes, SIZE)
