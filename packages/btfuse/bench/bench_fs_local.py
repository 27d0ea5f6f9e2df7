"""`fs-local`: btfuse alone against other encrypting file systems, job by job, interleaved.

    python -m tests.bench --only fs-local

Every contender keeps its bytes in a folder of its own below BENCH_FS_DIR (default `/dev/shm`, so that no disk is
measured) and stays mounted for the whole run. A *job* is a sequence of steps that each gives figures; in every round
each contender does the job once, in turn, so that a busy moment of the machine hurts all alike. A *cold* step begins
with the kernel's caches dropped. BENCH_FS_JOBS (comma-separated) restricts to some jobs.

Needs root, /dev/fuse, fio, git and tar; peers that are not installed are left out with a word on standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from btfproto.opening import make_domain
from btlib.credentials import Credentials, FileCredentialStore
from btlib.home import DomainSettings, Home
from btlib.testing import QUICK_COST

from tests.bench.harness import Result, spread

NAME = "fs-local"
#: More rounds take an hour and say the same.
MAX_ROUNDS = 5
FILE_MIB = 256  #: beyond the caches inside the daemons, so that a read decrypts
RANDOM_SECONDS = 2
SMALL_FILES = 1000
SMALL_SIZE = 4096
MOUNT_SECONDS = 30.0
#: A small text file of the standard library, and everything else that is text there; no caches, no binaries.
TEXT_SUFFIXES = {".py", ".txt", ".rst", ".cfg", ".toml", ".pem"}

Figures = dict[str, float]
Job = Callable[[Path, "Material"], Figures]
#: What a figure counts, and whether more of it is better.
_HIGHER, _LOWER = True, False


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the jobs work with, on no encrypted file system."""

    archive: Path
    repository: Path


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


def run(rounds: int) -> list[Result]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        print("fs-local needs root and /dev/fuse: left out", file=sys.stderr)
        return []
    place = os.environ.get("BENCH_FS_DIR", "/dev/shm")
    wanted = [job for job in os.environ.get("BENCH_FS_JOBS", "").split(",") if job] or list(JOBS)
    with tempfile.TemporaryDirectory(prefix="fs-local-", dir=place) as text, contextlib.ExitStack() as stack:
        directory = Path(text)
        material = _make_material(directory / "material")
        contenders = [stack.enter_context(_mounted(name, directory / name)) for name in _available()]
        for job in wanted:
            _compete(job, contenders, material, min(rounds, MAX_ROUNDS))
        for contender in contenders:
            contender.figures["memory, at the most"] = [contender.peak_mib()]
        return _results(contenders)


def _compete(job: str, contenders: Sequence[Contender], material: Material, rounds: int) -> None:
    for number in range(rounds):
        for contender in contenders:
            print(f"fs-local {job} {number + 1}/{rounds} {contender.name}", file=sys.stderr, flush=True)
            for name, figure in JOBS[job](contender.mountpoint, material).items():
                contender.figures.setdefault(name, []).append(figure)


def _results(contenders: Sequence[Contender]) -> list[Result]:
    ours, *peers = contenders
    return [
        _result(name, ours.figures[name], peer.name, peer.figures[name])
        for name in UNITS
        if name in ours.figures
        for peer in peers
    ]


def _result(name: str, ours: list[float], peer: str, theirs: list[float]) -> Result:
    unit, higher = UNITS[name]
    mine, other = statistics.median(ours), statistics.median(theirs)
    above, below = (mine, other) if higher else (other, mine)
    return Result(
        name=f"{NAME} {name}",
        peer=peer,
        ours=mine,
        theirs=other,
        unit=unit,
        ratio=above / below if below else float("inf"),
        spread=max(spread(ours), spread(theirs)),
    )


# The contenders.


def _available() -> list[str]:
    absent = [name for name in _COMMANDS if name != "btfuse" and shutil.which(name) is None]
    if absent:
        print(f"fs-local: not installed, left out: {', '.join(absent)}", file=sys.stderr)
    return [name for name in _COMMANDS if name not in absent]


@contextlib.contextmanager
def _mounted(name: str, directory: Path) -> Iterator[Contender]:
    mountpoint, store = directory / "mnt", directory / "store"
    mountpoint.mkdir(parents=True)
    store.mkdir()
    command, environment, secret = _COMMANDS[name](store, mountpoint)
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(secret)
    process.stdin.close()
    try:
        _wait_for_mount(process, mountpoint, name)
        yield Contender(name=name, mountpoint=mountpoint, process=process)
    finally:
        subprocess.run(["umount", str(mountpoint)], check=False, stderr=subprocess.DEVNULL)
        try:
            process.wait(MOUNT_SECONDS)
        except subprocess.TimeoutExpired:
            subprocess.run(["umount", "-l", str(mountpoint)], check=False)
            process.kill()
            process.wait()


def _wait_for_mount(process: subprocess.Popen[bytes], mountpoint: Path, name: str) -> None:
    deadline = time.monotonic() + MOUNT_SECONDS
    while not mountpoint.is_mount():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{name} does not mount")
        time.sleep(0.05)


Command = tuple[list[str], dict[str, str], bytes]


def _btfuse(store: Path, mountpoint: Path) -> Command:
    root, machine = Credentials.generate(), Credentials.generate()
    home = store / "home"
    settings = DomainSettings(root=root.public.principal, host="bench", store=Path("store"))
    domain = Home.find({"BLOCKTREE_HOME": str(home)}).add("bench", settings)
    chain = make_domain(domain, root.identity(), machine.public, now=int(time.time()))
    FileCredentialStore(domain.credentials_file, QUICK_COST).save(machine.with_chains(chain), "secret")
    environment = {**os.environ, "BLOCKTREE_HOME": str(home), "BLOCKTREE_PASSPHRASE": "secret"}
    return [sys.executable, "-m", "btfuse", "-f", "bench:/", str(mountpoint)], environment, b""


def _gocryptfs(store: Path, mountpoint: Path) -> Command:
    secret = ["-extpass", "echo secret", "-q"]
    subprocess.run(["gocryptfs", "-init", "-scryptn", "10", *secret, str(store)], check=True, capture_output=True)
    return ["gocryptfs", "-fg", *secret, str(store), str(mountpoint)], dict(os.environ), b""


def _securefs(store: Path, mountpoint: Path) -> Command:
    subprocess.run(["securefs", "create", "--pass", "secret", str(store)], check=True, capture_output=True)
    return ["securefs", "mount", "--pass", "secret", str(store), str(mountpoint)], dict(os.environ), b""


def _encfs(store: Path, mountpoint: Path) -> Command:
    return ["encfs", "-f", "-S", "--standard", str(store), str(mountpoint)], dict(os.environ), b"secret\n"


_COMMANDS: dict[str, Callable[[Path, Path], Command]] = {
    "btfuse": _btfuse,
    "gocryptfs": _gocryptfs,
    "securefs": _securefs,
    "encfs": _encfs,
}


# The material.


def _make_material(directory: Path) -> Material:
    source = directory / "repository"
    source.mkdir(parents=True)
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(library.rglob("*")):
        parts = file.relative_to(library).parts
        if file.suffix in TEXT_SUFFIXES and file.is_file() and not {"site-packages", "__pycache__"} & set(parts):
            target = source.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    archive = directory / "library.tar"
    with tarfile.open(archive, "w") as writing:
        writing.add(source, "library")
    git = ["git", "-C", str(source), "-c", "user.name=b", "-c", "user.email=b@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "library"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return Material(archive=archive, repository=source)


# The jobs.


def _seconds(*command: str, cwd: Path | None = None) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def _fio(mountpoint: Path, *options: str) -> dict[str, float]:
    command = [
        "fio", "--name=job", f"--directory={mountpoint}", "--filename=fio", f"--size={FILE_MIB}M", "--ioengine=psync",
        "--group_reporting", "--output-format=json", *options,
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    side = job["read"] if job["read"]["io_bytes"] else job["write"]
    return {"rate": side["io_bytes"] / 1e6 / (job["job_runtime"] / 1000), "iops": side["iops"] / 1000}


def _stream(mountpoint: Path, _material: Material) -> Figures:
    (mountpoint / "fio").unlink(missing_ok=True)
    figures = {"sequential write 1 MiB": _fio(mountpoint, "--rw=write", "--bs=1M", "--end_fsync=1")["rate"]}
    for label, size in (("1 MiB", "1M"), ("128 KiB", "128k")):
        _drop_caches()
        figures[f"sequential read {label}"] = _fio(mountpoint, "--rw=read", f"--bs={size}")["rate"]
    return figures


def _random(mountpoint: Path, _material: Material) -> Figures:
    if not (mountpoint / "fio").exists():
        _fio(mountpoint, "--rw=write", "--bs=1M")
    _drop_caches()
    figures = {}
    for direction in ("read", "write"):
        for jobs in (1, 4):
            words = (f"--rw=rand{direction}", "--bs=4k", "--direct=1", f"--numjobs={jobs}")
            timed = ("--time_based", f"--runtime={RANDOM_SECONDS}")
            figures[f"random {direction} 4 KiB, {jobs} at once"] = _fio(mountpoint, *words, *timed)["iops"]
    return figures


def _small(mountpoint: Path, _material: Material) -> Figures:
    directory = mountpoint / "small"
    directory.mkdir()
    paths = [str(directory / f"file{number}") for number in range(SMALL_FILES)]
    figures = {
        "create": _rate(_create, paths),
        "stat": _rate(os.stat, paths),
        "open and read": _rate(_read, paths),
    }
    _drop_caches()
    figures["stat, cold"] = _rate(os.stat, paths)
    _drop_caches()
    figures["open and read, cold"] = _rate(_read, paths)
    figures["unlink"] = _rate(os.unlink, paths)
    directory.rmdir()
    return figures


def _rate(operation: Callable[[str], object], paths: Sequence[str]) -> float:
    """Thousands a second."""
    begun = time.perf_counter()
    for path in paths:
        operation(path)
    return len(paths) / (time.perf_counter() - begun) / 1000


def _create(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, b"x" * SMALL_SIZE)
    os.close(descriptor)


def _read(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.read(descriptor, 2 * SMALL_SIZE)
    os.close(descriptor)


def _tree(mountpoint: Path, material: Material) -> Figures:
    figures = {"tar x": _seconds("tar", "xf", str(material.archive), cwd=mountpoint)}
    _drop_caches()
    figures["find, cold"] = _seconds("find", "library", "-size", "+1", cwd=mountpoint)
    figures["grep -r"] = _seconds("grep", "-rc", "import", "library", cwd=mountpoint)
    figures["rm -rf"] = _seconds("rm", "-rf", "library", cwd=mountpoint)
    return figures


def _git(mountpoint: Path, material: Material) -> Figures:
    clone = mountpoint / "clone"
    figures = {"git clone": _seconds("git", "clone", "-q", "--no-local", str(material.repository), str(clone))}
    _drop_caches()
    figures["git status, cold"] = _seconds("git", "status", "--porcelain", cwd=clone)
    figures["git status"] = _seconds("git", "status", "--porcelain", cwd=clone)
    shutil.rmtree(clone)
    return figures


JOBS: dict[str, Job] = {"stream": _stream, "random": _random, "small": _small, "tree": _tree, "git": _git}

UNITS: dict[str, tuple[str, bool]] = {
    "sequential write 1 MiB": ("MB/s", _HIGHER),
    "sequential read 1 MiB": ("MB/s", _HIGHER),
    "sequential read 128 KiB": ("MB/s", _HIGHER),
    "random read 4 KiB, 1 at once": ("k/s", _HIGHER),
    "random read 4 KiB, 4 at once": ("k/s", _HIGHER),
    "random write 4 KiB, 1 at once": ("k/s", _HIGHER),
    "random write 4 KiB, 4 at once": ("k/s", _HIGHER),
    "create": ("k/s", _HIGHER),
    "stat": ("k/s", _HIGHER),
    "stat, cold": ("k/s", _HIGHER),
    "open and read": ("k/s", _HIGHER),
    "open and read, cold": ("k/s", _HIGHER),
    "unlink": ("k/s", _HIGHER),
    "tar x": ("s", _LOWER),
    "find, cold": ("s", _LOWER),
    "grep -r": ("s", _LOWER),
    "rm -rf": ("s", _LOWER),
    "git clone": ("s", _LOWER),
    "git status, cold": ("s", _LOWER),
    "git status": ("s", _LOWER),
    "memory, at the most": ("MiB", _LOWER),
}
