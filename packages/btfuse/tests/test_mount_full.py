"""Mounts over a store on a device that is really full, a tmpfs of some MiB: alone, end-to-end and thin."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from btfproto.store import EmbeddedStore
from btlib.home import Domain

pytestmark = pytest.mark.mount

MIB = 2**20
SIZE = 24 * MIB
PATIENCE = 30
MODES = ["alone", "end-to-end", "thin"]


class Machine(Protocol):
    """What `conftest` gives."""

    domain: Domain
    mountpoint: Path

    def environment(self, **changes: str) -> dict[str, str]: ...
    def run(self, *words: str) -> subprocess.CompletedProcess[str]: ...
    def foreground(
        self, *words: str, at: Path | None = None, **changes: str
    ) -> AbstractContextManager[subprocess.Popen[str]]: ...


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def device(machine: Machine) -> Iterator[Path]:
    """A small one, which the store of the machine is moved to; its pins and the rest stay where they are."""
    assert machine.domain.store is not None
    store = machine.domain.store
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(store, aside, dirs_exist_ok=True)
        shutil.rmtree(store)
        store.mkdir(0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(store)], check=True)
        try:
            for path in Path(aside).iterdir():
                if path.name == "reserve":
                    continue  # it is of another size here
                shutil.copytree(path, store / path.name) if path.is_dir() else shutil.copy2(path, store / path.name)
            yield store
        finally:
            subprocess.run(["umount", "-l", str(store)], check=True)


@contextlib.contextmanager
def daemon(machine: Machine) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    words = [sys.executable, "-m", "btfsd", "--domain", "home", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(words, env=machine.environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: _listens(process, port))
            assert process.stderr is not None
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _listens(process: subprocess.Popen[str], port: int) -> bool:
    assert process.poll() is None, process.communicate()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def mounted(machine: Machine, mode: str) -> Iterator[Path]:
    with ExitStack() as stack:
        options = []
        if mode != "alone":
            port = stack.enter_context(daemon(machine))
            options = ["-o", ",".join([f"server=127.0.0.1:{port}", *(["thin"] if mode == "thin" else [])])]
        process = stack.enter_context(machine.foreground(*options))
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "is mounted" in line, line
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield machine.mountpoint
        assert process.poll() is None, "the mount ended"


def write(path: Path, content: bytes) -> None:
    """Durably."""
    with path.open("wb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())


def fill(top: Path) -> dict[str, bytes]:
    """Files until there is no room; what was acknowledged as durable."""
    kept: dict[str, bytes] = {}
    for number in range(100_000):
        content = os.urandom(60_000)
        try:
            write(top / f"f{number}", content)
        except OSError as error:
            kinds = {error.errno}
            (top / f"f{number}").unlink(missing_ok=True)
            break
        kept[f"f{number}"] = content
    assert kinds == {errno.ENOSPC}
    return kept


def take_the_rest(device: Path) -> None:
    """Another program's file takes all that is left."""
    with contextlib.suppress(OSError), (device / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def available(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def read_all(top: Path, kept: dict[str, bytes]) -> None:
    assert [name for name, content in kept.items() if (top / name).read_bytes() != content] == []


def fits(path: Path, content: bytes) -> bool:
    try:
        write(path, content)
    except OSError as error:
        return error.errno != errno.ENOSPC
    return True


def write_on(file: io.FileIO) -> None:
    for _ in range(2 * SIZE // MIB):
        file.write(os.urandom(MIB))


@pytest.mark.parametrize("mode", MODES)
def test_a_full_device_refuses_what_takes_room_and_deleting_gives_it_back_without_a_restart(
    machine: Machine, device: Path, mode: str
) -> None:
    with mounted(machine, mode) as top:
        kept = fill(top)
        assert len(kept) > 100
        take_the_rest(device)
        assert available(top) < 256 * 1024
        assert not fits(top / "more", os.urandom(2 * MIB))
        (top / "more").unlink(missing_ok=True)
        read_all(top, kept)
        for number in range(0, len(kept), 2):
            (top / f"f{number}").unlink()
            del kept[f"f{number}"]
        sync(top)
        until(lambda: available(top) > MIB)
        for number in range(30):
            until(partial(fits, top / f"g{number}", b"g" * 60_000))
            kept[f"g{number}"] = b"g" * 60_000
        read_all(top, kept)
    with mounted(machine, mode) as top:
        read_all(top, kept)
        assert sorted(path.name for path in top.iterdir()) == sorted(kept)


def test_a_mount_is_made_and_read_on_a_device_without_a_free_byte(machine: Machine, device: Path) -> None:
    with mounted(machine, "alone") as top:
        kept = fill(top)
    take_the_rest(device)
    assert shutil.disk_usage(device).free == 0
    with mounted(machine, "alone") as top:
        read_all(top, kept)
        for number in range(20):
            (top / f"f{number}").unlink()
            del kept[f"f{number}"]
        sync(top)
    assert machine.domain.store is not None
    store = EmbeddedStore(machine.domain.store)
    assert list(store.scrub()) == []
    store.close()
    with mounted(machine, "alone") as top:
        read_all(top, kept)


def test_a_program_is_told_when_it_writes_and_not_only_when_it_syncs(machine: Machine, device: Path) -> None:
    with mounted(machine, "alone") as top:
        with (top / "large").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left") as refused:
            write_on(file)
        assert refused.value.errno == errno.ENOSPC
        (top / "large").unlink()
        sync(top)
        until(lambda: available(top) > SIZE // 2)
        write(top / "small", b"small")
        assert (top / "small").read_bytes() == b"small"
