"""The public suites, each run in a directory of a mount: pjdfstest, fsx, fio with verification, and stress-ng.

pjdfstest and fsx are built elsewhere and named by their place; nothing of them is part of this project.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fs_suite.mounts import SuiteError
from tests.fs_suite.tap import parse

#: fio's jobs, each with the checksum of every block verified after it was written. Small: what counts is the pattern.
FIO_JOBS = {
    "sequential, 1 MiB": ["--rw=write", "--bs=1m", "--size=128m"],
    "random, 4 KiB": ["--rw=randwrite", "--bs=4k", "--size=32m"],
    "random, 512 bytes to 64 KiB, unaligned": ["--rw=randrw", "--bsrange=512-64k", "--bs_unaligned", "--size=32m"],
    "random, 4 KiB, direct, 4 jobs": ["--rw=randwrite", "--bs=4k", "--size=8m", "--direct=1", "--numjobs=4"],
    "random, 4 KiB, fsync after every 16": ["--rw=randwrite", "--bs=4k", "--size=4m", "--fsync=16"],
    "random, 16 KiB, mapped": ["--rw=randwrite", "--bs=16k", "--size=32m", "--ioengine=mmap"],
}

#: Those of stress-ng's stressors that act on any file system: none of one's own controls, or of /proc.
# fmt: off
STRESSORS = (
    "access", "chdir", "chmod", "chown", "copy-file", "dentry", "dir", "dirdeep", "dirmany", "fallocate", "fcntl",
    "filename", "flock", "fpunch", "fsize", "fstat", "getdent", "hdd", "iomix", "lease", "link", "locka", "lockf",
    "lockofd", "mknod", "open", "rename", "symlink", "sync-file", "touch", "utime", "xattr",
)
# fmt: on
STRESS_SECONDS = 5  #: each
STRESS_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row of the report."""

    mode: str
    suite: str
    part: str
    seconds: float
    passed: str  #: what held, in words or as a count
    failed: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()  #: failures that the suite's authors expect on Linux


def pjdfstest(suite: Path, mode: str, mount: Path, logs: Path, only: str | None) -> Iterator[Outcome]:
    """Every directory of the suite's tests, by `prove`."""
    if not (suite / "pjdfstest").exists():
        raise SuiteError(f"{suite} holds no built pjdfstest; build it there: autoreconf -ifs && ./configure && make")
    for tests in sorted(path for path in (suite / "tests").iterdir() if path.is_dir()):
        if only is not None and tests.name not in only.split(","):
            continue
        place = mount / f"pjdfstest-{tests.name}"
        place.mkdir()
        place.chmod(0o755)
        text, _status, seconds = _run(["prove", "-r", "-v", "--merge", str(tests)], place)
        _log(logs, f"{mode}-pjdfstest-{tests.name}", text)
        points = parse(text)
        yield Outcome(
            mode=mode,
            suite="pjdfstest",
            part=tests.name,
            seconds=seconds,
            passed=f"{points.passed} of {points.passed + len(points.failed) + len(points.expected)}"
            f" in {points.scripts - points.left_out} scripts ({points.left_out} left out)",
            failed=points.failed,
            expected=points.expected,
        )


def fsx(program: Path, mode: str, mount: Path, logs: Path, operations: int, seed: int) -> Outcome:
    """Random operations on one file, each compared with a copy in memory."""
    command = [str(program), "-q", "-N", str(operations), "-S", str(seed), "-P", str(logs), str(mount / "fsx")]
    text, status, seconds = _run(command, mount)
    _log(logs, f"{mode}-fsx", text)
    whole = status == 0 and f"All {operations} operations completed" in text
    return Outcome(
        mode=mode,
        suite="fsx",
        part=f"seed {seed}",
        seconds=seconds,
        passed=f"{operations} operations" if whole else "",
        failed=() if whole else (text.strip().splitlines()[0] if text.strip() else f"exit status {status}",),
    )


def fio(mode: str, mount: Path, logs: Path) -> Iterator[Outcome]:
    """Blocks with checksums, written in several patterns and read back."""
    for number, (part, words) in enumerate(FIO_JOBS.items()):
        place = mount / f"fio{number}"
        place.mkdir()
        always = ["--name=verify", f"--directory={place}", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"]
        text, status, seconds = _run(["fio", *always, *words], place)
        _log(logs, f"{mode}-fio-{number}", text)
        held = status == 0 and "err= 0" in text
        yield Outcome(
            mode=mode,
            suite="fio",
            part=part,
            seconds=seconds,
            passed="verified" if held else "",
            failed=() if held else tuple(line for line in text.splitlines() if "verify" in line or "err=" in line)[:3],
        )


def stress(mode: str, mount: Path, logs: Path) -> Iterator[Outcome]:
    """Each call in a loop by several processes, what it left checked where the stressor knows how."""
    for stressor in STRESSORS:
        place = mount / f"stress-{stressor}"
        place.mkdir()
        command = ["stress-ng", f"--{stressor}", str(STRESS_WORKERS), "--timeout", str(STRESS_SECONDS)]
        text, status, seconds = _run([*command, "--verify", "--metrics", "--temp-path", str(place)], place)
        _log(logs, f"{mode}-stress-{stressor}", text)
        failed = tuple(line for line in text.splitlines() if " fail: " in line or " error: " in line)[:3]
        if status and not failed:
            failed = (f"exit status {status}",)
        yield Outcome(
            mode=mode,
            suite="stress-ng",
            part=stressor,
            seconds=seconds,
            passed="" if failed else f"{_operations(text, stressor)} operations",
            failed=failed,
        )


def _operations(text: str, stressor: str) -> int:
    """From the line of the metrics: `stress-ng: metrc: [PID] NAME OPERATIONS SECONDS …`."""
    words = (line.split() for line in text.splitlines())
    return next((int(each[4]) for each in words if len(each) > 4 and each[3] == stressor and each[4].isdigit()), 0)


def _run(command: list[str], place: Path) -> tuple[str, int, float]:
    """Output, exit status and duration."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError as error:
        raise SuiteError(f"{command[0]} is not there") from error
    return done.stdout.decode(errors="replace"), done.returncode, time.monotonic() - start


def _log(logs: Path, name: str, text: str) -> None:
    (logs / f"{name}.log").write_text(text)
