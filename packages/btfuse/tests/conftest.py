"""Mounts for tests: each in a process of its own, unmounted and ended whatever the test does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from btfproto.opening import make_domain
from btfuse._mountpoint import find_mount, unmount
from btlib.credentials import Credentials, FileCredentialStore
from btlib.home import DomainSettings, Home
from btlib.testing import QUICK_COST

PASSPHRASE = "correct horse"
PATIENCE = 30
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


class Machine:
    """A home with one domain, and the command run in it."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.mountpoint = directory / "mnt"
        self.mountpoint.mkdir()
        root, machine = Credentials.generate(), Credentials.generate()
        settings = DomainSettings(root=root.public.principal, host="here", store=Path("store"))
        self.domain = Home.find({"BLOCKTREE_HOME": str(self.home)}).add("home", settings)
        chain = make_domain(self.domain, root.identity(), machine.public, now=int(time.time()))
        FileCredentialStore(self.domain.credentials_file, QUICK_COST).save(machine.with_chains(chain), PASSPHRASE)

    def environment(self, **changes: str) -> dict[str, str]:
        return {"BLOCKTREE_HOME": str(self.home), "BLOCKTREE_PASSPHRASE": PASSPHRASE, "LANG": "C.UTF-8", **changes}

    def run(self, *words: str, program: str | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in self.environment(**changes).items() if value}
        call = "import sys; from btfuse._cli import main; sys.argv[0] = sys.argv.pop(1); raise SystemExit(main())"
        command = [sys.executable, "-c", call, program or "btfuse", *words]
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def mount(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("home:/", str(self.mountpoint), *words)

    def unmount(self) -> subprocess.CompletedProcess[str]:
        return self.run("-u", str(self.mountpoint))

    @contextlib.contextmanager
    def foreground(self, *words: str, at: Path | None = None, **changes: str) -> Iterator[subprocess.Popen[str]]:
        mountpoint = at or self.mountpoint
        command = [sys.executable, "-m", "btfuse", "-f", *words, "home:/", str(mountpoint)]
        with subprocess.Popen(command, env=self.environment(**changes), stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                self.end(mountpoint)
                process.terminate()
                process.wait(PATIENCE)

    def end(self, mountpoint: Path | None = None) -> None:
        place = str(mountpoint or self.mountpoint)
        while find_mount(place) is not None:
            if self.run("-u", place).returncode != 0:
                unmount(place, lazy=True)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    require_fuse()
    made = Machine(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def mounter() -> Mounter:
    return mounted


@pytest.fixture(scope="module", params=[*BINDINGS, "alone"])
def shared_mount(request: pytest.FixtureRequest) -> Iterator[Path]:
    """One mount for all tests of a module: in memory over each binding, and the real thing. `mount` gives each test a
    directory of its own."""
    # Not pytest's own directory: that one is closed to other users, and some tests are about them.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        if request.param == "alone":
            require_fuse()
            machine = Machine(Path(directory))
            with machine.foreground("-o", "allow_other") as process:
                assert process.stderr is not None
                assert "is mounted" in process.stderr.readline()
                yield machine.mountpoint
        else:
            with mounted(Path(directory) / "mount", f"binding={request.param}", "symlinks=as-written") as mount:
                yield mount.path


@pytest.fixture
def mount(shared_mount: Path, request: pytest.FixtureRequest) -> Path:
    directory = shared_mount / hashlib.sha256(request.node.name.encode()).hexdigest()
    directory.mkdir()
    return directory
