"""No daemon lets a secret out: not into arguments, environments of programs, logs, tables, files, or temporary files.

As for the commands (`packages/blocktree/tests/test_no_secret_shows.py`): canaries are the passphrases, the root's and
the machine's seeds, and what is written into a file. Every Python program runs with an audit hook that writes down each
program started, with its environment, and keeps a copy of each file that is removed. /proc says the rest.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from btfproto.opening import make_domain
from btlib import Credentials, FileCredentialStore
from btlib.home import DomainSettings, Home
from btlib.testing import QUICK_COST

PASSPHRASE = "canary-Passphrase-7f3a"
WRONG = "canary-Wrong-55d0"
CONTENT = "canary content of a file "
PATIENCE = 30.0

HOOK = """
import os, shutil, sys
_LOG, _KEPT, _busy = {log!r}, {kept!r}, False
def _hook(event, arguments):
    global _busy
    if _busy or event not in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.remove", "os.rename"):
        return
    _busy = True
    try:
        if event in ("os.remove", "os.rename"):
            path = os.fsdecode(arguments[0])
            if os.path.isfile(path):
                shutil.copy(path, os.path.join(_KEPT, str(len(os.listdir(_KEPT)))))
        else:
            environment = arguments[-1] if isinstance(arguments[-1], dict) else dict(os.environ)
            with open(_LOG, "a") as log:
                log.write(repr((event, arguments[:2], environment)) + "\\n")
    except OSError:
        pass
    finally:
        _busy = False
sys.addaudithook(_hook)
"""


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

    @contextmanager
    def running(self, program: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon in the foreground, until the block ends; it must end well."""
        with self.log(program).open("ab") as log:
            command = [sys.executable, "-m", program, *words]
            process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE)
        assert status == 0, self.log(program).read_text()

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", program, *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
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
    for name in ("hook", "tmp", "kept", "logs", "mount"):
        (tmp_path / name).mkdir()
    hook = HOOK.format(log=str(tmp_path / "started"), kept=str(tmp_path / "kept"))
    (tmp_path / "hook" / "sitecustomize.py").write_text(hook)
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


def wait_until_listening(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end
        time.sleep(0.02)


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


@pytest.mark.mount
def test_a_mount_shows_no_secret_while_it_is_used_and_when_it_fails(place: Place) -> None:
    if not os.access("/dev/fuse", os.W_OK) or os.geteuid():
        pytest.skip("needs /dev/fuse and root")
    mount = place.top / "mount"
    right = place.private("passphrase", PASSPHRASE)
    wrong = place.private("wrong", WRONG)
    assert place.run("btfuse", "--passphrase-file", wrong, "home:/", str(mount)).returncode != 0
    with place.running("btfuse", "-d", "--passphrase-file", right, "home:/", str(mount)) as process:
        end = time.monotonic() + PATIENCE
        while not os.path.ismount(mount):
            assert process.poll() is None, place.log("btfuse").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        (mount / "file").write_text(CONTENT * 5000)
        (mount / "small").write_text(CONTENT)
        os.setxattr(mount / "file", "user.note", b"canary attribute")
        os.sync()
        assert (mount / "file").read_text() == CONTENT * 5000
        place.check(process.pid)
    place.check()


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
