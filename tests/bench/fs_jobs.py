"""What file systems are measured by: jobs, each a sequence of steps that give figures.

A job works below the mount point that it is given, and leaves nothing there that its next run would stumble over. A
*cold* step begins with the kernel's caches dropped, those of the machine's own file systems too. Needs root, fio, git
and tar.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE_MIB = 256  #: beyond the caches inside the daemons, so that a read decrypts
RANDOM_SECONDS = 2
SMALL_FILES = 1000
SMALL_SIZE = 4096
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


# The material.


def make_material(directory: Path) -> Material:
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


def drop_caches() -> None:
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
        drop_caches()
        figures[f"sequential read {label}"] = _fio(mountpoint, "--rw=read", f"--bs={size}")["rate"]
    return figures


def _random(mountpoint: Path, _material: Material) -> Figures:
    if not (mountpoint / "fio").exists():
        _fio(mountpoint, "--rw=write", "--bs=1M")
    drop_caches()
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
    drop_caches()
    figures["stat, cold"] = _rate(os.stat, paths)
    drop_caches()
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
    drop_caches()
    figures["find, cold"] = _seconds("find", "library", "-size", "+1", cwd=mountpoint)
    figures["grep -r"] = _seconds("grep", "-rc", "import", "library", cwd=mountpoint)
    figures["rm -rf"] = _seconds("rm", "-rf", "library", cwd=mountpoint)
    return figures


def _git(mountpoint: Path, material: Material) -> Figures:
    clone = mountpoint / "clone"
    figures = {"git clone": _seconds("git", "clone", "-q", "--no-local", str(material.repository), str(clone))}
    drop_caches()
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
