"""`fs-remote`: an end-to-end mount over loopback TLS against sshfs, and against gocryptfs on top of sshfs.

    python -m tests.bench --only fs-remote

Ours is a `btfsd` without the keys' use, and a mount that talks to it by TLS over TCP; theirs is an `sshd` of our own,
with its own keys and configuration, ended with the run. All bytes lie below BENCH_FS_DIR (default `/dev/shm`). The jobs
are those of `fs-local`; BENCH_FS_JOBS (comma-separated) restricts to some.

The contenders run as they are without options, with two consequences that flatter sshfs: it makes nothing durable,
where a close of ours waits until the server has committed; and it believes what it saw of others' files for 20 seconds,
where ours asks again after one. A second mount of ours, of a server of its own, has `lazy_close`: a close waits for
nothing, as that of sshfs. Each of ours is compared with each peer. BENCH_FS_OPTIONS gives both more mount options.

Needs root, /dev/fuse, fio, git and tar, and for the peers sshfs, openssh-server and gocryptfs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.fs_contenders import (
    MEMORY,
    MOUNT_SECONDS,
    Command,
    Contender,
    btfuse,
    compete,
    gocryptfs,
    installed,
    made_domain,
    mounted,
    place,
    results,
    running,
    unfit,
    wanted_jobs,
)
from tests.bench.fs_jobs import make_material
from tests.bench.harness import Result

NAME = "fs-remote"
#: Debian has it where only root's PATH looks.
_SSHD_PATHS = "/usr/sbin:/usr/local/sbin:/usr/bin"
#: sshd insists that this exists; its package makes it when the service is started, which we do not do.
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_LAZY_CLOSE = "lazy_close"  #: our mount option: a close waits for nothing durable
_ON_SSHFS = "gocryptfs on sshfs"
_PROGRAMS = {"sshfs": "sshfs", _ON_SSHFS: "gocryptfs"}


def run(rounds: int) -> list[Result]:
    if unfit(NAME):
        return []
    with tempfile.TemporaryDirectory(prefix="fs-remote-", dir=place()) as text, contextlib.ExitStack() as stack:
        directory = Path(text)
        material = make_material(directory / "material")
        ours = {
            NAME: stack.enter_context(_ours("btfuse", directory / "ours")),
            f"{NAME}, {_LAZY_CLOSE}": stack.enter_context(_ours(_LAZY_CLOSE, directory / _LAZY_CLOSE, _LAZY_CLOSE)),
        }
        peers = _peers(directory, stack)
        contenders = [*ours.values(), *peers]
        for job in wanted_jobs():
            compete(NAME, job, contenders, material, rounds)
        for contender in contenders:
            contender.figures[MEMORY] = [contender.peak_mib()]
        return [result for name, mount in ours.items() for result in results(name, [mount, *peers])]


@contextlib.contextmanager
def _ours(name: str, directory: Path, *options: str) -> Iterator[Contender]:
    directory.mkdir()
    environment, port = made_domain(directory), _free_port()
    server = [sys.executable, "-m", "btfsd", "--domain", "bench", "--listen", f"127.0.0.1:{port}"]
    mountpoint = directory / "mnt"
    asked = [option for option in os.environ.get("BENCH_FS_OPTIONS", "").split(",") if option]
    command = btfuse(environment, mountpoint, f"server=127.0.0.1:{port}", *options, *asked)
    with running(server, environment) as process:
        _wait_for_port(process, port)
        with mounted(name, command, mountpoint) as contender:
            yield contender


def _peers(directory: Path, stack: contextlib.ExitStack) -> list[Contender]:
    names = installed(NAME, _PROGRAMS)
    if shutil.which("sshd", path=_SSHD_PATHS) is None or "sshfs" not in names:
        print(f"{NAME}: sshfs needs the Debian packages sshfs and openssh-server: left out", file=sys.stderr)
        return []
    port = stack.enter_context(_sshd(directory / "ssh"))
    peers = [stack.enter_context(_sshfs("sshfs", directory / "sshfs", directory / "ssh", port))]
    if _ON_SSHFS in names:
        below = stack.enter_context(_sshfs("below gocryptfs", directory / "below", directory / "ssh", port))
        mountpoint = directory / "gocryptfs"
        peers.append(stack.enter_context(mounted(_ON_SSHFS, gocryptfs(below.mountpoint, mountpoint), mountpoint)))
    return peers


@contextlib.contextmanager
def _sshd(directory: Path) -> Iterator[int]:
    """An sshd on loopback that lets in who has the one key in the directory; its port."""
    directory.mkdir(mode=0o700)
    port = _free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    shutil.copy(directory / "user.pub", directory / "authorized")
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",  # the directory's parent is anybody's
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "Subsystem": "sftp internal-sftp",
    }
    configuration = directory / "sshd_config"
    configuration.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    program = shutil.which("sshd", path=_SSHD_PATHS)
    assert program is not None
    with running([program, "-D", "-f", str(configuration)], dict(os.environ)) as process:
        _wait_for_port(process, port)
        yield port


@contextlib.contextmanager
def _sshfs(name: str, directory: Path, keys: Path, port: int) -> Iterator[Contender]:
    store, mountpoint = directory / "store", directory / "mnt"
    store.mkdir(parents=True)
    options = f"IdentityFile={keys / 'user'},UserKnownHostsFile={keys / 'known'},StrictHostKeyChecking=accept-new"
    words = ["sshfs", "-f", "-F", "/dev/null", "-p", str(port), "-o", options, f"root@127.0.0.1:{store}"]
    command: Command = [*words, str(mountpoint)], dict(os.environ), b""
    with mounted(name, command, mountpoint) as contender:
        yield contender


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + MOUNT_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not listen")
        time.sleep(0.05)
