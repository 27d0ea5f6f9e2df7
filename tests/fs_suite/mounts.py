"""A domain in a temporary directory and one real mount of it, in each of the three modes, by the commands themselves.

Whatever happens inside, neither a process nor a mount is left. The directory is open to other users: the suites test
what these may do.
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
from contextlib import ExitStack
from pathlib import Path

from btfproto.opening import make_domain
from btlib.credentials import Credentials, FileCredentialStore
from btlib.home import DomainSettings, Home
from btlib.testing import QUICK_COST

MODES = ("alone", "end-to-end", "thin")
PASSPHRASE = "correct horse"
PATIENCE = 60.0  #: seconds for what takes one on a quiet machine
POLL = 0.02


class SuiteError(Exception):
    """A suite cannot be run here; the text says why."""


@contextlib.contextmanager
def mounted(mode: str, *more: str) -> Iterator[Path]:
    """The root directory of a fresh, empty mount; `more` are further options."""
    with ExitStack() as stack:
        top = Path(tempfile.mkdtemp(prefix="blocktree-suite-"))
        stack.callback(shutil.rmtree, top)
        top.chmod(0o755)
        environment = _make_home(top)
        options = ["allow_other", *more]
        if mode != "alone":
            port = _free_port()
            server = stack.enter_context(
                _running(top, environment, "btfsd", "--domain", "home", "--listen", f"127.0.0.1:{port}")
            )
            _wait(lambda: _listens(port), server, top / "btfsd.log")
            options.append(f"server=127.0.0.1:{port}")
        if mode == "thin":
            options.append("thin")
        place = top / "mount"
        place.mkdir()
        mount = stack.enter_context(
            _running(top, environment, "btfuse", "-f", "-o", ",".join(options), "home:/", str(place))
        )
        stack.callback(_detach, place)
        _wait(lambda: os.path.ismount(place), mount, top / "btfuse.log")
        yield place


def _make_home(top: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BLOCKTREE_", "BTF"))}
    environment = {**kept, "BLOCKTREE_HOME": str(top / "home"), "BLOCKTREE_PASSPHRASE": PASSPHRASE}
    root, machine = Credentials.generate(), Credentials.generate()
    settings = DomainSettings(root=root.public.principal, host="here", store=Path("store"))
    domain = Home.find(environment).add("home", settings)
    chain = make_domain(domain, root.identity(), machine.public, now=int(time.time()))
    FileCredentialStore(domain.credentials_file, QUICK_COST).save(machine.with_chains(chain), PASSPHRASE)
    return environment


@contextlib.contextmanager
def _running(top: Path, environment: dict[str, str], program: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    with (top / f"{program}.log").open("wb") as log:
        command = [sys.executable, "-m", program, *words]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise SuiteError(f"{log.stem} does not come up: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(POLL)


def _detach(place: Path) -> None:
    """The mount's process commits and ends by this; lazily where a program still sits there."""
    if subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode != 0:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
