"""The fuzzer: `python -m tests.fuzz [--seconds N] [--only TARGET]… [--jobs N] [--directory DIR]`.

    python -m tests.fuzz --list                          the targets, and what each parses
    python -m tests.fuzz --only chain --input FILE       give one input to one target, without atheris: reproduces

Each target runs N seconds on the kept corpus (tests/fuzz/corpus) and what DIR/TARGET/grown has from the runs before.
What it finds lies in DIR/TARGET/: after the mend, copy it to tests/fuzz/corpus/TARGET/found-WHAT, where every test run
replays it.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .target import MAX_INPUT, TARGETS, Target
from .targets import TARGETS as _ALL  # noqa: F401 (fills TARGETS)

HANG = 20  #: seconds for one input: far beyond any, also beside other work
MEMORY = 2048  #: MiB
LOG = "log"  #: of a target, in its directory
_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")
_COVERAGE = re.compile(r"cov: (\d+)")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run of one target came to."""

    target: str
    executions: int
    coverage: int
    seconds: float
    finding: str  #: empty: nothing was found

    def __str__(self) -> str:
        said = f"{self.target:20} {self.executions:>10} inputs, coverage {self.coverage:>5}, {self.seconds:5.0f} s"
        return f"{said}: FOUND\n{self.finding}" if self.finding else said


def fuzz(targets: Sequence[Target], seconds: int, directory: Path) -> Iterator[Outcome]:
    """Run some targets in a process of their own, one after another."""
    command = [sys.executable, "-m", "tests.fuzz.one", str(directory), *(target.name for target in targets), "--"]
    command += [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}"]
    command += ["-print_final_stats=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            name, code, took = line.split()
            said = (directory / name / LOG).read_text(errors="replace")
            yield _outcome(name, said, int(code), float(took))
        error = process.stderr.read()
    if process.returncode:
        raise SystemExit(f"the fuzzer itself failed:\n{error[-2000:]}")


def _outcome(name: str, said: str, code: int, seconds: float) -> Outcome:
    statistics = dict(_STATISTIC.findall(said))
    coverage = _COVERAGE.findall(said)
    return Outcome(
        target=name,
        executions=int(statistics.get("number_of_executed_units", 0)),
        coverage=int(coverage[-1]) if coverage else 0,
        seconds=seconds,
        finding=_traceback(said) if code else "",
    )


def _traceback(output: str) -> str:
    """From the exception on, without libFuzzer's progress."""
    lines = [line for line in output.splitlines() if not line.startswith(("#", "INFO:", "stat::", "\tNEW_FUNC"))]
    return "\n".join(lines[-40:])


def reproduce(target: Target, file: Path) -> int:
    accepted = target.accepts(file.read_bytes())
    print(f"{target.name} {'accepts' if accepted else 'refuses'} {file}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s fuzz --")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), metavar="TARGET", help="this target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (1)")
    parser.add_argument("--directory", type=Path, help="findings, and what the fuzzer learns (in the temporary files)")
    parser.add_argument("--input", type=Path, help="give this file to the target instead")
    parser.add_argument("--list", action="store_true", help="name the targets")
    given = parser.parse_args()
    chosen = [TARGETS[name] for name in given.only or TARGETS]
    if given.list:
        print("\n".join(f"{target.name:20} {target.parses}" for target in chosen))
        return 0
    if given.input is not None:
        if len(chosen) != 1:
            parser.error("--input FILE goes to one target: add --only TARGET")
        return reproduce(chosen[0], given.input)
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed here; `nox -s fuzz` installs it, `pytest tests/fuzz` needs none")
    return _run(chosen, given.seconds, given.jobs, given.directory or Path(tempfile.mkdtemp(prefix="bt-fuzz-")))


def _run(targets: list[Target], seconds: int, jobs: int, directory: Path) -> int:
    def run(share: list[Target]) -> int:
        return sum(_told(outcome) for outcome in fuzz(share, seconds, directory))

    shares = [share for number in range(jobs) if (share := targets[number::jobs])]
    with ThreadPoolExecutor(jobs) as pool:
        found = sum(pool.map(run, shares))
    print(f"{len(targets)} targets, {found} with findings; all of it is in {directory}")
    return 1 if found else 0


def _told(outcome: Outcome) -> bool:
    print(outcome, flush=True)
    return bool(outcome.finding)


if __name__ == "__main__":
    sys.exit(main())
