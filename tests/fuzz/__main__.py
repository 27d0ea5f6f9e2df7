"""The fuzzer: `python -m tests.fuzz [--seconds N] [--only TARGET]… [--jobs N] [--findings DIR] [--grown DIR]`.

    python -m tests.fuzz --list                          the targets, and what each parses
    python -m tests.fuzz --only chain --input FILE       give one input to one target, without atheris: reproduces

Each target runs N seconds on what the kept corpus (tests/fuzz/corpus) and the grown one have of it. What it finds lies
in DIR/TARGET/: after the mend, copy it to tests/fuzz/corpus/TARGET/found-WHAT, where every test run replays it.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .seeds import CORPUS
from .target import MAX_INPUT, TARGETS, Target
from .targets import TARGETS as _ALL  # noqa: F401 (fills TARGETS)

HANG = 20  #: seconds for one input: far beyond any, also beside other work
MEMORY = 2048  #: MiB
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


def fuzz(target: Target, seconds: int, findings: Path, grown: Path) -> Outcome:
    """Run one target in a process of its own."""
    artifacts, corpus = findings / target.name, grown / target.name
    for directory in (artifacts, corpus):
        directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.one", target.name]
    command += [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}"]
    command += [f"-artifact_prefix={artifacts}/", "-print_final_stats=1", str(corpus), str(CORPUS / target.name)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    statistics = dict(_STATISTIC.findall(done.stderr))
    coverage = _COVERAGE.findall(done.stderr)
    return Outcome(
        target=target.name,
        executions=int(statistics.get("number_of_executed_units", 0)),
        coverage=int(coverage[-1]) if coverage else 0,
        seconds=time.monotonic() - began,
        finding="" if done.returncode == 0 else _traceback(done.stderr + done.stdout),
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
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="where findings go")
    parser.add_argument("--grown", type=Path, help="keep what the fuzzer learns in this directory, for the next run")
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
    return _run(chosen, given.seconds, given.jobs, given.findings, given.grown)


def _run(targets: list[Target], seconds: int, jobs: int, findings: Path, grown: Path | None) -> int:
    found = 0
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        for outcome in pool.map(lambda target: fuzz(target, seconds, findings, grown or Path(scratch)), targets):
            print(outcome, flush=True)
            found += bool(outcome.finding)
    print(f"{len(targets)} targets, {found} with findings" + (f", see {findings}" if found else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
