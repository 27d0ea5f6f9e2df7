"""A home with a domain in it, and btfsd as a process of its own."""

from __future__ import annotations

import contextlib
import json
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

import pytest
from btfproto.opening import make_domain
from btlib import Credentials, Identity
from btlib.home import Domain, DomainSettings, Home

PASSPHRASE = "correct horse battery staple"
STOP_SECONDS = 20.0  #: generous: a loaded machine must not fail a test


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the domain `home`, made once."""
    top = tmp_path_factory.mktemp("home")
    home = Home.find({"BLOCKTREE_HOME": str(top)})
    root, machine = Credentials.generate(), Credentials.generate()
    home.begin("home")
    settings = DomainSettings(root=root.public.principal, host="nas", store=Path("store"))
    domain = home.pending_domain("home", settings)
    chain = make_domain(domain, root.identity(), machine.public, now=int(time.time()))
    domain.root_credentials.save(root, PASSPHRASE)
    domain.credentials.save(machine.with_chains(chain), PASSPHRASE)
    home.admit(domain)
    return top


@dataclass
class Machine:
    """A home, and what runs in it."""

    top: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    notify: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.top / "notify"))
        self.notify.settimeout(STOP_SECONDS)

    @property
    def domain(self) -> Domain:
        return Home.find({"BLOCKTREE_HOME": str(self.top)}).domain("home")

    @property
    def identity(self) -> Identity:
        return self.domain.credentials.unlock(PASSPHRASE)

    @property
    def root(self) -> Identity:
        return self.domain.root_credentials.unlock(PASSPHRASE)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BTFSD_", "BLOCKTREE_"))}
        return {**kept, "BLOCKTREE_HOME": str(self.top), "BLOCKTREE_PASSPHRASE": PASSPHRASE}

    def start(self, *words: str, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the daemon and return once it says that it is ready."""
        process = self.begin(*words, environ={"NOTIFY_SOCKET": str(self.top / "notify"), **(environ or {})})
        self.wait_notice("READY=1", process)
        return process

    def begin(self, *words: str, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "btfsd", *words],
            env={**self.environment, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, *words: str, environ: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Run it to its end: exit code, output, messages."""
        process = self.begin(*words, environ=environ)
        out, err = process.communicate(timeout=STOP_SECONDS)
        return process.returncode, out, err

    def wait_notice(self, notice: str, process: subprocess.Popen[str]) -> str:
        """The first state sent to the service manager that contains `notice`."""
        self.notify.settimeout(0.2)
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                state = self.notify.recv(4096).decode()
                if notice in state:
                    return state
            if process.poll() is not None:
                raise AssertionError(f"btfsd ended with {process.returncode}: {process.communicate()[1]}")
        raise AssertionError(f"btfsd did not say {notice}")

    def stop(self, process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal: exit code and messages."""
        process.send_signal(number)
        _, err = process.communicate(timeout=STOP_SECONDS)
        return process.returncode, err

    @property
    def held_by(self) -> dict[str, object]:
        """What the lock file of the store says."""
        assert self.domain.store is not None
        content: dict[str, object] = json.loads((self.domain.store / "lock").read_text())
        return content

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.notify.close()


MakeMachine = Callable[[], Machine]


@pytest.fixture
def machine(template: Path) -> Iterator[Machine]:
    # A short path: it has to fit into the address of a Unix socket.
    with tempfile.TemporaryDirectory(prefix="btfsd-") as short:
        top = Path(short) / "h"
        shutil.copytree(template, top)
        machine = Machine(top)
        yield machine
        machine.close()
