"""File systems that compete: each a mounted process with its figures; who goes when; what the figures come to.

In every round each contender does the job once, in turn, so that a busy moment of the machine hurts all alike.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from btfproto.opening import make_domain
from btlib.credentials import Credentials, FileCredentialStore
from btlib.home import DomainSettings, Home
from btlib.testing import QUICK_COST

from tests.bench.fs_jobs import JOBS, UNITS, Material
from tests.bench.harness import Result, spread

#: More rounds take an hour and say the same.
MAX_ROUNDS = 5
MOUNT_SECONDS = 30.0
MEMORY = "memory, at the most"

#: Its words, its environment, and what it reads from standard input.
Command = tuple[list[str], dict[str, str], bytes]


@dataclass(kw_only=True)
class Contender:
    name: str
    mountpoint: Path
    process: subprocess.Popen[bytes]
    figures: dict[str, list[float]] = field(default_factory=dict)

    def peak_mib(self) -> float:
        """The most memory that its process had resident; before it is unmounted."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0


def unfit(benchmark: str) -> bool:
    """Whether nothing can be mounted here; says so."""
    if os.geteuid() == 0 and Path("/dev/fuse").exists():
        return False
    print(f"{benchmark} needs root and /dev/fuse: left out", file=sys.stderr)
    return True


def place() -> Path:
    """Below which directory everything is kept: BENCH_FS_DIR, or in memory, so that no disk is measured."""
    return Path(os.environ.get("BENCH_FS_DIR", "/dev/shm"))


def wanted_jobs() -> list[str]:
    return [job for job in os.environ.get("BENCH_FS_JOBS", "").split(",") if job] or list(JOBS)


def installed(benchmark: str, programs: dict[str, str]) -> list[str]:
    """The contenders of `programs` (contender → the command that it needs) that are here; says which are not."""
    absent = [name for name, program in programs.items() if shutil.which(program) is None]
    if absent:
        print(f"{benchmark}: not installed, left out: {', '.join(absent)}", file=sys.stderr)
    return [name for name in programs if name not in absent]


def compete(benchmark: str, job: str, contenders: Sequence[Contender], material: Material, rounds: int) -> None:
    for number in range(min(rounds, MAX_ROUNDS)):
        for contender in contenders:
            print(f"{benchmark} {job} {number + 1}/{rounds} {contender.name}", file=sys.stderr, flush=True)
            for name, figure in JOBS[job](contender.mountpoint, material).items():
                contender.figures.setdefault(name, []).append(figure)


def results(benchmark: str, contenders: Sequence[Contender]) -> list[Result]:
    """The first contender's figures, compared with those of each other."""
    ours, *peers = contenders
    return [
        _result(f"{benchmark} {name}", UNITS[name], ours.figures[name], peer.name, peer.figures[name])
        for name in UNITS
        if name in ours.figures
        for peer in peers
    ]


def _result(name: str, counts: tuple[str, bool], ours: list[float], peer: str, theirs: list[float]) -> Result:
    unit, higher = counts
    mine, other = statistics.median(ours), statistics.median(theirs)
    above, below = (mine, other) if higher else (other, mine)
    return Result(
        name=name,
        peer=peer,
        ours=mine,
        theirs=other,
        unit=unit,
        ratio=above / below if below else float("inf"),
        spread=max(spread(ours), spread(theirs)),
    )


@contextlib.contextmanager
def mounted(name: str, command: Command, mountpoint: Path) -> Iterator[Contender]:
    """Start it, wait until it is mounted; at the end it is unmounted, and its process gone."""
    words, environment, secret = command
    mountpoint.mkdir(parents=True, exist_ok=True)
    with running(words, environment, secret) as process:
        try:
            _wait_for_mount(process, mountpoint, name)
            yield Contender(name=name, mountpoint=mountpoint, process=process)
        finally:
            subprocess.run(["umount", str(mountpoint)], check=False, stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(MOUNT_SECONDS)
            if process.poll() is None:
                subprocess.run(["umount", "-l", str(mountpoint)], check=False)


@contextlib.contextmanager
def running(words: list[str], environment: dict[str, str], secret: bytes = b"") -> Iterator[subprocess.Popen[bytes]]:
    """A process of our own, that is asked to end afterwards, and ended."""
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(secret)
    process.stdin.close()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(MOUNT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_mount(process: subprocess.Popen[bytes], mountpoint: Path, name: str) -> None:
    deadline = time.monotonic() + MOUNT_SECONDS
    while not mountpoint.is_mount():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{name} does not mount")
        time.sleep(0.05)


def made_domain(directory: Path) -> dict[str, str]:
    """Make the domain `bench` with its store in a directory; the environment in which our programs find it."""
    root, machine = Credentials.generate(), Credentials.generate()
    home = directory / "home"
    settings = DomainSettings(root=root.public.principal, host="bench", store=Path("store"))
    domain = Home.find({"BLOCKTREE_HOME": str(home)}).add("bench", settings)
    chain = make_domain(domain, root.identity(), machine.public, now=int(time.time()))
    FileCredentialStore(domain.credentials_file, QUICK_COST).save(machine.with_chains(chain), "secret")
    return {**os.environ, "BLOCKTREE_HOME": str(home), "BLOCKTREE_PASSPHRASE": "secret"}


def btfuse(environment: dict[str, str], mountpoint: Path, *options: str) -> Command:
    words = [word for option in options for word in ("-o", option)]
    return [sys.executable, "-m", "btfuse", "-f", *words, "bench:/", str(mountpoint)], environment, b""


def gocryptfs(store: Path, mountpoint: Path) -> Command:
    secret = ["-extpass", "echo secret", "-q"]
    subprocess.run(["gocryptfs", "-init", "-scryptn", "10", *secret, str(store)], check=True, capture_output=True)
    return ["gocryptfs", "-fg", *secret, str(store), str(mountpoint)], dict(os.environ), b""
