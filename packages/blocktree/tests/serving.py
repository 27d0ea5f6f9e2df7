"""btfsd as a process of its own, for tests: a store that is served, with an apple in it, and who joins by files."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Machine

PATIENCE = 20.0  #: seconds until a server listens, on a busy machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running_server(machine: Machine, port: int, log: Path) -> Iterator[None]:
    """btfsd of a machine, until the block ends."""
    words = [sys.executable, "-m", "btfsd", "--domain", "home", "--listen", f"127.0.0.1:{port}"]
    with log.open("wb") as messages:
        process = subprocess.Popen(words, env=machine.environment(), stdout=messages, stderr=messages)
    try:
        end = time.monotonic() + PATIENCE
        while not listening(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=PATIENCE)
    assert status == 0, log.read_text()


def with_an_apple(machine: Machine, tmp_path: Path, directory: str, *others: str) -> None:
    """Directories in the domain `home`, and a file in the first: `apple.txt`."""
    (tmp_path / "apple.txt").write_text("an apple")
    machine("mkdir", directory, *others)
    machine("cp", tmp_path / "apple.txt", f"{directory}/")


def enrol(first: Machine, machine: Machine, port: int, *options: str) -> None:
    file = machine.home.parent / f"{machine.home.name}.request"
    machine("enroll", "request", "home", "--host", machine.home.name, "--out", file, *options)
    first("enroll", "sign", file, "--yes", "--server", f"127.0.0.1:{port}")
    machine("enroll", "accept", file.with_suffix(".response"), "--yes")
