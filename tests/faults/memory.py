"""The memory of btfuse under load: bounded, whatever is written and how much of it.

    bound = what it takes before the load + dirty data (1.5 × DIRTY_LIMIT) + read cache (CACHE_BYTES) + OVERHEAD

`DIRTY_LIMIT` and `CACHE_BYTES` are those of `FsOptions`. OVERHEAD is what they do not count: decoded nodes of Merkle
trees and directories, inodes, the pages of SQLite, one request and its sealed copy, and what the allocator keeps.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

from btfproto.localfs.options import CACHE_BYTES, DIRTY_LIMIT

from tests.faults.operations import content
from tests.faults.rig import Rig, require

MIB = 1 << 20
OVERHEAD = 160 * MIB  #: measured: up to 131 MiB after 3 GiB dense and 100,000 sparse pieces
PIECE = 4096
DENSE_PIECE = MIB


@dataclass
class Peak:
    """The most memory that a process had resident, in bytes."""

    process: int

    def read(self) -> int:
        for line in Path(f"/proc/{self.process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise OSError(errno.ESRCH, f"process {self.process} has ended")


def bound(before: int) -> int:
    return before + DIRTY_LIMIT * 3 // 2 + CACHE_BYTES + OVERHEAD


def stay_within(rig: Rig, *, span: int, sparse: int, dense: int) -> str:
    """Write `sparse` pieces over `span` bytes at random, `dense` bytes in a row, and read some of both back."""
    rig.start_mount()
    assert rig.mount is not None
    peak = Peak(rig.mount.pid)
    before = peak.read()
    write_sparse(rig.place / "sparse", span, sparse)
    after_sparse = peak.read()
    write_dense(rig.place / "dense", dense)
    peaks = f"{before // MIB} MiB before, {after_sparse // MIB} after sparse, {peak.read() // MIB} after dense writes"
    require(peak.read() <= bound(before), f"btfuse stays within {bound(before) // MIB} MiB: {peaks}")
    rig.unmount()
    return f"{peaks}; bound {bound(before) // MIB}"


def write_sparse(path: Path, span: int, pieces: int) -> None:
    random = Random(pieces)
    offsets = [random.randrange(span // PIECE) * PIECE for _ in range(pieces)]
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        for number, offset in enumerate(offsets):
            os.pwrite(descriptor, content(number, PIECE), offset)
        os.fsync(descriptor)
        last = {offset: number for number, offset in enumerate(offsets)}
        for offset in offsets[:: max(pieces // 1000, 1)]:
            require(os.pread(descriptor, PIECE, offset) == content(last[offset], PIECE), f"byte {offset} is right")
    finally:
        os.close(descriptor)


def write_dense(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        for number in range(size // DENSE_PIECE):
            os.pwrite(descriptor, content(number, DENSE_PIECE), number * DENSE_PIECE)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for number in range(size // DENSE_PIECE):
            found = os.pread(descriptor, DENSE_PIECE, number * DENSE_PIECE)
            require(found == content(number, DENSE_PIECE), f"mebibyte {number} is right")
    finally:
        os.close(descriptor)
