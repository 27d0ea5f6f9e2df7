"""The rig: a home with a domain, its mount, its server, and workloads; all of it swept away at the end.

Processes are the real commands, each remembered by its id and ended by it. A mount is made again after every crash, by
the same command and without any repair.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from btfproto.opening import make_domain
from btfproto.store import EmbeddedStore
from btlib.credentials import Credentials, FileCredentialStore
from btlib.home import DomainSettings, Home
from btlib.testing import QUICK_COST

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse"
PATIENCE = 60.0  #: seconds for anything to happen that takes a fraction of one on a quiet machine
POLL = 0.02

Process = subprocess.Popen[bytes]


class FaultError(Exception):
    """The product did not do what it must; the text says what."""


def require(condition: object, claim: str) -> None:
    if not condition:
        raise FaultError(claim)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < end, f"{what} within {seconds:g} seconds")
        time.sleep(POLL)


@dataclass
class Rig:
    """One domain on this machine. `store` may lie on a file system of its own."""

    top: Path
    store: Path
    processes: list[Process] = field(default_factory=list)
    port: int = 0
    mount: Process | None = None
    server: Process | None = None

    def __post_init__(self) -> None:
        self.place.mkdir()
        self.port = free_port()
        root, machine = Credentials.generate(), Credentials.generate()
        settings = DomainSettings(root=root.public.principal, host="here", store=self.store)
        domain = Home.find(self.environment).add("home", settings)
        chain = make_domain(domain, root.identity(), machine.public, now=int(time.time()))
        FileCredentialStore(domain.credentials_file, QUICK_COST).save(machine.with_chains(chain), PASSPHRASE)

    @property
    def place(self) -> Path:
        return self.top / "mount"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BLOCKTREE_", "BT"))}
        return {**kept, "BLOCKTREE_HOME": str(self.top / "home"), "BLOCKTREE_PASSPHRASE": PASSPHRASE}

    # Mounts and servers

    def start_mount(self, *options: str, served: bool = False) -> None:
        """Mount, alone, end-to-end, or thin where an option says so; returns when it is usable."""
        self.begin_mount(*options, served=served)
        mount = self.mount
        wait_until(lambda: usable(self.place) or mount is None or mount.poll() is not None, "the mount is usable")
        require(mount is not None and mount.poll() is None, f"btfuse mounts without repair: {self.log('btfuse')}")

    def begin_mount(self, *options: str, served: bool = False) -> None:
        words = ",".join([*options, *([f"server=127.0.0.1:{self.port}"] if served else [])])
        asked = ["-o", words] if words else []
        self.mount = self._start("btfuse", "-f", *asked, "home:/", str(self.place))

    def start_server(self, **variables: str) -> None:
        """Start it, with further variables of the environment; returns when it listens."""
        self.server = self._start("btfsd", "--domain", "home", "--listen", f"127.0.0.1:{self.port}", **variables)
        server = self.server
        wait_until(lambda: listening(self.port) or server.poll() is not None, "btfsd listens")
        require(server.poll() is None, f"btfsd starts without repair: {self.log('btfsd')}")

    def kill_mount(self) -> None:
        if self.mount is not None:
            self.end(self.mount, signal.SIGKILL)
            self.mount = None

    def kill_server(self) -> None:
        if self.server is not None:
            self.end(self.server, signal.SIGKILL)
            self.server = None

    def unmount(self) -> None:
        """As a user does; everything is committed then."""
        done = subprocess.run(
            [sys.executable, "-m", "btfuse", "-u", str(self.place)],
            env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        require(done.returncode == 0, f"btfuse -u: {done.stderr}")
        if self.mount is not None:
            require(self.mount.wait(PATIENCE) == 0, f"btfuse ends with 0: {self.log('btfuse')}")
            self.processes.remove(self.mount)
            self.mount = None

    def detach(self) -> None:
        """Take away what a killed mount left."""
        while is_mounted(self.place):
            subprocess.run(["umount", "-l", str(self.place)], capture_output=True, check=True)

    # Workloads and checks

    def start_workload(self, seed: str, *options: str) -> Process:
        """Start it over an empty tree; returns when it works."""
        self.history.unlink(missing_ok=True)
        words = [str(self.place), str(self.history), seed, *options]
        log = self._log("workload").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.workload", *words],
                cwd=ROOT,
                env={**self.environment, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.processes.append(process)
        assert process.stdout is not None
        with process.stdout as said:
            require(said.readline() == b"ready\n", f"the workload starts: {self.log('workload')}")
        return process

    @property
    def history(self) -> Path:
        return self.top / "history.jsonl"

    def end_workload(self, process: Process) -> None:
        """Each worker ends its operation. Raises FaultError for a read that gave wrong bytes, or that hangs."""
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise FaultError(f"a request of the workload hangs for {PATIENCE:g} seconds") from None
        self.processes.remove(process)
        # An interpreter that is ending anyway no longer handles the signal.
        said = f"the workload ends with {status}: {self.log('workload')}"
        require(status in (0, -signal.SIGTERM), f"what is read was written; {said}")

    def scrub(self) -> None:
        """Open the store, without anybody else, and read all of it."""
        store = EmbeddedStore(self.store, program="faults")
        try:
            damage = [str(error) for error in store.scrub()]
        finally:
            store.close()
        require(not damage, f"a scrub finds no damage: {damage[:5]}")

    def empty(self) -> None:
        """Take everything out of the tree, for the next round."""
        for path in self.place.iterdir():
            shutil.rmtree(path)

    def log(self, name: str) -> str:
        """The end of what a program said."""
        path = self._log(name)
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def _log(self, name: str) -> Path:
        return self.top / f"{name}.log"

    # Processes

    def _start(self, program: str, *words: str, **variables: str) -> Process:
        with self._log(program).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", program, *words],
                env={**self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def end(self, process: Process, number: int) -> None:
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        process.wait(PATIENCE)
        self.processes.remove(process)

    def sweep(self) -> None:
        """Whatever happened: no mount and no process is left."""
        for process in list(self.processes):
            self.end(process, signal.SIGKILL)
        self.detach()


@contextlib.contextmanager
def rig(store: Path | None = None) -> Iterator[Rig]:
    """A rig in a temporary directory."""
    top = Path(tempfile.mkdtemp(prefix="blocktree-faults-"))
    built = None
    try:
        built = Rig(top, store or top / "store")
        yield built
    finally:
        if built is not None:
            built.sweep()
        shutil.rmtree(top)


def is_mounted(place: Path) -> bool:
    return f" {place} " in Path("/proc/self/mounts").read_text()


def usable(place: Path) -> bool:
    """Whether a mount answers there (and is none that was killed)."""
    try:
        os.statvfs(place)
    except OSError:
        return False
    return is_mounted(place)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
