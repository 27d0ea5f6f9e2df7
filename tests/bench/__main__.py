"""Runs the benchmarks: `python -m tests.bench [--only NAME] [--json FILE] [--rounds N] [--list]`."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec

from tests.bench.harness import Result

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("tests/bench/bench_*.py", "packages/*/bench/bench_*.py")
DEFAULT_ROUNDS = 15


class BenchError(Exception):
    """The benchmarks cannot be run as asked; the text says why."""


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; returns the exit status."""
    options = _parser().parse_args(arguments)
    names = {name: module for module in _modules() for name in _names(module)}
    if options.list:
        print("\n".join(names))
        return 0
    try:
        results = list(_run(names, options.only, options.rounds))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(results))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    return 0


def table(results: list[Result]) -> str:
    """The results as lines of aligned columns."""
    head = ("what", "peer", "ours", "theirs", "unit", "ratio", "spread")
    rows = [head, *(_cells(result) for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _cells(result: Result) -> tuple[str, ...]:
    figures = (f"{result.ours:.5g}", f"{result.theirs:.5g}", result.unit)
    return (result.name, result.peer, *figures, f"{result.ratio:.2f}", f"{result.spread:.0%}")


def _run(names: dict[str, ModuleType], only: str | None, rounds: int) -> Iterator[Result]:
    if only is not None and only not in names:
        raise BenchError(f"no benchmark is called {only}; there are: {', '.join(names)}")
    for name, module in names.items():
        if only not in (None, name):
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        takes_only = "only" in inspect.signature(module.run).parameters
        yield from module.run(rounds, only=name) if takes_only else module.run(rounds)


def _names(module: ModuleType) -> tuple[str, ...]:
    return tuple(module.NAMES) if hasattr(module, "NAMES") else (module.NAME,)


def _modules() -> Iterator[ModuleType]:
    for path in (path for place in PLACES for path in sorted(ROOT.glob(place))):
        try:
            yield _load(path)
        except ImportError as error:  # a peer is not installed; the others can be measured all the same
            print(f"left out: {path.relative_to(ROOT)}: {error}", file=sys.stderr)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_{path.parent.parent.name}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BenchError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure ours against peers.")
    parser.add_argument("--only", metavar="NAME", help="run this benchmark alone")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results as a JSON list too")
    parser.add_argument("--rounds", metavar="N", type=int, default=DEFAULT_ROUNDS, help="figures per contender")
    parser.add_argument("--list", action="store_true", help="only name the benchmarks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
