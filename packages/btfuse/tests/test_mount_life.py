"""How mounts begin and end: signals, kills, stale mounts, open files, symlinks and locks with real processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest
from btfuse._errors import FuseError
from btfuse._mountpoint import check_mountpoint, find_mount, is_stale, unmount, unmount_and_wait
from btlib.kinds import Kind

pytestmark = pytest.mark.mount


class Machine(Protocol):
    """What `conftest` gives."""

    mountpoint: Path

    def mount(self, *words: str) -> subprocess.CompletedProcess[str]: ...


class Mounted(Protocol):
    """What `conftest` gives: a module of its own would be imported twice."""

    path: Path
    process: subprocess.Popen[str]

    def log(self) -> str: ...


Mounter = Callable[..., AbstractContextManager[Mounted]]

PATIENCE = 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts_and_ends_well(mounter: Mounter, tmp_path: Path, number: signal.Signals) -> None:
    with mounter(tmp_path / "m") as mount:
        (mount.path / "file").write_text("x")
        mount.process.send_signal(number)
        assert mount.process.wait(PATIENCE) == 0
        assert find_mount(str(mount.path)) is None
        assert list(mount.path.iterdir()) == []


def test_a_signal_ends_a_mount_whose_files_are_open(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m") as mount:
        descriptor = os.open(mount.path / "file", os.O_WRONLY | os.O_CREAT)
        try:
            mount.process.terminate()
            assert mount.process.wait(PATIENCE) == 0
            assert find_mount(str(mount.path)) is None
            with pytest.raises(OSError, match=r"not connected|abort"):
                os.write(descriptor, b"x")
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def test_an_unmount_waits_for_the_end_of_the_daemon(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m") as mount:
        unmount_and_wait(str(mount.path))
        assert mount.process.poll() is not None or mount.process.wait(1) == 0


def test_an_unmount_under_open_files_is_refused_and_says_how_to_see_them(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m") as mount, (mount.path / "file").open("w"):
        with pytest.raises(FuseError, match="fuser -vm") as caught:
            unmount_and_wait(str(mount.path))
        assert caught.value.kind is Kind.BUSY
        assert (mount.path / "file").exists()


def test_what_a_kill_leaves_is_stale_and_mended_at_the_next_start(mounter: Mounter, tmp_path: Path) -> None:
    path = tmp_path / "m"
    with mounter(path) as mount:
        mount.process.kill()
        mount.process.wait(PATIENCE)
        assert is_stale(str(path))
        assert find_mount(str(path)) is not None
        assert check_mountpoint(str(path)) == str(path)
        assert not is_stale(str(path))
        with mounter(path) as again:
            (again.path / "file").write_text("works")


def test_a_stale_mount_of_another_program_is_left_alone(mounter: Mounter, tmp_path: Path) -> None:
    path = tmp_path / "m"
    with mounter(path, "subtype=other") as mount:
        mount.process.kill()
        mount.process.wait(PATIENCE)
        with pytest.raises(FuseError, match="broken mount of fuse"):
            check_mountpoint(str(path))
        assert is_stale(str(path))


def test_a_used_mount_point_is_refused_and_named(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m") as mount:
        with pytest.raises(FuseError, match="is in use: memory is mounted there") as caught:
            check_mountpoint(str(mount.path))
        assert caught.value.kind is Kind.BUSY


def test_mounts_are_always_nosuid_and_nodev(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m") as mount:
        line = next(line for line in Path("/proc/self/mounts").read_text().splitlines() if str(mount.path) in line)
        assert {"nosuid", "nodev", "default_permissions"} <= set(line.split()[3].split(","))


def test_symlinks_are_contained_as_they_are_moved(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m") as mount:
        (mount.path / "d").mkdir()
        (mount.path / "d/file").write_text("inside")
        (mount.path / "d/up").symlink_to("../d/file")
        (mount.path / "absolute").symlink_to("/etc/hostname")
        assert (mount.path / "d/up").read_text() == "inside"
        assert (mount.path / "absolute").readlink() == Path("/etc/hostname")
        os.link(mount.path / "d/up", mount.path / "elsewhere", follow_symlinks=False)


def test_symlinks_may_be_given_as_written(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m", "symlinks=as-written") as mount:
        (mount.path / "link").symlink_to("/etc/passwd")
        assert (mount.path / "link").read_text().startswith("root:")


def test_locks_of_a_shared_mount_exclude_and_wait(mounter: Mounter, tmp_path: Path) -> None:
    code = "import fcntl,sys; f=open(sys.argv[1],'r+'); print('asking', flush=True); fcntl.lockf(f, fcntl.LOCK_EX)"
    with mounter(tmp_path / "m", "shared", "locks", "threads=3") as mount:
        path = mount.path / "file"
        path.touch()
        with path.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            waiter = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
            with waiter:
                assert waiter.stdout is not None
                assert waiter.stdout.readline() == "asking\n"
                assert waiter.poll() is None
                fcntl.lockf(file, fcntl.LOCK_UN)
                assert waiter.wait(PATIENCE) == 0


def test_a_killed_waiter_leaves_no_lock(mounter: Mounter, tmp_path: Path) -> None:
    code = "import fcntl,sys; f=open(sys.argv[1],'r+'); print('asking', flush=True); fcntl.flock(f, fcntl.LOCK_EX)"
    with mounter(tmp_path / "m", "shared", "locks") as mount:
        path = mount.path / "file"
        path.touch()
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as waiter:
                assert waiter.stdout is not None
                waiter.stdout.readline()
                waiter.kill()
                assert waiter.wait(PATIENCE) == -signal.SIGKILL
            fcntl.flock(file, fcntl.LOCK_UN)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_several_threads_serve_several_processes(mounter: Mounter, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib as p\nd=p.Path(sys.argv[1]); d.mkdir()\nfor i in range(300): (d/str(i)).write_text(str(i))"
    )
    with mounter(tmp_path / "m", "shared", "threads=4") as mount:
        writers = [subprocess.Popen([sys.executable, "-c", code, str(mount.path / str(n))]) for n in range(3)]
        assert [writer.wait(PATIENCE) for writer in writers] == [0, 0, 0]
        for number in range(3):
            found = {file.name: file.read_text() for file in (mount.path / str(number)).iterdir()}
            assert found == {str(i): str(i) for i in range(300)}


def test_an_unmount_by_anybody_ends_the_daemon(mounter: Mounter, tmp_path: Path) -> None:
    with mounter(tmp_path / "m") as mount:
        unmount(str(mount.path))
        assert mount.process.wait(PATIENCE) == 0


def test_data_behind_a_hole_of_eight_tebibytes_is_found(machine: Machine) -> None:
    assert machine.mount().returncode == 0
    size = 2**43
    with (machine.mountpoint / "sparse").open("wb", buffering=0) as file:
        os.pwrite(file.fileno(), b"x", size - 1)
        os.fsync(file.fileno())
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == size - 4096
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 0
