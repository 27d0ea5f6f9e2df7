"""`fs-local`: btfuse alone against other encrypting file systems, job by job, interleaved.

    python -m tests.bench --only fs-local

Every contender keeps its bytes in a folder of its own below BENCH_FS_DIR (default `/dev/shm`, so that no disk is
measured) and stays mounted for the whole run. BENCH_FS_JOBS (comma-separated) restricts to some jobs.

Needs root, /dev/fuse, fio, git and tar; peers that are not installed are left out with a word on standard error.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.fs_contenders import (
    MEMORY,
    Command,
    btfuse,
    compete,
    gocryptfs,
    installed,
    made_domain,
    mounted,
    place,
    results,
    unfit,
    wanted_jobs,
)
from tests.bench.fs_jobs import make_material
from tests.bench.harness import Result

NAME = "fs-local"


def run(rounds: int) -> list[Result]:
    if unfit(NAME):
        return []
    with tempfile.TemporaryDirectory(prefix="fs-local-", dir=place()) as text, contextlib.ExitStack() as stack:
        directory = Path(text)
        material = make_material(directory / "material")
        contenders = []
        for name in installed(NAME, _PROGRAMS):
            store, mountpoint = directory / name / "store", directory / name / "mnt"
            store.mkdir(parents=True)
            contenders.append(stack.enter_context(mounted(name, _COMMANDS[name](store, mountpoint), mountpoint)))
        for job in wanted_jobs():
            compete(NAME, job, contenders, material, rounds)
        for contender in contenders:
            contender.figures[MEMORY] = [contender.peak_mib()]
        return results(NAME, contenders)


def _btfuse(store: Path, mountpoint: Path) -> Command:
    return btfuse(made_domain(store), mountpoint)


def _securefs(store: Path, mountpoint: Path) -> Command:
    subprocess.run(["securefs", "create", "--pass", "secret", str(store)], check=True, capture_output=True)
    return ["securefs", "mount", "--pass", "secret", str(store), str(mountpoint)], dict(os.environ), b""


def _encfs(store: Path, mountpoint: Path) -> Command:
    return ["encfs", "-f", "-S", "--standard", str(store), str(mountpoint)], dict(os.environ), b"secret\n"


_COMMANDS: dict[str, Callable[[Path, Path], Command]] = {
    "btfuse": _btfuse,
    "gocryptfs": gocryptfs,
    "securefs": _securefs,
    "encfs": _encfs,
}
_PROGRAMS = {name: sys.executable if name == "btfuse" else name for name in _COMMANDS}
