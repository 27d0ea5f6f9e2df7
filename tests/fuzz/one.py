"""Targets under atheris: `python -m tests.fuzz.one DIRECTORY TARGET… -- [OPTION]…`, one after another.

Imports everything once, instrumented (also the decoders that btserde generates, which are imported from nowhere), and
forks a process for each target, since libFuzzer ends its process. DIRECTORY/TARGET/log has what it said; for each
target a line with its exit code and seconds is printed.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path

import atheris  # type: ignore[import-untyped]

from .target import Target

PACKAGES = ["btserde", "btlib", "bttp", "btrun", "btfproto", "btfsd", "btfuse", "blocktree"]
GENERATED = "<btserde"  #: how the file names of generated code begin
CORPUS = Path(__file__).resolve().parent / "corpus"
LOG = "log"


def load() -> dict[str, Target]:
    """All targets, instrumented."""
    with atheris.instrument_imports(include=PACKAGES):
        from .targets import TARGETS
    for function in gc.get_objects():
        if isinstance(function, types.FunctionType) and function.__code__.co_filename.startswith(GENERATED):
            atheris.instrument_func(function)
    return TARGETS


def attack(target: Target, directory: Path, options: Sequence[str]) -> int:
    """Run libFuzzer on one target in a child; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def hear(data: bytes) -> None:
        target.accepts(data)

    words = [sys.argv[0], *options, f"-artifact_prefix={directory}/", str(directory / "grown")]
    atheris.Setup([*words, str(CORPUS / target.name)], hear)
    atheris.Fuzz()
    os._exit(0)


def main() -> None:
    end = sys.argv.index("--")
    directory, names, options = Path(sys.argv[1]), sys.argv[2:end], sys.argv[end + 1 :]
    targets = load()
    for name in names:
        began = time.monotonic()
        (directory / name / "grown").mkdir(parents=True, exist_ok=True)
        code = attack(targets[name], directory / name, options)
        print(name, code, f"{time.monotonic() - began:.1f}", flush=True)


if __name__ == "__main__":
    main()
