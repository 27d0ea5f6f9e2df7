"""`bt` at a terminal, for tests: a real pseudo-terminal with somebody who types."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable, Sequence

from .conftest import Machine

SECONDS = 60
Answer = str | Callable[[str], str]  #: what is typed, or how it follows from the screen


def type_at_terminal(machine: Machine, words: list[str], answers: Sequence[tuple[str, Answer]]) -> tuple[int, str]:
    """Run `bt` at a terminal; type each answer when its question has appeared. Gives exit code and screen."""
    controller, terminal = pty.openpty()
    environment = machine.environment()
    del environment["BLOCKTREE_PASSPHRASE"]
    process = subprocess.Popen(
        [sys.executable, "-m", "blocktree", *words],
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    screen, waiting = "", list(answers)
    try:
        while chunk := read_some(controller):
            screen += chunk
            if waiting and waiting[0][0] in screen.rpartition("\n")[2]:
                answer = waiting.pop(0)[1]
                os.write(controller, (answer if isinstance(answer, str) else answer(screen)).encode() + b"\n")
                screen += "\n"
        return process.wait(timeout=SECONDS), screen
    finally:
        os.close(controller)
        process.kill()
        process.wait()


def read_some(descriptor: int) -> str:
    ready, _, _ = select.select([descriptor], [], [], SECONDS)
    assert ready, "the command says nothing more and does not end"
    try:
        return os.read(descriptor, 4096).decode()
    except OSError:  # what Linux answers when the other side of a terminal is closed
        return ""
