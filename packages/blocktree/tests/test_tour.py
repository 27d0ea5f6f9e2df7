"""The tour runs as it stands: every command of `docs/tour.md`, in its order, with other paths and ports.

What waits for somebody (`btfsd`, `bt invite`) runs beside the rest, as in the terminals of its own that the tour asks
for. Passphrases come from the environment, and answers to questions are yes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .conftest import PASSPHRASE
from .serving import free_port, listening

TOUR = Path(__file__).resolve().parents[3] / "docs" / "tour.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 60
REFUSED = 5
EXAMPLE_CODE = re.compile(r"lemon-rocket-absorb-winter@\S+")


class Shell:
    """One shell, in which a reader types block by block."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, block: str) -> tuple[int, str]:
        """The exit code of the last command, or of the first that fails, and what was said."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("status=0\n")
        for line in block.splitlines():
            stdin.write(f"[ $status != 0 ] || {{ {line}\nstatus=$?; }}\n")
        stdin.write("echo; echo end-of-block $status\n")
        stdin.flush()
        said = ""
        for line in stdout:
            if line.startswith("end-of-block"):
                return int(line.split()[1]), said
            said += line
        raise AssertionError(said)


@contextmanager
def shell(environment: dict[str, str], top: Path) -> Iterator[Shell]:
    command = ["bash", "--noprofile", "--norc"]
    with subprocess.Popen(
        command,
        env=environment,
        cwd=top,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Shell(process)
        finally:
            process.kill()


@contextmanager
def beside(command: str, environment: dict[str, str], top: Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a terminal of its own."""
    words = ["bash", "-c", f"exec env {command}"]
    with subprocess.Popen(
        words, env=environment, cwd=top, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(SECONDS)


def shown_code(invitation: subprocess.Popen[str]) -> str:
    assert invitation.stdout is not None
    for line in invitation.stdout:
        if line.startswith("  bt join "):
            return line.split()[2]
    raise AssertionError("no code was shown")


def adapted(block: str, top: Path, port: int, code: str) -> str:
    """What a reader would type with nobody to ask, in another directory."""
    block = "\n".join(line for line in block.splitlines() if not line.startswith("pipx "))
    block = block.replace("/tmp/tour", str(top)).replace("127.0.0.1:4433", f"127.0.0.1:{port}")
    block = block.replace("mkdir " + str(top) + " &&", "").replace("bt init home", "bt init home --no-input")
    block = re.sub(r"(bt enroll (?:sign|accept) \S+)", r"\1 --yes", block)
    return EXAMPLE_CODE.sub(code, block)


@pytest.mark.mount
@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse")
def test_the_tour_runs(homes: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKTREE_")}
    (homes / "Pictures").mkdir()
    (homes / "Pictures" / "tree.jpg").write_bytes(b"a tree")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**kept, "BLOCKTREE_PASSPHRASE": PASSPHRASE, "HOME": str(homes), "PATH": path}
    top, port, code = homes / "t", free_port(), ""
    top.mkdir()
    done = set()
    with ExitStack() as stack:
        user = stack.enter_context(shell(environment, top))
        for found in BLOCK.findall(TOUR.read_text(encoding="utf-8")):
            block = adapted(found, top, port, code)
            done |= {word for word in ("invite", "join", "request", "sign", "accept", "grant") if f" {word} " in block}
            if "btfsd " in block:
                server = stack.enter_context(beside(block, environment, top))
                while not listening(port):
                    assert server.poll() is None
                    time.sleep(0.02)
            elif "bt invite " in block:
                code = shown_code(stack.enter_context(beside(block, environment, top)))
            elif "rm -r" not in block:
                status, said = user.run(block)
                wanted = REFUSED if "# refused" in block else 1 if "# nothing" in block else 0
                assert status == wanted, (block, said)
    assert done == {"invite", "join", "request", "sign", "accept", "grant"}
