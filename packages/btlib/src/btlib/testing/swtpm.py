"""`SoftwareTpm`: a real TPM 2.0 in a process of its own (`swtpm`), for tests of what keeps keys in a chip.

    with SoftwareTpm(tmp_path / "tpm") as tpm:
        store = TpmCredentialStore(tmp_path / "credentials", tcti=tpm.tcti)

It listens on two neighbouring loopback ports, keeps its state in a directory of its own, so that it can be killed and
started again, and is ended by its process id. Needs the program `swtpm`; the client's library is not imported here.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType

_HOST = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000  #: below what the system gives to clients
_TRIES = 50
_PAUSE = 0.02  #: seconds between two looks whether it listens


class SoftwareTpm:
    """One chip. `start` after `kill` is the same chip again."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @staticmethod
    def available() -> bool:
        """Whether the program is installed."""
        return shutil.which("swtpm") is not None

    @property
    def tcti(self) -> str:
        """How clients reach it."""
        return f"swtpm:host={_HOST},port={self.port}"

    def start(self) -> None:
        """Start it, at the ports it had before if there were any."""
        self._state.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            port = self.port or _LOWEST + 2 * secrets.randbelow((_HIGHEST - _LOWEST) // 2)
            if self._start_at(port):
                self.port = port
                return
        raise RuntimeError(f"swtpm did not start in {_TRIES} tries")

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start_at(self, port: int) -> bool:
        words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._state}"]
        words += ["--server", f"type=tcp,port={port}", "--ctrl", f"type=tcp,port={port + 1}"]
        words += ["--flags", "not-need-init,startup-clear", "--log", f"file={self._state / 'log'}"]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError), socket.create_connection((_HOST, port + 1)):
                self._process = process
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PAUSE)
                return False

    def __enter__(self) -> SoftwareTpm:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
