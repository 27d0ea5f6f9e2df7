"""Where a passphrase comes from: a file, the environment, or a prompt. Never from the command line.

Everyone on a machine can read the arguments of every process, and a shell keeps them in its history; so no program of
Blocktree has an option whose value is a passphrase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .._private_files import NotPrivateError, read_private
from ..kinds import Kind
from ._errors import HomeError

VARIABLE = "BLOCKTREE_PASSPHRASE"
FILE_LIMIT = 4096  #: bytes of a passphrase file; a longer one is some other file


def find_passphrase(
    environ: Mapping[str, str], file: Path | None = None, prompt: Callable[[], str] | None = None
) -> str:
    """The passphrase from `file` where one is given, else from the environment, else from `prompt`.

    Raises HomeError where none of the three gives one.
    """
    if file is not None:
        return read_passphrase_file(file)
    if passphrase := environ.get(VARIABLE):
        return passphrase
    if prompt is None:
        raise HomeError(
            "a passphrase is needed, and there is no terminal to ask for it",
            kind=Kind.UNAUTHENTICATED,
            hint=f"use --passphrase-file FILE, or set {VARIABLE}",
        )
    return prompt()


def read_passphrase_file(file: Path) -> str:
    """The first line of a file that nobody else may read."""
    try:
        content = read_private(file, FILE_LIMIT)
    except NotPrivateError as error:
        raise HomeError(f"others may read the passphrase file {file}", hint=f"run: chmod 600 {file}") from error
    except OSError as error:
        raise HomeError(f"the passphrase file {file} cannot be read: {error.strerror}") from error
    if len(content) > FILE_LIMIT:
        raise HomeError(f"{file} is longer than {FILE_LIMIT} bytes and so no passphrase file")
    return _first_line(file, content)


def _first_line(file: Path, content: bytes) -> str:
    try:
        line = content.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise HomeError(f"the passphrase file {file} is not UTF-8 text") from None
    if not line:
        raise HomeError(f"the first line of the passphrase file {file} is empty")
    return line
