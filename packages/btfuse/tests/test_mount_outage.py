"""Mounts through a btfsd that is killed under them and started again: `-o soft`, `-o hard`, what becomes of writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
from btfproto.localfs import kept_in
from btfproto.opening import RECOVERED
from btlib.home import Domain

pytestmark = pytest.mark.mount

PATIENCE = 30


class Machine(Protocol):
    """What `conftest` gives."""

    domain: Domain

    def environment(self, **changes: str) -> dict[str, str]: ...
    def run(self, *words: str) -> subprocess.CompletedProcess[str]: ...
    def foreground(
        self, *words: str, at: Path | None = None, **changes: str
    ) -> AbstractContextManager[subprocess.Popen[str]]: ...


class Daemon:
    """A btfsd on a port that stays the same."""

    def __init__(self, machine: Machine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._machine = machine
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = ["-m", "btfsd", "--domain", "home", "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [sys.executable, *words],
            env=self._machine.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until(self._listens)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._process.communicate()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate(timeout=PATIENCE)
            self._process = None


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError as error:
        assert error.errno == errno.EHOSTUNREACH  # noqa: PT017 - nothing else is expected
        return False
    return True


def is_waiting(pid: int) -> bool:
    """Whether a process waits for a mount to answer."""
    return "request_wait" in Path(f"/proc/{pid}/wchan").read_text()


def listing(path: Path) -> Callable[[], object]:
    return lambda: list(path.iterdir())


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@pytest.fixture
def daemon(machine: Machine) -> Iterator[Daemon]:
    running = Daemon(machine)
    yield running
    running.kill()


Mount = Callable[..., Path]
Processes = dict[Path, "subprocess.Popen[str]"]


@pytest.fixture
def processes() -> Processes:
    """The process of each mount."""
    return {}


@pytest.fixture
def mount(machine: Machine, daemon: Daemon, tmp_path: Path, processes: Processes) -> Iterator[Mount]:
    with ExitStack() as stack:

        def make(name: str, *options: str) -> Path:
            path = tmp_path / name
            path.mkdir()
            words = ",".join([f"server=127.0.0.1:{daemon.port}", *options])
            process = stack.enter_context(machine.foreground("-o", words, at=path))
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "is mounted" in line, line
            threading.Thread(target=process.stderr.read, daemon=True).start()  # the log must not fill its pipe
            processes[path] = process
            return path

        yield make


def test_soft_calls_fail_while_the_server_is_away_and_nothing_written_is_lost(mount: Mount, daemon: Daemon) -> None:
    path = mount("m", "soft=1")
    (path / "before").write_bytes(b"before")
    files = [(path / f"f{number}").open("wb", buffering=0) for number in range(20)]
    for number, file in enumerate(files):
        file.write(bytes([number]) * 10_000)
    daemon.kill()
    for file in files:
        with pytest.raises(OSError, match="No route to host") as refused:
            os.fsync(file.fileno())
        assert refused.value.errno == errno.EHOSTUNREACH
    for file in files:
        with contextlib.suppress(OSError):
            file.close()
    daemon.start()
    until(lambda: works(lambda: sync(path / "f0")))
    daemon.kill()
    daemon.start()
    until(lambda: works(lambda: sync(path / "f0")))
    assert [(path / f"f{n}").read_bytes() for n in range(20)] == [bytes([n]) * 10_000 for n in range(20)]


@pytest.mark.parametrize("mode", ["", "thin"])
def test_ls_fails_in_a_soft_mount_and_works_again_when_the_server_is_back(
    mount: Mount, daemon: Daemon, mode: str
) -> None:
    path = mount("m", "soft=0.5", *([mode] if mode else []))
    (path / "d").mkdir()
    (path / "d/file").write_bytes(b"content")
    daemon.kill()
    until(lambda: not works(listing(path / "d")))
    daemon.start()
    until(lambda: works(listing(path / "d")))
    assert (path / "d/file").read_bytes() == b"content"


@pytest.mark.parametrize("mode", ["", "thin"])
def test_a_frozen_server_counts_as_lost(mount: Mount, daemon: Daemon, mode: str) -> None:
    path = mount("m", "soft=0.5", *([mode] if mode else []))
    (path / "file").write_bytes(b"content")
    daemon.send(signal.SIGSTOP)
    until(lambda: not works(listing(path)))  # not for as long as links of other sorts take
    daemon.send(signal.SIGCONT)
    until(lambda: works(listing(path)))
    assert (path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("mode", ["", "thin"])
def test_in_a_hard_mount_programs_wait_for_the_server(mount: Mount, daemon: Daemon, mode: str) -> None:
    path = mount("m", "hard", *([mode] if mode else []))
    (path / "old").write_bytes(b"old")
    daemon.kill()
    done = threading.Event()

    def work() -> None:
        (path / "new").write_bytes(b"new" * 1000)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not done.is_set()
    daemon.start()
    thread.join()
    assert done.is_set()
    assert (path / "new").read_bytes() == b"new" * 1000
    assert (path / "old").read_bytes() == b"old"


@pytest.mark.parametrize("patience", ["soft=0.5", "hard"])
def test_what_is_left_when_a_mount_ends_without_its_server_is_kept(
    mount: Mount, daemon: Daemon, machine: Machine, processes: Processes, patience: str
) -> None:
    path = mount("m", patience, "lazy_close", "commit=3600")
    (path / "d").mkdir()
    (path / "d/file").write_bytes(b"first")
    sync(path / "d/file")
    (path / "d/file").write_bytes(b"second")
    daemon.kill()
    script = "import sys; open(sys.argv[1], 'w')"
    with subprocess.Popen([sys.executable, "-c", script, str(path / "new")], stderr=subprocess.DEVNULL) as waiting:
        until(lambda: waiting.poll() is not None or is_waiting(waiting.pid))
        processes[path].terminate()
        processes[path].wait(PATIENCE)
        assert waiting.wait(PATIENCE) != 0
    until(lambda: bool(kept_in(machine.domain.data / RECOVERED)))
    ((_, kept),) = kept_in(machine.domain.data / RECOVERED)
    assert msgspec.structs.asdict(kept)["files"] == 1
    assert (Path(kept.directory or "") / "d/file").read_bytes() == b"second"


@pytest.mark.parametrize("mode", ["", "thin"])
def test_an_unmount_does_not_wait_for_a_server_that_is_away(
    mount: Mount, daemon: Daemon, machine: Machine, processes: Processes, mode: str
) -> None:
    path = mount("m", "hard", *([mode] if mode else []))
    (path / "file").write_bytes(b"content")
    daemon.kill()
    done = machine.run("-u", str(path))  # for thirty seconds at the most
    assert done.returncode == 0, done.stderr
    assert processes[path].wait(PATIENCE) == 0


class Past:
    """The store of a stopped server, as it was: to be put back, and forth again."""

    def __init__(self, machine: Machine, top: Path) -> None:
        assert machine.domain.store is not None
        self.store, self.pins = machine.domain.store, machine.domain.pins
        self.old, self.newest = top / "old", top / "newest"
        shutil.copytree(self.store, self.old, ignore=shutil.ignore_patterns("*.sock"))

    def put_back(self) -> None:
        """The server's own pins go too: here it has its data beside the mount's, which the mount holds open."""
        self.store.rename(self.newest)
        shutil.copytree(self.old, self.store)
        for name in ("pins", "pins-wal", "pins-shm"):
            self.pins.with_name(name).unlink(missing_ok=True)

    def put_forth(self) -> None:
        shutil.rmtree(self.store)
        self.newest.rename(self.store)


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError:
        return False
    return True


def refuses_as_older(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError as error:
        return error.errno == errno.EBADMSG
    return False


def test_a_store_put_back_under_a_mount_is_refused_and_the_right_one_goes_on(
    mount: Mount, daemon: Daemon, machine: Machine, tmp_path: Path
) -> None:
    path = mount("m", "soft=1")
    (path / "file").write_bytes(b"first")
    sync(path / "file")
    daemon.kill()
    past = Past(machine, tmp_path)
    daemon.start()
    until(lambda: works(lambda: (path / "file").write_bytes(b"second")))
    sync(path / "file")
    waiting = (path / "waiting").open("wb", buffering=0)
    waiting.write(b"not committed yet")
    daemon.kill()
    past.put_back()
    daemon.start()
    until(lambda: refuses_as_older(listing(path)))
    assert refuses_as_older(lambda: (path / "new").write_bytes(b"new"))
    daemon.kill()
    past.put_forth()
    daemon.start()
    until(lambda: succeeds(lambda: os.fsync(waiting.fileno())))
    waiting.close()
    assert (path / "file").read_bytes() == b"second"
    assert (path / "waiting").read_bytes() == b"not committed yet"


def test_what_a_mount_has_is_kept_when_it_ends_over_a_store_that_was_put_back(
    mount: Mount, daemon: Daemon, machine: Machine, processes: Processes, tmp_path: Path
) -> None:
    path = mount("m", "soft=1", "lazy_close", "commit=3600")
    (path / "file").write_bytes(b"first")
    sync(path / "file")
    daemon.kill()
    past = Past(machine, tmp_path)
    daemon.start()
    until(lambda: works(lambda: (path / "file").write_bytes(b"second")))
    sync(path / "file")
    (path / "file").write_bytes(b"third")
    daemon.kill()
    past.put_back()
    daemon.start()
    until(lambda: refuses_as_older(listing(path)))
    processes[path].terminate()
    assert processes[path].wait(PATIENCE) != 0
    ((_, kept),) = kept_in(machine.domain.data / RECOVERED)
    assert "went back in time" in kept.reason
    assert (Path(kept.directory or "") / "file").read_bytes() == b"third"
    again = mount("again", "soft=1")  # its pins are gone with the server's: that is what bt accept-restore does
    assert (again / "file").read_bytes() == b"first"
    (again / "file").write_bytes(b"fourth")
    sync(again / "file")


#: Holds a lock of a file until its input ends, then says what a sync of the file says.
HOLDER = """
import fcntl, os, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.read()
    os.fsync(file.fileno())
"""


def lockable(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_after_a_crash_of_the_server_a_lock_goes_to_nobody_before_its_holder_could_ask_again(
    mount: Mount, daemon: Daemon, processes: Processes
) -> None:
    first, second = mount("first", "hard"), mount("second", "hard")
    for name in ("file", "other"):
        (first / name).write_bytes(b"content")
    command = [sys.executable, "-c", HOLDER, str(first / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"locked\n"
        processes[first].send_signal(signal.SIGSTOP)  # too slow to be there first
        try:
            daemon.kill()
            daemon.start()
            assert not lockable(second / "file")
        finally:
            processes[first].send_signal(signal.SIGCONT)
        until(lambda: lockable(second / "other"))  # new locks are given again
        assert not lockable(second / "file")
        holder.stdin.close()
        assert holder.wait(PATIENCE) == 0, "its lock was lost"
    until(lambda: lockable(second / "file"))


def test_an_unmount_without_the_server_says_where_it_keeps_what_is_not_saved(
    mount: Mount, daemon: Daemon, machine: Machine
) -> None:
    path = mount("m", "hard", "lazy_close", "commit=3600")
    (path / "file").write_bytes(b"first")
    sync(path / "file")
    (path / "file").write_bytes(b"second")
    daemon.kill()
    done = machine.run("-u", str(path))
    assert done.returncode == 1
    ((_, kept),) = kept_in(machine.domain.data / RECOVERED)
    assert f"1 changed objects are kept in {kept.directory}" in done.stderr
    assert (Path(kept.directory or "") / "file").read_bytes() == b"second"


def test_a_mount_in_which_a_program_waits_is_busy_and_ends_by_force(
    mount: Mount, daemon: Daemon, machine: Machine, processes: Processes
) -> None:
    path = mount("m", "hard", "lazy_close", "commit=3600")
    (path / "file").write_bytes(b"first")
    sync(path / "file")
    (path / "file").write_bytes(b"second")
    daemon.kill()
    script = "import sys; open(sys.argv[1], 'w')"
    with subprocess.Popen([sys.executable, "-c", script, str(path / "new")], stderr=subprocess.DEVNULL) as waiting:
        until(lambda: is_waiting(waiting.pid))
        done = machine.run("-u", str(path))
        assert done.returncode == 7
        assert f"kill {processes[path].pid}, or: umount -f {path}" in done.stderr
        subprocess.run(["umount", "-f", str(path)], check=False, capture_output=True)
        assert waiting.wait(PATIENCE) != 0
    assert processes[path].wait(PATIENCE) != 0
    ((_, kept),) = kept_in(machine.domain.data / RECOVERED)
    assert (Path(kept.directory or "") / "file").read_bytes() == b"second"
