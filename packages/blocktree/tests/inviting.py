"""`bt invite` as a process of its own, for tests: it waits while `bt join` runs beside it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .conftest import COMMAND_SECONDS, Done, Machine


@dataclass
class Inviting:
    """An invitation that is under way, or over."""

    process: subprocess.Popen[str]
    shown: list[str] = field(default_factory=list)  #: what it said before it waited
    code: str = ""

    def end(self, code: int = 0) -> Done:
        """Wait until it is over; the exit code has to be the expected one."""
        out, err = self.process.communicate(timeout=COMMAND_SECONDS)
        done = Done(self.process.returncode, "".join(self.shown) + out, err)
        assert done.code == code, done
        return done

    def wrong_code(self) -> str:
        """The code with another last word, for the same place."""
        spoken, _, place = self.code.partition("@")
        words = spoken.split("-")
        words[-1] = "zebra" if words[-1] != "zebra" else "zero"
        return f"{'-'.join(words)}@{place}"


@contextmanager
def inviting(machine: Machine, *words: str | Path, **environment: str) -> Iterator[Inviting]:
    """An invitation on loopback, whose code is known already. It is ended if it is not over by itself."""
    command = [sys.executable, "-m", "blocktree", "invite", "--listen", "127.0.0.1:0", *map(str, words)]
    with subprocess.Popen(
        command,
        env=machine.environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        found = Inviting(process)
        stream = process.stderr if "--json" in words else process.stdout
        assert stream is not None
        try:
            for line in stream:
                found.shown.append(line)
                if line.startswith("  bt join "):
                    found.code = line.split()[2]
                if "Waiting" in line:
                    break
            yield found
        finally:
            if process.poll() is None:
                process.kill()


def connect(code: str) -> socket.socket:
    """A connection to whoever invites by a code."""
    host, _, port = code.partition("@")[2].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)
