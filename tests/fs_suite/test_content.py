"""What a file holds after many operations: what fsx and fio check, on real mounts in every mode."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import threading
from pathlib import Path

import pytest

from tests.fs_suite.exerciser import Exerciser

pytestmark = pytest.mark.mount

OPERATIONS = 400
BLOCK = 4096


@pytest.mark.parametrize("seed", range(4))
def test_a_file_holds_what_random_operations_left_in_it(mount: Path, seed: int) -> None:
    with contextlib.closing(Exerciser(mount / "file", seed)) as exerciser:
        exerciser.run(OPERATIONS)
        exerciser.reopen()
        exerciser.read()


def block(file: int, number: int) -> bytes:
    """Content that tells where it belongs, so that a block in the wrong place is seen."""
    return hashlib.shake_128(f"{file} {number}".encode()).digest(BLOCK)


@pytest.mark.parametrize("direct", [False, True])
def test_blocks_written_in_any_order_by_several_are_read_back(mount: Path, direct: bool) -> None:
    count, writers = 200, 4

    def write(file: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | (os.O_DIRECT if direct else 0)
        descriptor = os.open(mount / str(file), flags)
        try:
            with mmap.mmap(-1, BLOCK) as aligned:
                for number in random.Random(file).sample(range(count), count):
                    aligned[:] = block(file, number)
                    assert os.pwrite(descriptor, aligned, number * BLOCK) == BLOCK
                    if number % 50 == 0:
                        os.fsync(descriptor)
        finally:
            os.close(descriptor)

    threads = [threading.Thread(target=write, args=(file,)) for file in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in range(writers):
        found = (mount / str(file)).read_bytes()
        assert [found[n * BLOCK : (n + 1) * BLOCK] == block(file, n) for n in range(count)] == [True] * count
