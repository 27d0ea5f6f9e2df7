"""`fs-growth`: whether what a mount alone does costs more where there is more of everything.

    python -m tests.bench --only fs-growth

Each line compares the largest (ours) with a smaller one (peer): `ours / theirs` is the growth factor, the ratio its
inverse. 1 is flat. Each figure includes making durable what it changed.

    create         a file of 4 KiB in a directory of 10, 10,000 and 1,000,000 entries
    write          4 KiB at a random place of a file of 1 MiB, 1 GiB and 1 TiB (a hole at first), made durable one by
                   one and five hundred at once
    mount          from the command until it answers, of a tree of 1,000, 100,000 and 1,000,000 files, after an end in
                   good order and after kill -9
    fsync          of the last of 1, 1,000 and 100,000 files that were just changed, each number in a mount of its own.
                   Memory is bounded, so most of many changes are committed before anybody asks
    snapshot       of a tree of 1,000, 100,000 and 1,000,000 files, in which nothing waits to be committed

BENCH_FS_LARGEST (default 1,000,000) leaves out the counts above it: filling a directory takes minutes. BENCH_FS_JOBS
(comma-separated) restricts to some lines. Needs root and /dev/fuse.
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.bench.fs_contenders import MAX_ROUNDS, btfuse, made_domain, mounted, place, unfit
from tests.bench.harness import Measurement, Result, compare

NAME = "fs-growth"
DEFAULT_LARGEST = 1_000_000
ENTRIES = (10, 10_000, 1_000_000)
FILES = (1_000, 100_000, 1_000_000)
DIRTY = (1, 1_000, 100_000)
SIZES = {"1 MiB": 2**20, "1 GiB": 2**30, "1 TiB": 2**40}
PIECE = 4096
CREATED = 300  #: files a figure: long against one commit
WRITTEN = 500  #: pieces a figure
SYNCED = 50  #: pieces a figure where each is made durable
SEED = 1


def run(rounds: int) -> list[Result]:
    if unfit(NAME):
        return []
    largest = int(os.environ.get("BENCH_FS_LARGEST", DEFAULT_LARGEST))
    wanted = [line for line in os.environ.get("BENCH_FS_JOBS", "").split(",") if line] or list(LINES)
    results = []
    for line in wanted:
        with tempfile.TemporaryDirectory(prefix="fs-growth-", dir=place()) as directory:
            results += LINES[line](Path(directory), largest, min(rounds, MAX_ROUNDS))
    return results


def _growth(what: str, unit: str, measurements: Mapping[str, Measurement], rounds: int) -> list[Result]:
    """The last against each that is smaller, in turn."""
    *smaller, greatest = measurements
    print(f"{NAME} {what}", file=sys.stderr, flush=True)
    name = f"{NAME} {what} at {greatest}"
    return compare(name, unit, measurements[greatest], {f"at {key}": measurements[key] for key in smaller}, rounds)


def _up_to(largest: int, counts: tuple[int, ...]) -> list[int]:
    return [count for count in counts if count <= largest]


# create


def _create(directory: Path, largest: int, rounds: int) -> list[Result]:
    mountpoint = directory / "mnt"
    with mounted("btfuse", btfuse(made_domain(directory), mountpoint), mountpoint):
        measurements = {}
        for count in _up_to(largest, ENTRIES):
            full = mountpoint / str(count)
            _fill(full, count)
            measurements[f"{count:,} entries"] = partial(_create_some, full)
        return _growth("create", "µs", measurements, rounds)


def _fill(directory: Path, count: int) -> None:
    """Empty files, made durable."""
    print(f"{NAME} {count} files", file=sys.stderr, flush=True)
    directory.mkdir()
    text = str(directory)
    for number in range(count):
        os.mknod(f"{text}/file{number}", stat.S_IFREG | 0o644)
    _sync(directory)


def _create_some(directory: Path) -> float:
    paths = [directory / f"new{number}" for number in range(CREATED)]
    begun = time.perf_counter()
    for path in paths:
        with path.open("xb", buffering=0) as file:
            file.write(bytes(PIECE))
    _sync(directory)
    taken = time.perf_counter() - begun
    for path in paths:
        path.unlink()
    _sync(directory)
    return taken / CREATED * 1e6


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# write


def _write(directory: Path, _largest: int, rounds: int) -> list[Result]:
    mountpoint = directory / "mnt"
    drawn = random.Random(SEED)
    with mounted("btfuse", btfuse(made_domain(directory), mountpoint), mountpoint):
        one_by_one, at_once = {}, {}
        for label, size in SIZES.items():
            path = mountpoint / label.replace(" ", "-")
            path.touch()
            os.truncate(path, size)
            one_by_one[label] = partial(_write_some, path, size, drawn, pieces=SYNCED, each=True)
            at_once[label] = partial(_write_some, path, size, drawn, pieces=WRITTEN, each=False)
        return [
            *_growth("write, each durable,", "µs", one_by_one, rounds),
            *_growth(f"write, {WRITTEN} durable at once,", "µs", at_once, rounds),
        ]


def _write_some(path: Path, size: int, drawn: random.Random, *, pieces: int, each: bool) -> float:
    places = [drawn.randrange(size // PIECE) * PIECE for _ in range(pieces)]
    data = os.urandom(PIECE)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        begun = time.perf_counter()
        for offset in places:
            os.pwrite(descriptor, data, offset)
            if each:
                os.fsync(descriptor)
        os.fsync(descriptor)
        return (time.perf_counter() - begun) / pieces * 1e6
    finally:
        os.close(descriptor)


# mount


def _mount(directory: Path, largest: int, rounds: int) -> list[Result]:
    ended, killed = {}, {}
    for count in _up_to(largest, FILES):
        own = directory / str(count)
        own.mkdir()
        environment, mountpoint = made_domain(own), own / "mnt"
        with mounted("btfuse", btfuse(environment, mountpoint), mountpoint):
            _fill(mountpoint / "full", count)
        label = f"{count:,} files"
        ended[label] = partial(_mount_once, environment, mountpoint)
        killed[label] = partial(_mount_after_kill, environment, mountpoint)
    return [*_growth("mount", "s", ended, rounds), *_growth("mount after kill -9", "s", killed, rounds)]


def _mount_once(environment: dict[str, str], mountpoint: Path) -> float:
    begun = time.perf_counter()
    with mounted("btfuse", btfuse(environment, mountpoint), mountpoint):
        with os.scandir(mountpoint / "full") as entries:
            next(entries)
        return time.perf_counter() - begun


def _mount_after_kill(environment: dict[str, str], mountpoint: Path) -> float:
    """The time until a mount answers where the last one ended in the middle of its work."""
    with contextlib.ExitStack() as stack:
        killed = stack.enter_context(mounted("btfuse", btfuse(environment, mountpoint), mountpoint))
        for number in range(CREATED):
            (mountpoint / f"before{number}").write_bytes(bytes(PIECE))
        _sync(mountpoint)
        killed.process.kill()
        killed.process.wait()
        subprocess.run(["umount", "-l", str(mountpoint)], check=True)
    return _mount_once(environment, mountpoint)


# fsync


def _fsync(directory: Path, largest: int, rounds: int) -> list[Result]:
    measurements = {}
    with contextlib.ExitStack() as stack:
        for count in _up_to(largest, DIRTY):
            own = directory / str(count)
            own.mkdir()
            mountpoint = own / "mnt"
            # Nothing is committed because time went by, and nothing of another number is dirty here.
            stack.enter_context(mounted("btfuse", btfuse(made_domain(own), mountpoint, "commit=3600"), mountpoint))
            _fill(mountpoint / "full", count)
            measurements[f"{count:,} dirty files"] = partial(_sync_among, mountpoint / "full", count)
        return _growth("fsync", "ms", measurements, rounds)


def _sync_among(directory: Path, count: int) -> float:
    """The file is changed last: it belongs to what is not committed, whatever was before."""
    now = time.time_ns()
    for number in reversed(range(count)):
        os.utime(f"{directory}/file{number}", ns=(now, now + number))
    begun = time.perf_counter()
    _sync(directory / "file0")
    return (time.perf_counter() - begun) * 1e3


# snapshot


def _snapshot(directory: Path, largest: int, rounds: int) -> list[Result]:
    measurements = {}
    with contextlib.ExitStack() as stack:
        for count in _up_to(largest, FILES):
            own = directory / str(count)
            own.mkdir()
            mountpoint = own / "mnt"
            stack.enter_context(mounted("btfuse", btfuse(made_domain(own), mountpoint), mountpoint))
            _fill(mountpoint / "full", count)
            measurements[f"{count:,} files"] = partial(_snapshot_once, mountpoint / ".snapshots" / "one")
        return _growth("snapshot", "ms", measurements, rounds)


def _snapshot_once(snapshot: Path) -> float:
    begun = time.perf_counter()
    snapshot.mkdir()
    taken = time.perf_counter() - begun
    snapshot.rmdir()
    return taken * 1e3


LINES: dict[str, Callable[[Path, int, int], list[Result]]] = {
    "create": _create,
    "write": _write,
    "mount": _mount,
    "fsync": _fsync,
    "snapshot": _snapshot,
}
