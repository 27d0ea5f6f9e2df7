"""Mounts for tests: each in a process of its own, unmounted and ended whatever the test does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from btfuse._mountpoint import find_mount, unmount

BINDINGS = ("mfusepy", "fusepy")
_PATIENCE = 20  # seconds for what takes a fraction of one, on a busy machine


@dataclass
class Mounted:
    path: Path
    process: subprocess.Popen[str]

    def log(self) -> str:
        """What the daemon said after it was ready; ends the mount."""
        if find_mount(str(self.path)) is not None:
            unmount(str(self.path))
        return self.process.communicate(timeout=_PATIENCE)[1]


Mounter = Callable[..., AbstractContextManager[Mounted]]


def require_fuse() -> None:
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse here")
    if os.geteuid() != 0:
        pytest.skip("only root can mount for other users")


@contextlib.contextmanager
def mounted(path: Path, *words: str) -> Iterator[Mounted]:
    """A `MemoryProvider`, mounted at `path`."""
    require_fuse()
    path.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "btfuse.testing", str(path), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                pytest.fail(f"no mount: {process.communicate(timeout=_PATIENCE)[1]}")
            yield Mounted(path, process)
        finally:
            end(path, process)


def end(path: Path, process: subprocess.Popen[str]) -> None:
    """Whatever state the mount is in: afterwards neither it nor its process exists."""
    with contextlib.suppress(Exception):
        while find_mount(str(path)) is not None:
            unmount(str(path), lazy=True)
    try:
        process.wait(_PATIENCE / 4)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_PATIENCE)


@pytest.fixture
def mounter() -> Mounter:
    return mounted


@pytest.fixture(scope="module", params=BINDINGS)
def shared_mount(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """One mount for all tests of a module, over each binding; `mount` gives each test a directory of its own."""
    # Not pytest's own directory: that one is closed to other users, and some tests are about them.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        with mounted(Path(directory) / "mount", f"binding={request.param}") as mount:
            yield mount


@pytest.fixture
def mount(shared_mount: Mounted, request: pytest.FixtureRequest) -> Path:
    directory = shared_mount.path / hashlib.sha256(request.node.name.encode()).hexdigest()
    directory.mkdir()
    return directory
