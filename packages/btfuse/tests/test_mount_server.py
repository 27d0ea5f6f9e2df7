"""Mounts end-to-end and thin, over a server in the test's own process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from btfproto.domain import DomainReader
from btfproto.localfs import FsOptions
from btfproto.opening import FILES_SERVICE, STORE_SERVICE
from btfproto.remote import FsServer, VolumeAttacher
from btfproto.store import EmbeddedStore
from btfproto.store.check import CommitChecker
from btfproto.store.remote import StoreServer
from btlib.credentials import FileCredentialStore
from btlib.home import Domain
from bttp import RootPolicy, Router
from bttp.blocking import serve

pytestmark = pytest.mark.mount

PASSPHRASE = "correct horse"
PATIENCE = 30
THIN = ("thin",)
END_TO_END = ()


class Machine(Protocol):
    """What `conftest` gives."""

    mountpoint: Path
    domain: Domain

    def foreground(
        self, *words: str, at: Path | None = None, **changes: str
    ) -> AbstractContextManager[subprocess.Popen[str]]: ...


@contextlib.contextmanager
def served(domain: Domain) -> Iterator[str]:
    """The domain's store and files on a port of their own, as btfsd would serve them."""
    assert domain.store is not None
    identity = FileCredentialStore(domain.credentials_file).unlock(PASSPHRASE)
    router = Router()
    with ExitStack() as stack:
        store = EmbeddedStore(domain.store, program="test")
        stack.callback(store.close)
        reader = DomainReader(store, domain.root)
        stores = StoreServer(store, CommitChecker(store, reader, domain.root, time.time))
        attacher = VolumeAttacher(stores.store, identity, options=FsOptions(shared=True, commit_interval=1.0))
        stack.callback(attacher.close)
        files = FsServer(attacher)
        stack.callback(files.close)
        stores.add_to(router, domain.server_path.child(STORE_SERVICE))
        files.add_to(router, domain.server_path.child(FILES_SERVICE))
        server = stack.enter_context(serve(["127.0.0.1:0"], identity, router, policy=RootPolicy([domain.root])))
        stack.callback(files.drain)
        stack.callback(stores.drain)
        yield str(server.endpoints[0])


Mount = Callable[..., Path]


@pytest.fixture
def mount(machine: Machine, tmp_path: Path) -> Iterator[Mount]:
    """Makes mounts of the domain through the server: `mount("a", *THIN)`."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(served(machine.domain))

        def make(name: str, *options: str) -> Path:
            path = tmp_path / name
            path.mkdir()
            words = ",".join([f"server={endpoint}", *options])
            process = stack.enter_context(machine.foreground("-o", words, at=path))
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "is mounted" in line, line
            return path

        yield make


@pytest.mark.parametrize("first", [END_TO_END, THIN])
@pytest.mark.parametrize("second", [END_TO_END, THIN])
def test_what_one_client_closed_another_opens(mount: Mount, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    here, there = mount("here", *first), mount("there", *second)
    (here / "d").mkdir()
    (here / "d/file").write_bytes(b"first" * 10_000)
    until(lambda: (there / "d/file").exists())
    assert (there / "d/file").read_bytes() == b"first" * 10_000
    (there / "d/file").write_bytes(b"second")
    until(lambda: (here / "d/file").stat().st_size == 6)
    assert (here / "d/file").read_bytes() == b"second"
    (here / "d/file").rename(here / "moved")
    until(lambda: (there / "moved").exists() and not (there / "d/file").exists())


def until(condition: Callable[[], bool]) -> None:
    """A kernel may remember names and sizes for a second; this waits for it, not for us."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_link_that_another_client_planted_is_refused(mount: Mount) -> None:
    here, there = mount("here", *THIN), mount("there", *END_TO_END)
    (here / "link").symlink_to("/etc/hostname")
    (here / "fine").symlink_to("target")
    (here / "target").write_text("inside")
    assert (here / "link").readlink() == Path("/etc/hostname")
    until(lambda: os.path.lexists(there / "link") and (there / "target").exists())
    with pytest.raises(OSError, match="not permitted") as caught:
        (there / "link").readlink()
    assert caught.value.errno == errno.EPERM
    assert (there / "fine").read_text() == "inside"


@pytest.mark.parametrize("first", [END_TO_END, THIN])
@pytest.mark.parametrize("second", [END_TO_END, THIN])
def test_clients_exclude_each_other_by_locks(mount: Mount, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    code = "import fcntl,sys; f=open(sys.argv[1],'r+'); print('asking', flush=True); fcntl.lockf(f, fcntl.LOCK_EX)"
    here, there = mount("here", *first), mount("there", *second)
    (here / "file").touch()
    until(lambda: (there / "file").exists())
    with (here / "file").open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        command = [sys.executable, "-c", code, str(there / "file")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiter:
            assert waiter.stdout is not None
            assert waiter.stdout.readline() == "asking\n"
            assert waiter.poll() is None
            fcntl.lockf(file, fcntl.LOCK_UN)
            assert waiter.wait(PATIENCE) == 0


def test_flock_and_ranges_hold_between_end_to_end_mounts(mount: Mount) -> None:
    here, there = mount("here"), mount("there")
    (here / "file").write_bytes(b"content")
    until(lambda: (there / "file").exists())
    with (here / "file").open("r+") as mine, (there / "file").open("r+") as theirs:
        fcntl.flock(mine, fcntl.LOCK_SH)
        fcntl.flock(theirs, fcntl.LOCK_SH)
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(mine, fcntl.LOCK_UN)
        fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(theirs, fcntl.LOCK_UN)
    with (here / "file").open("r+") as mine, (there / "file").open("r+") as theirs:
        fcntl.lockf(mine, fcntl.LOCK_EX, 3, 0)
        fcntl.lockf(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 3)
        with pytest.raises(BlockingIOError):
            fcntl.lockf(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 2)


@pytest.mark.parametrize("options", [END_TO_END, THIN])
def test_everyday_work_goes_through_a_server(mount: Mount, options: tuple[str, ...]) -> None:
    path = mount("m", *options)
    for number in range(100):
        (path / f"file{number}").write_text(str(number))
    (path / "file0").unlink()
    os.link(path / "file1", path / "again")
    os.setxattr(path / "file1", "user.a", b"b")
    os.truncate(path / "file2", 100)
    (path / "file3").rename(path / "file4")
    assert sorted(entry.name for entry in path.iterdir())[:2] == ["again", "file1"]
    assert (path / "again").stat().st_nlink == 2
    assert (path / "file2").read_bytes() == b"2" + bytes(99)
    assert (path / "file4").read_text() == "3"
    assert len(list(path.iterdir())) == 99
