"""Random operations on one file, each compared with a copy in memory: what fsx does, by another program.

Reads and writes go through `read`/`write`, mappings and `copy_file_range`; the file grows, shrinks, gets holes and
zeros, is closed and opened again, and is made durable. Everything follows from the seed.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
from pathlib import Path

MAX_SIZE = 400_000  #: some sectors of every size that a file system may use
MAX_PIECE = 70_000

_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 1, 2, 16
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(descriptor, mode, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Exerciser:
    """One open file and what it must hold."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.wanted = bytearray()
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def close(self) -> None:
        os.close(self.descriptor)

    def run(self, operations: int) -> None:
        """Raises AssertionError with the operation after which the file was not as it must be."""
        acts = (
            self.write, self.write, self.append, self.map_write, self.truncate, self.allocate, self.copy,
            self.punch, self.zero, self.zero_keeping, self.reopen, self.sync, self.read, self.map_read,
        )  # fmt: skip
        for number in range(operations):
            act = self.random.choice(acts)
            act()
            self.check(f"operation {number}, {act.__name__}")

    def check(self, what: str) -> None:
        size = os.fstat(self.descriptor).st_size
        assert size == len(self.wanted), f"{what}: {size} bytes instead of {len(self.wanted)}"
        offset, length = self.piece()
        found = os.pread(self.descriptor, length, offset)
        assert found == self.wanted[offset : offset + length], f"{what}: other bytes from {offset} on"

    def piece(self) -> tuple[int, int]:
        """Somewhere in the file, or a little behind its end."""
        offset = self.random.randrange(len(self.wanted) + 1000)
        return offset, self.random.choice((1, 511, 4096, self.random.randrange(1, MAX_PIECE)))

    def inside(self) -> tuple[int, int] | None:
        offset, length = self.piece()
        length = min(length, len(self.wanted) - offset)
        return (offset, length) if length > 0 else None

    def put(self, offset: int, data: bytes) -> None:
        if offset > len(self.wanted):
            self.wanted.extend(bytes(offset - len(self.wanted)))
        self.wanted[offset : offset + len(data)] = data

    def write(self) -> None:
        offset, length = self.piece()
        data = self.random.randbytes(min(length, MAX_SIZE - offset) if offset < MAX_SIZE else 0)
        if data:
            assert os.pwrite(self.descriptor, data, offset) == len(data)
            self.put(offset, data)

    def append(self) -> None:
        if len(self.wanted) < MAX_SIZE:
            data = self.random.randbytes(self.random.randrange(1, 5000))
            with self.path.open("ab", buffering=0) as file:
                assert file.write(data) == len(data)
            self.wanted += data

    def map_write(self) -> None:
        if piece := self.inside():
            data = self.random.randbytes(piece[1])
            with mmap.mmap(self.descriptor, len(self.wanted)) as mapping:
                mapping[piece[0] : sum(piece)] = data
            self.put(piece[0], data)

    def map_read(self) -> None:
        if piece := self.inside():
            with mmap.mmap(self.descriptor, len(self.wanted), prot=mmap.PROT_READ) as mapping:
                assert mapping[piece[0] : sum(piece)] == self.wanted[piece[0] : sum(piece)]

    def read(self) -> None:
        assert os.pread(self.descriptor, MAX_SIZE * 2, 0) == self.wanted

    def truncate(self) -> None:
        size = self.random.randrange(MAX_SIZE)
        os.ftruncate(self.descriptor, size)
        del self.wanted[size:]
        self.wanted.extend(bytes(size - len(self.wanted)))

    def punch(self) -> None:
        self._zero(_PUNCH_HOLE | _KEEP_SIZE)

    def zero_keeping(self) -> None:
        self._zero(_ZERO_RANGE | _KEEP_SIZE)

    def zero(self) -> None:
        offset, length = self.piece()
        fallocate(self.descriptor, _ZERO_RANGE, offset, length)
        self.put(offset, bytes(length))

    def _zero(self, mode: int) -> None:
        offset, length = self.piece()
        fallocate(self.descriptor, mode, offset, length)
        length = min(length, len(self.wanted) - offset)
        if length > 0:
            self.put(offset, bytes(length))

    def allocate(self) -> None:
        offset, length = self.piece()
        fallocate(self.descriptor, 0, offset, length)
        self.wanted.extend(bytes(max(offset + length - len(self.wanted), 0)))

    def copy(self) -> None:
        piece = self.inside()
        target = self.random.randrange(len(self.wanted) + 1000)
        if piece is None or (target < sum(piece) and piece[0] < target + piece[1]):
            return  # overlapping ranges are refused
        count = os.copy_file_range(self.descriptor, self.descriptor, piece[1], piece[0], target)
        self.put(target, bytes(self.wanted[piece[0] : piece[0] + count]))

    def reopen(self) -> None:
        os.close(self.descriptor)
        self.descriptor = os.open(self.path, os.O_RDWR)

    def sync(self) -> None:
        os.fsync(self.descriptor)
