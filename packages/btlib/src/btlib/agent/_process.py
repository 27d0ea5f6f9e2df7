"""Starting an agent: a process of its own, with its own memory, that outlives the command that started it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import CredentialError
from ..home import make_private_directory
from ..kinds import Kind
from ._client import AgentClient
from ._times import Times

BACKLOG = 64
MAX_PATH = 107  #: bytes of a Unix socket's path on Linux
_KEPT = (
    "BLOCKTREE_HOME",
    "HOME",
    "LANG",
    "LC_ALL",
    "PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)


def start_agent(place: Path, environ: Mapping[str, str], times: Times) -> bool:
    """See to it that an agent listens at `place`; False where one did already. It holds no keys yet.

    The process gets of the environment what finds the home, and no passphrase. Raises CredentialError.
    """
    if len(os.fsencode(place)) > MAX_PATH:
        raise CredentialError(
            f"the agent's socket cannot be {place}: its path has more than {MAX_PATH} bytes",
            kind=Kind.INVALID,
            hint="set XDG_RUNTIME_DIR to a shorter directory, or BLOCKTREE_HOME",
        )
    make_private_directory(place.parent)
    with _alone(place):
        if AgentClient(place).listens():
            return False
        place.unlink(missing_ok=True)
        with _listen(place) as listener:
            _spawn(listener, environ, times)
    return True


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keep two commands from starting two agents."""
    with place.with_suffix(".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _listen(place: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the socket has mode 0600 from its first moment
    try:
        listener.bind(str(place))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _spawn(listener: socket.socket, environ: Mapping[str, str], times: Times) -> None:
    reader, writer = os.pipe()
    words = [sys.executable, "-P", "-m", "btlib.agent", str(times.idle), str(times.longest)]
    with os.fdopen(reader, "rb") as answer:
        try:
            process = subprocess.Popen(
                [*words, str(listener.fileno()), str(writer)],
                env={name: environ[name] for name in _KEPT if name in environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                pass_fds=(listener.fileno(), writer),
            )
        finally:
            os.close(writer)
        status = process.wait()  # its child is the agent
        if answer.read() != b"ready\n":
            raise CredentialError(f"the agent ended at once, with status {status}", kind=Kind.INTERNAL)
