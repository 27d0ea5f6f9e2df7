"""Runs public file-system suites over real mounts: `python -m tests.fs_suite --help`.

    PJDFSTEST=DIR FSX=FILE nox -s fs-suite -- --modes alone --fsx-operations 1000000

A suite that is not named by its option or variable is left out, and said to be.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.fs_suite.mounts import MODES, SuiteError, mounted
from tests.fs_suite.suites import Outcome, fio, fsx, pjdfstest, stress

DEFAULT_OPERATIONS = 100_000


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; returns the exit status: 1 where something failed, 2 where it could not be run."""
    options = _parser().parse_args(arguments)
    logs = options.logs or Path(tempfile.mkdtemp(prefix="blocktree-suite-logs-"))
    logs.mkdir(parents=True, exist_ok=True)
    failures = 0
    try:
        for outcome in _outcomes(options, logs):
            print(row(outcome), flush=True)
            failures += len(outcome.failed)
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{failures} failures; logs in {logs}")
    return 1 if failures else 0


def _outcomes(options: argparse.Namespace, logs: Path) -> Iterator[Outcome]:
    absent = [name for name, place in (("PJDFSTEST", options.pjdfstest), ("FSX", options.fsx)) if place is None]
    if absent:
        print(f"left out, for {' and '.join(absent)} is not given", file=sys.stderr)
    for mode in options.modes.split(","):
        if mode not in MODES:
            raise SuiteError(f"{mode!r} is no mode: {', '.join(MODES)}")
        with mounted(mode) as mount:
            if options.pjdfstest is not None:
                yield from pjdfstest(options.pjdfstest, mode, mount, logs, options.only)
            if options.fsx is not None:
                yield fsx(options.fsx, mode, mount, logs, options.fsx_operations, options.seed)
            if not options.no_fio:
                yield from fio(mode, mount, logs)
            if not options.no_stress:
                yield from stress(mode, mount, logs)


def row(outcome: Outcome) -> str:
    """A row of the table in the documents, and a line for every failure."""
    state = f"**{len(outcome.failed)} failed**" if outcome.failed else "ok"
    cells = (outcome.mode, outcome.suite, outcome.part, outcome.passed, state, f"{outcome.seconds:.0f} s")
    reasons = Counter(line.partition("# TODO ")[2] for line in outcome.expected)
    marked = [f"    {count} as the suite expects on Linux: {reason}" for reason, count in reasons.items()]
    return "\n".join((f"| {' | '.join(cells)} |", *(f"    {line}" for line in outcome.failed), *marked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fs_suite", description=__doc__.splitlines()[0])
    parser.add_argument("--modes", default=",".join(MODES), help="which of %(default)s")
    parser.add_argument("--pjdfstest", type=Path, default=_named("PJDFSTEST"), help="folder of a built pjdfstest")
    parser.add_argument("--only", help="directories of pjdfstest, with commas between")
    parser.add_argument("--fsx", type=Path, default=_named("FSX"), help="the fsx program")
    parser.add_argument("--fsx-operations", type=int, default=DEFAULT_OPERATIONS)
    parser.add_argument("--seed", type=int, default=1, help="of fsx")
    parser.add_argument("--no-fio", action="store_true")
    parser.add_argument("--no-stress", action="store_true")
    parser.add_argument("--logs", type=Path, help="where the suites' output goes; else a new temporary folder")
    return parser


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).resolve() if value else None


def _stop(number: int, _frame: object) -> None:
    """End as by an exception, so that nothing stays mounted."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    raise SystemExit(main())
