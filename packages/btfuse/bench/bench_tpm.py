"""A mount whose identity is in a TPM against one whose keys are in a file, and what the chip itself takes.

Both mounts are alone, in memory, made by `bt init`; the chip is `swtpm`. Without swtpm or the extra `btlib[tpm]` there
are no results. Real chips are ten times slower; the mounts do not ask them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from btlib.home import Home
from btlib.identity import Identity
from btlib.labels import Label
from btlib.testing.swtpm import SoftwareTpm

from tests.bench.harness import Measurement, Result, compare, timed

NAME = "tpm"

PASSPHRASE = "protects nothing"
CONTENT = b"x" * 4096
SYNCED, PLAIN = 100, 300  #: files of one measurement


def run(rounds: int) -> list[Result]:
    try:
        import tpm2_pytss  # noqa: F401
    except ImportError:
        return []
    if not SoftwareTpm.available():
        return []
    with ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_memory())))
        tpm = stack.enter_context(SoftwareTpm(top / "tpm"))
        homes = {"file": (top / "file", []), "tpm": (top / "chip", ["--tcti", tpm.tcti])}
        for home, options in homes.values():
            _bt(home, "init", "home", "--no-input", *options)
        in_chip, in_file = (_unlocked(homes[name][0]) for name in ("tpm", "file"))
        results = _chip(in_chip, in_file, rounds)
        mounts = {name: stack.enter_context(_mounted(home)) for name, (home, _) in homes.items()}
        return [*results, *_mounts(mounts, rounds)]


def _mounts(mounts: dict[str, Path], rounds: int) -> list[Result]:
    results: list[Result] = []
    for name, measure in {"create 4 KiB and fsync": _synced, "create 4 KiB": _plain}.items():
        ours, theirs = measure(mounts["tpm"]), measure(mounts["file"])
        results += compare(f"mount: {name}", "files/s", ours, {"keys in a file": theirs}, rounds, better="higher")
    return results


def _chip(chip: Identity, file: Identity, rounds: int) -> list[Result]:
    """One use of a key. The chip's are conversations of their own: connect, load, use, flush."""
    results: list[Result] = []
    operations: dict[str, Callable[[Identity], Callable[[], object]]] = {
        "sign": lambda who: lambda: who.signer.sign(Label.COMMIT, b"message"),
        "open": _opening,
    }
    for name, operation in operations.items():
        ours, theirs = timed(operation(chip), scale=1e3), timed(operation(file), scale=1e3)
        results += compare(f"{name}", "ms", ours, {"keys in a file": theirs}, rounds)
    return results


def _opening(who: Identity) -> Callable[[], object]:
    sealed = who.public.seal(Label.READCAP, b"", b"a block key")
    return lambda: who.opener.open(Label.READCAP, b"", sealed)


def _synced(mount: Path) -> Measurement:
    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(SYNCED):
            with (mount / os.urandom(8).hex()).open("wb") as file:
                file.write(CONTENT)
                file.flush()
                os.fsync(file.fileno())
        return SYNCED / (time.perf_counter() - begin)

    return measure


def _plain(mount: Path) -> Measurement:
    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(PLAIN):
            (mount / os.urandom(8).hex()).write_bytes(CONTENT)
        return PLAIN / (time.perf_counter() - begin)

    return measure


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "BLOCKTREE_HOME": str(home), "BLOCKTREE_PASSPHRASE": PASSPHRASE}


def _bt(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "blocktree", *words]
    subprocess.run(command, env=_environment(home), check=True, stdout=subprocess.DEVNULL)


def _unlocked(home: Path) -> Identity:
    return Home.find(_environment(home)).domain("home").credentials.unlock(PASSPHRASE)


@contextmanager
def _mounted(home: Path) -> Iterator[Path]:
    mountpoint = home.with_suffix(".mount")
    mountpoint.mkdir()
    program = [sys.executable, "-m", "btfuse"]
    words = [*program, "-f", "home:/", str(mountpoint)]
    with subprocess.Popen(words, env=_environment(home), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "is mounted" in process.stderr.readline()
            yield mountpoint
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                subprocess.run([*program, "-u", str(mountpoint)], env=_environment(home), check=True)
            process.wait()
