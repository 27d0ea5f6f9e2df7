"""The stage of the demo: homes, commands, mounts and servers, and the sweeping up after it.

Nothing here knows the project from inside: it runs the installed commands as a user would, and looks at exit codes
and output. Every process is remembered by its id and ended by it; every mount and directory is taken away again, also
after a failure and after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

COMMAND_SECONDS = 120.0  #: no single command of the demo takes a tenth of that
PATIENCE_SECONDS = 15.0  #: for a server to listen, a process to end
POLL_SECONDS = 0.02
PASSPHRASE = "correct horse battery staple"
PIECE = 1 << 20


class Untrue(Exception):
    """Something that the demo claims is not so."""


def check(condition: object, claim: str) -> None:
    """Go on only if it is true."""
    if not condition:
        raise Untrue(claim)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return once it is true; raise Untrue when it takes too long."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        check(time.monotonic() < end, f"{what} within {PATIENCE_SECONDS:g} seconds")
        time.sleep(POLL_SECONDS)


@dataclass
class Machine:
    """A home of its own: to Blocktree, another machine."""

    name: str
    home: Path
    environment: Mapping[str, str]

    def run(self, *words: str | Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in this home; its exit code has to be the expected one."""
        done = subprocess.run(
            [str(word) for word in words],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        said = (done.stderr or done.stdout).strip()
        check(done.returncode == expect, f"`{' '.join(map(str, words))}` exits {done.returncode}: {said}")
        return done

    def bt(self, *words: str | Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("bt", *words, expect=expect)


@dataclass
class Stage:
    """Everything the steps share."""

    top: Path
    machines: dict[str, Machine] = field(default_factory=dict)
    mounted: list[Path] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    files: int = 0
    size: int = 0
    port: int = 0
    facts: dict[str, str] = field(default_factory=dict)  #: what `bt init` said
    before: dict[str, str] = field(default_factory=dict)  #: digests of all that was copied in
    server: subprocess.Popen[bytes] = field(init=False)

    @property
    def root(self) -> str:
        return self.facts["root"]

    @property
    def store(self) -> Path:
        return Path(self.facts["store"])

    @property
    def source(self) -> Path:
        """The plain files that are copied in and compared with."""
        return self.top / "source"

    def place(self, name: str) -> Path:
        """Where a machine's mount is."""
        return self.top / "mounts" / name

    def machine(self, name: str) -> Machine:
        """The machine of this name, made when first asked for."""
        if name not in self.machines:
            home = self.top / "homes" / name
            environment = {**os.environ, "BLOCKTREE_HOME": str(home), "BLOCKTREE_PASSPHRASE": PASSPHRASE}
            # git and Python must not be told anything by the user's own configuration.
            environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PYTHONDONTWRITEBYTECODE": ""}
            environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
            self.machines[name] = Machine(name, home, environment)
        return self.machines[name]

    def mountpoint(self, name: str) -> Path:
        """The same, made if need be."""
        with contextlib.suppress(FileExistsError):  # exist_ok would look at it: a killed mount cannot be looked at
            self.place(name).mkdir(parents=True)
        return self.place(name)

    def mount(self, machine: Machine, source: str, *options: str) -> Path:
        """Mount in the background, as a user does; returns where."""
        place = self.mountpoint(machine.name)
        self.mounted.append(place)
        machine.bt("mount", *options, source, place)
        check(os.path.ismount(place), f"{place} is a mountpoint after `bt mount`")
        return place

    def unmount(self, machine: Machine) -> None:
        place = self.mountpoint(machine.name)
        machine.bt("umount", place)
        check(not os.path.ismount(place), f"{place} is free after `bt umount`")
        self.mounted.remove(place)

    def start(self, machine: Machine, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start a daemon, with its messages in a file."""
        log = self.top / f"{Path(words[0]).name}.log"
        with log.open("ab") as messages:
            process = subprocess.Popen(
                [str(word) for word in words], env=dict(machine.environment), stdout=messages, stderr=messages
            )
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        """Signal a daemon that was started here, and wait for its end."""
        process.send_signal(number)
        return self.wait(process)

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of something that was started here; gives its exit code."""
        status = process.wait(timeout=PATIENCE_SECONDS)
        self.processes.remove(process)
        return status

    def grow(self, write: Callable[[], None]) -> tuple[Path, int]:
        """A place in the middle of what `write` adds to the store's segments."""
        before = self._segment_sizes()
        write()
        growth = {file: (before.get(file, 0), size) for file, size in self._segment_sizes().items()}
        file, (start, end) = max(growth.items(), key=lambda item: item[1][1] - item[1][0])
        check(end > start, "the store has grown")
        return file, (start + end) // 2

    def _segment_sizes(self) -> dict[Path, int]:
        files = (path for path in self.store.rglob("*") if path.is_file() and "sqlite" not in path.name)
        return {path: path.stat().st_size for path in files}

    def log(self, name: str) -> str:
        return (self.top / f"{name}.log").read_text(errors="replace")

    def sweep(self) -> None:
        """Take everything away: mounts first, then the processes that were started here, then the files."""
        for place in self.mounted:
            self._force_unmount(place)
        for process in self.processes:
            process.terminate()
            try:
                process.wait(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.top, ignore_errors=True)

    def _force_unmount(self, place: Path) -> None:
        """As clean as it goes: a mount that still works ends with its process, one that does not is only detached."""
        btfuse = Path(sys.executable).with_name("btfuse")
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run([btfuse, "-u", place], capture_output=True, timeout=PATIENCE_SECONDS, check=False)
        if str(place) in Path("/proc/self/mounts").read_text():
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A stage in a temporary directory, swept whatever happens."""
    built = Stage(Path(tempfile.mkdtemp(prefix="blocktree-demo-")))
    try:
        yield built
    finally:
        # A second Ctrl-C would leave mounts behind.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        built.sweep()
        signal.signal(signal.SIGINT, before)


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def raised(kind: type[Exception], call: Callable[[], object]) -> bool:
    """Whether a call fails in this way."""
    try:
        call()
    except kind:
        return True
    return False


def digest(top: Path, *, skip: Sequence[str] = ()) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative path; symbolic links by their targets."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if name.split("/")[0] in skip or "__pycache__" in name:
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = file_digest(path)
    return found


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_with_bar(source: Path, target: Path) -> tuple[int, int]:
    """Copy a tree with plain file operations, showing how far it is; says how many files and bytes."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
    total, done = sum(path.stat().st_size for path in files), 0
    for number, path in enumerate(files, 1):
        goal = target / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, goal)
        done += path.stat().st_size
        _bar(number, len(files), done, total)
    return len(files), done


def _bar(number: int, count: int, done: int, total: int) -> None:
    if sys.stderr.isatty():
        filled = 30 * done // max(total, 1)
        print(f"\r    [{'#' * filled:30}] {number}/{count}", end="\r" if number < count else "\n", file=sys.stderr)
