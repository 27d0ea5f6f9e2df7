"""The command itself, over a real home and an embedded store: mounting, unmounting, and every refusal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest
from btfuse._mountpoint import find_mount
from btlib.exits import ExitCode
from btlib.home import Domain

PASSPHRASE = "correct horse"
PATIENCE = 30


class Machine(Protocol):
    """What `conftest` gives: a module of its own would be imported twice."""

    home: Path
    mountpoint: Path
    domain: Domain

    def run(self, *words: str, program: str | None = None, **changes: str) -> subprocess.CompletedProcess[str]: ...
    def mount(self, *words: str) -> subprocess.CompletedProcess[str]: ...
    def unmount(self) -> subprocess.CompletedProcess[str]: ...
    def foreground(self, *words: str, **changes: str) -> AbstractContextManager[subprocess.Popen[str]]: ...


def assert_refused(done: subprocess.CompletedProcess[str], code: ExitCode, *words: str) -> None:
    """One line, the reason and the next step in it, no traceback, the documented exit code."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for word in ("btfuse: ", *words):
        assert word in lines[0]


@pytest.mark.mount
@pytest.mark.parametrize("binding", ["mfusepy", "fusepy"])
def test_the_parent_returns_when_the_mount_is_usable_and_files_survive(machine: Machine, binding: str) -> None:
    done = machine.mount("-o", f"binding={binding}")
    assert (done.returncode, done.stderr) == (0, "")
    (machine.mountpoint / "d").mkdir()
    (machine.mountpoint / "d/file").write_bytes(b"content" * 10_000)
    assert machine.unmount().returncode == 0
    assert list(machine.mountpoint.iterdir()) == []
    assert machine.mount().returncode == 0
    assert (machine.mountpoint / "d/file").read_bytes() == b"content" * 10_000


@pytest.mark.mount
def test_a_directory_below_the_root_is_mounted_by_petname_or_principal(machine: Machine) -> None:
    assert machine.mount().returncode == 0
    (machine.mountpoint / "photos").mkdir()
    (machine.mountpoint / "photos/cat").write_text("meow")
    assert machine.unmount().returncode == 0
    for source in ("home:/photos", f"/{machine.domain.root}/photos"):
        assert machine.run(source, str(machine.mountpoint)).returncode == 0
        assert (machine.mountpoint / "cat").read_text() == "meow"
        assert machine.unmount().returncode == 0


@pytest.mark.mount
def test_what_was_synced_survives_a_kill_and_the_next_start_mends_the_mount(machine: Machine) -> None:
    with machine.foreground() as process:
        assert process.stderr is not None
        assert "is mounted" in process.stderr.readline()
        with (machine.mountpoint / "file").open("wb") as file:
            file.write(b"synced")
            file.flush()
            os.fsync(file.fileno())
        process.kill()
        process.wait(PATIENCE)
        assert find_mount(str(machine.mountpoint)) is not None
        assert machine.mount().returncode == 0
        assert (machine.mountpoint / "file").read_bytes() == b"synced"


@pytest.mark.mount
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_commits_and_unmounts(machine: Machine, number: signal.Signals) -> None:
    with machine.foreground() as process:
        assert process.stderr is not None
        assert "is mounted" in process.stderr.readline()
        (machine.mountpoint / "file").write_text("not synced")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert "everything is committed" in process.stderr.read()
    assert machine.mount().returncode == 0
    assert (machine.mountpoint / "file").read_text() == "not synced"


@pytest.mark.mount
def test_a_service_manager_is_told_when_the_mount_is_usable(machine: Machine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        with machine.foreground(NOTIFY_SOCKET=str(tmp_path / "notify")):
            assert manager.recv(100) == b"READY=1"
            assert find_mount(str(machine.mountpoint)) is not None


@pytest.mark.mount
def test_mount_may_call_it_as_its_helper_with_nearly_no_environment(machine: Machine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    options = f"rw,dev,suid,noauto,user,_netdev,x-systemd.automount,home={machine.home},passphrase_file={secret}"
    words = ("home:/", str(machine.mountpoint), "-n", "-o", options)
    done = machine.run(*words, program="/sbin/mount.fuse.btfuse", BLOCKTREE_HOME="", BLOCKTREE_PASSPHRASE="")
    assert (done.returncode, done.stderr) == (0, "")
    (machine.mountpoint / "file").touch()


@pytest.mark.mount
def test_a_fake_mount_only_looks(machine: Machine) -> None:
    assert machine.run("home:/", str(machine.mountpoint), "-f", program="mount.fuse.btfuse").returncode == 0
    assert find_mount(str(machine.mountpoint)) is None


@pytest.mark.mount
def test_a_read_only_mount_refuses_changes(machine: Machine) -> None:
    assert machine.mount("-o", "ro").returncode == 0
    with pytest.raises(OSError, match="Read-only"):
        (machine.mountpoint / "file").touch()


@pytest.mark.mount
def test_a_used_mount_point_and_a_used_store_are_busy(machine: Machine, tmp_path: Path) -> None:
    assert machine.mount().returncode == 0
    assert_refused(machine.mount(), ExitCode.BUSY, "is in use: home:/ is mounted there", "fusermount3 -u")
    (tmp_path / "second").mkdir()
    again = machine.run("home:/", str(tmp_path / "second"))
    assert_refused(again, ExitCode.BUSY, "is in use by btfuse (process ")


@pytest.mark.mount
def test_an_unmount_under_open_files_is_busy(machine: Machine) -> None:
    assert machine.mount().returncode == 0
    with (machine.mountpoint / "file").open("w"):
        assert_refused(machine.unmount(), ExitCode.BUSY, "fuser -vm")


@pytest.mark.mount
def test_a_wrong_passphrase_is_said(machine: Machine) -> None:
    done = machine.run("home:/", str(machine.mountpoint), BLOCKTREE_PASSPHRASE="wrong")
    assert_refused(done, ExitCode.CREDENTIALS, "not the passphrase", "credentials")


@pytest.mark.mount
def test_no_passphrase_and_no_terminal_is_said(machine: Machine) -> None:
    done = machine.run("home:/", str(machine.mountpoint), BLOCKTREE_PASSPHRASE="")
    assert_refused(done, ExitCode.CREDENTIALS, "passphrase is needed", "--passphrase-file")


@pytest.mark.mount
def test_an_open_passphrase_file_is_refused(machine: Machine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSPHRASE)
    secret.chmod(0o644)
    assert_refused(machine.mount("--passphrase-file", str(secret)), ExitCode.USAGE, "chmod 600")


@pytest.mark.mount
def test_an_unknown_petname_is_said_with_those_that_are_known(machine: Machine) -> None:
    done = machine.run("work:/", str(machine.mountpoint))
    assert_refused(done, ExitCode.USAGE, "'work'", "known: home")


@pytest.mark.mount
def test_a_path_that_does_not_exist_is_said(machine: Machine) -> None:
    done = machine.run("home:/absent", str(machine.mountpoint))
    assert_refused(done, ExitCode.FAILURE, "/absent does not exist")


@pytest.mark.mount
def test_a_server_that_is_not_known_or_down_is_said(machine: Machine) -> None:
    assert_refused(machine.mount("--server"), ExitCode.USAGE, "no server is known", "server=HOST:PORT")
    done = machine.mount("-o", "server=127.0.0.1:1")
    assert_refused(done, ExitCode.UNREACHABLE, "127.0.0.1:1", "Connection refused")


@pytest.mark.mount
def test_a_corrupt_configuration_is_said_with_its_file(machine: Machine) -> None:
    machine.domain.settings_file.write_text("format = 1\nroot = 7\n")
    assert_refused(machine.mount(), ExitCode.USAGE, str(machine.domain.settings_file))


@pytest.mark.mount
def test_damaged_credentials_are_said(machine: Machine) -> None:
    content = machine.domain.credentials_file.read_bytes()
    machine.domain.credentials_file.write_bytes(content[: len(content) // 2])
    assert_refused(machine.mount(), ExitCode.INTEGRITY, "credentials is damaged")


@pytest.mark.mount
def test_a_missing_library_is_said_with_what_to_install(machine: Machine) -> None:
    done = machine.run("home:/", str(machine.mountpoint), FUSE_LIBRARY_PATH="/no/such/libfuse.so")
    assert_refused(done, ExitCode.FAILURE, "no FUSE library", "apt-get install fuse3")


@pytest.mark.mount
def test_absent_and_unfit_mount_points_are_said(machine: Machine, tmp_path: Path) -> None:
    assert_refused(machine.run("home:/", str(tmp_path / "no")), ExitCode.FAILURE, "does not exist", "mkdir -p")
    (machine.mountpoint / "file").touch()
    assert_refused(machine.mount(), ExitCode.FAILURE, "is not empty", "-o nonempty")


@pytest.mark.mount
def test_damage_in_the_store_fails_one_file_and_leaves_the_rest(machine: Machine) -> None:
    assert machine.mount().returncode == 0
    (machine.mountpoint / "good").write_bytes(os.urandom(100_000))
    (machine.mountpoint / "bad").write_bytes(b"\xa5" * 2_000_000)
    assert machine.unmount().returncode == 0
    assert machine.domain.store is not None
    _flip_a_byte_of_the_largest_record(machine.domain.store)
    assert machine.mount("-o", f"log={machine.home}/log").returncode == 0
    with pytest.raises(OSError, match="Bad message"):
        (machine.mountpoint / "bad").read_bytes()
    assert len((machine.mountpoint / "good").read_bytes()) == 100_000
    assert "read of /bad" in (machine.home / "log").read_text()


def _flip_a_byte_of_the_largest_record(store: Path) -> None:
    segment = max(store.rglob("*.seg"), key=lambda path: path.stat().st_size)
    with segment.open("r+b") as file:
        file.seek(segment.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.mount
def test_what_nobody_may_execute_root_may_not_either(machine: Machine) -> None:
    """Without `default_permissions`, which a mount that root makes for itself does without."""
    assert machine.mount().returncode == 0
    try:
        program = machine.mountpoint / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o644)
        assert not os.access(program, os.X_OK)
        with pytest.raises(PermissionError):
            subprocess.run([program], check=False)
        program.chmod(0o744)
        assert os.access(program, os.X_OK)
        assert subprocess.run([program], check=False).returncode == 0
    finally:
        machine.unmount()
