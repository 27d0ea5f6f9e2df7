"""Asking the person at the terminal. Everything asked here can be given otherwise, for scripts."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from btlib.home import find_passphrase
from btlib.kinds import Kind

from .errors import CommandError
from .output import remark

TRIES = 3  #: for things typed twice or typed back
ANSWER = "answer at a terminal, or by the options: see --help"


def at_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def ask(question: str) -> str:
    """One line typed by the user; the question goes to standard error, so that results stay clean."""
    print(question, end=" ", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise CommandError("the input ended where an answer was needed", hint=ANSWER)
    return line.strip()


def confirm(question: str, *, otherwise: str) -> None:
    """Go on only after a yes. `otherwise` names the option that answers for a script."""
    if not at_terminal():
        raise CommandError(f"this needs a yes, and there is no terminal to ask at: {question}", hint=f"use {otherwise}")
    if ask(f"{question} [y/N]").lower() not in ("y", "yes"):
        raise CommandError("stopped: the answer was not yes", kind=Kind.CANCELLED)


def passphrase(what: str, file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """The passphrase of something that exists."""
    return find_passphrase(environ, file, passphrase_prompt(what))


def passphrase_prompt(what: str) -> Callable[[], str] | None:
    """How to ask for the passphrase of something that exists; None where there is nobody to ask."""
    return (lambda: _secret(f"Passphrase of {what}: ")) if at_terminal() else None


def new_passphrase(what: str, file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """A new passphrase; typed twice where it is typed."""
    prompt = (lambda: _typed_twice(what)) if at_terminal() else None
    return find_passphrase(environ, file, prompt)


def _typed_twice(what: str) -> str:
    for _ in range(TRIES):
        first = _secret(f"New passphrase of {what}: ")
        if not first:
            remark("It cannot be empty.")
        elif first != _secret("The same again: "):
            remark("The two differ.")
        else:
            return first
    raise CommandError(f"no passphrase after {TRIES} tries; nothing was made", hint="run it again")


def _secret(prompt: str) -> str:
    return getpass.getpass(prompt, stream=sys.stderr)
