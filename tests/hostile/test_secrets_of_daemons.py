"""No daemon lets a secret out: not into arguments, environments, logs, tables, files, temporary files, dumps of memory.

As for the commands (`packages/blocktree/tests/test_no_secret_shows.py`): canaries are the passphrases, the root's and
the machine's seeds, and what is written into a file. Every Python program runs with an audit hook that writes down each
program started, with its environment, and keeps a copy of each file that is removed. /proc says the rest.
"""

from __future__ import annotations

import base64
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from btfproto.opening import make_domain
from btlib import Credentials, FileCredentialStore
from btlib.agent import AgentClient, agent_socket
from btlib.home import DomainSettings, Home
from btlib.testing import QUICK_COST
from btlib.testing.audit import set_hook

PASSPHRASE = "canary-Passphrase-7f3a"
WRONG = "canary-Wrong-55d0"
CONTENT = "canary content of a file "
PATIENCE = 30.0
NOBODY = 65534


@dataclass(frozen=True)
class Place:
    """A home with a domain, and everything that is searched."""

    top: Path
    forms: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BLOCKTREE_", "BTF"))}
        hook, tmp = str(self.top / "hook"), str(self.top / "tmp")
        return kept | {
            "BLOCKTREE_HOME": str(self.top / "home"),
            "PYTHONPATH": hook,
            "TMPDIR": tmp,
            "BLOCKTREE_DEBUG": "1",
        }

    def private(self, name: str, text: str) -> str:
        """A file that the user keeps; it is not searched."""
        file = self.top / name
        file.touch(mode=0o600)
        file.write_text(text + "\n")
        return str(file)

    def log(self, program: str) -> Path:
        return self.top / "logs" / program

    @contextlib.contextmanager
    def running(self, program: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon in the foreground, until the block ends; it must end well."""
        process = self.start(program, *words)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE)
        assert status == 0, self.log(program).read_text()

    def start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", program, *words]
        with self.log(program).open("ab") as log:
            return subprocess.Popen(
                command, env=self.environment, cwd=self.top, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", program, *words]
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.top,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        with self.log(program).open("a") as log:
            log.write(done.stdout + done.stderr)
        return done

    def leaks(self, text: str) -> list[str]:
        lower = text.lower()
        return [form for form in ("canary", *self.forms) if form.lower() in lower]

    def check(self, *processes: int) -> None:
        """Nothing of it is in a file, a log, or what /proc shows of these processes and of those that they started."""
        for process in [*processes, *children(processes)]:
            for name in ("cmdline", "environ", "comm"):
                assert self.leaks(Path(f"/proc/{process}/{name}").read_bytes().decode("latin-1")) == [], (process, name)
        assert self.leaks(Path("/proc/self/mountinfo").read_text()) == []
        for name in ("home", "tmp", "kept", "logs", "started"):
            for file in [self.top / name, *(self.top / name).rglob("*")]:
                if file.is_file():
                    assert self.leaks(file.read_bytes().decode("latin-1")) == [], file


def children(processes: tuple[int, ...]) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if parent in processes:
            found.append(int(entry.parent.name))
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return furnish(tmp_path)


def furnish(tmp_path: Path) -> Place:
    """Make all that a place has."""
    for name in ("tmp", "logs", "mount"):
        (tmp_path / name).mkdir()
    set_hook(tmp_path, tmp_path / "started")
    root, machine = Credentials.generate(), Credentials.generate()
    settings = DomainSettings(root=root.public.principal, host="here", store=Path("store"))
    domain = Home.find({"BLOCKTREE_HOME": str(tmp_path / "home")}).add("home", settings)
    chain = make_domain(domain, root.identity(), machine.public, now=int(time.time()))
    FileCredentialStore(domain.credentials_file, QUICK_COST).save(machine.with_chains(chain), PASSPHRASE)
    seeds = (root.seed, machine.seed)
    forms = [form for seed in seeds for form in (seed.hex(), base64.b64encode(seed).decode().rstrip("="),
                                                 repr(seed)[2:-1], seed.decode("latin-1"))]  # fmt: skip
    return Place(tmp_path, tuple(forms))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_until_listening(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens)


def test_the_server_shows_no_secret_while_it_serves_and_when_it_fails(place: Place) -> None:
    port = free_port()
    words = ["--domain", "home", "--listen", f"127.0.0.1:{port}"]
    with place.running("btfsd", *words, "--passphrase-file", place.private("passphrase", PASSPHRASE)) as server:
        wait_until_listening(port)
        with socket.create_connection(("127.0.0.1", port)) as garbage:
            garbage.sendall(b"canarx")
        place.check(server.pid)
    assert place.run("btfsd", *words, "--passphrase-file", place.private("wrong", WRONG)).returncode != 0
    place.check()


def require_fuse() -> None:
    if not os.access("/dev/fuse", os.W_OK) or os.geteuid():
        pytest.skip("needs /dev/fuse and root")


def wait_until_mounted(place: Place, process: subprocess.Popen[bytes]) -> None:
    def mounted() -> bool:
        assert process.poll() is None, place.log("btfuse").read_text()
        return f" {place.top / 'mount'} " in Path("/proc/self/mountinfo").read_text()  # root may not look into it

    eventually(mounted)


@pytest.mark.mount
def test_a_mount_shows_no_secret_while_it_is_used_and_when_it_fails(place: Place) -> None:
    require_fuse()
    mount = place.top / "mount"
    right = place.private("passphrase", PASSPHRASE)
    wrong = place.private("wrong", WRONG)
    assert place.run("btfuse", "--passphrase-file", wrong, "home:/", str(mount)).returncode != 0
    with place.running("btfuse", "-d", "--passphrase-file", right, "home:/", str(mount)) as process:
        wait_until_mounted(place, process)
        (mount / "file").write_text(CONTENT * 5000)
        (mount / "small").write_text(CONTENT)
        os.setxattr(mount / "file", "user.note", b"canary attribute")
        os.sync()
        assert (mount / "file").read_text() == CONTENT * 5000
        place.check(process.pid)
    place.check()


def aborted(process: int) -> set[Path]:
    """The core dumps of a process that is made to crash."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if os.geteuid() or "/" in pattern or pattern.startswith("|"):
        pytest.skip("needs root, and a system that writes core dumps into the working directory")
    where = Path(f"/proc/{process}/cwd").readlink()
    before = set(where.glob("core*"))
    os.kill(process, signal.SIGABRT)
    eventually(lambda: state(process) in ("Z", "gone"))
    return set(where.glob("core*")) - before


@pytest.fixture
def cores() -> Iterator[None]:
    """Whoever is started now may leave a core dump, as far as this process may say."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if not hard:
        pytest.skip("the limit for core dumps is 0 here")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def state(process: int) -> str:
    """As in /proc/PID/stat; a zombie has written what it had to."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def check_private(process: int) -> None:
    """Of a process that is not dumpable, its memory in /proc belongs to root, and to root alone."""
    assert "Max core file size        0                    0 " in Path(f"/proc/{process}/limits").read_text()
    assert Path(f"/proc/{process}/mem").stat().st_uid == 0


@pytest.mark.usefixtures("cores")
def test_a_server_that_crashes_leaves_no_core(place: Place) -> None:
    port = free_port()
    words = ["--domain", "home", "--listen", f"127.0.0.1:{port}"]
    words += ["--passphrase-file", place.private("passphrase", PASSPHRASE)]
    with place.start("btfsd", *words) as server, ended(server):
        wait_until_listening(port)
        check_private(server.pid)
        assert aborted(server.pid) == set()
    assert server.returncode == -signal.SIGABRT


@pytest.mark.mount
@pytest.mark.parametrize("foreground", [True, False])
@pytest.mark.usefixtures("cores")
def test_a_mount_that_crashes_leaves_no_core(place: Place, foreground: bool) -> None:
    require_fuse()
    words = ["--passphrase-file", place.private("passphrase", PASSPHRASE), "home:/", str(place.top / "mount")]
    with place.start("btfuse", *(["-f"] if foreground else []), *words) as process, ended(process):
        if foreground:
            wait_until_mounted(place, process)
        else:
            assert process.wait(PATIENCE) == 0, place.log("btfuse").read_text()
        (serving,) = [process.pid] if foreground else mounting(place)
        try:
            check_private(serving)
            assert aborted(serving) == set()
        finally:
            subprocess.run([sys.executable, "-m", "btfuse", "-u", str(place.top / "mount")], check=False)


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens meanwhile, the process does not outlive the block."""
    try:
        yield
    finally:
        process.kill()


def mounting(place: Place) -> list[int]:
    """The process that serves our mount in the background."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().decode("latin-1").split("\0")
            if str(place.top / "mount") in words and "btfuse" in words:
                found.append(int(entry.parent.name))
    return found


@pytest.mark.usefixtures("cores")
def test_an_agent_that_crashes_leaves_no_core(place: Place) -> None:
    started = place.run(
        "blocktree", "agent", "start", "home", "--passphrase-file", place.private("passphrase", PASSPHRASE)
    )
    assert started.returncode == 0, started.stderr
    agent = AgentClient(agent_socket(place.environment)).status().pid
    try:
        check_private(agent)
        assert aborted(agent) == set()
    finally:
        if state(agent) not in ("Z", "gone"):
            os.kill(agent, signal.SIGTERM)


@pytest.mark.usefixtures("cores")
def test_a_core_would_be_found(place: Place) -> None:
    program = "import time; print('here', flush=True); time.sleep(60)"
    command = [sys.executable, "-S", "-c", program]
    with (
        subprocess.Popen(command, cwd=place.top, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process,
        ended(process),
    ):
        assert process.stdout is not None
        process.stdout.readline()
        assert len(aborted(process.pid)) == 1


@pytest.mark.mount
def test_daemons_of_a_user_give_nothing_of_their_memory_to_that_user_and_still_mount() -> None:
    """As another user than root, through fusermount3: the mount works, and that user's other programs read nothing."""
    require_fuse()
    if shutil.which("fusermount3") is None:
        pytest.skip("needs fusermount3")
    with tempfile.TemporaryDirectory(prefix="bt-") as name:
        top = Path(name)
        made = furnish(top)
        top.chmod(0o755)
        for entry in [top, *top.rglob("*")]:
            os.chown(entry, NOBODY, NOBODY)
        words = ["--passphrase-file", made.private("passphrase", PASSPHRASE), "home:/", str(top / "mount")]
        os.chown(top / "passphrase", NOBODY, NOBODY)
        environment = made.environment | {"HOME": name}
        own: dict[str, Any] = {"env": environment, "cwd": name, "user": NOBODY, "group": NOBODY, "extra_groups": []}
        with subprocess.Popen([sys.executable, "-m", "btfuse", "-f", *words], **own) as process, ended(process):
            wait_until_mounted(made, process)
            try:
                check_private(process.pid)
                peek = f"open('/proc/{process.pid}/mem', 'rb')"
                done = subprocess.run([sys.executable, "-S", "-c", peek], **own, capture_output=True, check=False)
                assert b"PermissionError" in done.stderr
                look = f"import os; os.listdir({str(top / 'mount')!r})"
                subprocess.run([sys.executable, "-S", "-c", look], **own, check=True)
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE) == 0


def test_the_search_finds_what_it_looks_for(place: Place) -> None:
    (place.top / "logs" / "planted").write_text(place.forms[0])
    with pytest.raises(AssertionError):
        place.check()
    (place.top / "logs" / "planted").unlink()
    place.check()
    program = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', '', 'canary'])"
    subprocess.run([sys.executable, "-c", program], env=place.environment, check=True)
    with pytest.raises(AssertionError):
        place.check()
