"""The harness itself: arithmetic, order of the runs, discovery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.__main__ import main, table
from tests.bench.harness import Result, compare, spread, timed


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []
    ours, theirs = iter([99.0, 2.0, 4.0, 3.0]), iter([99.0, 6.0, 6.0, 6.0])

    def measure_ours() -> float:
        turns.append("ours")
        return next(ours)

    def measure_theirs() -> float:
        turns.append("theirs")
        return next(theirs)

    (result,) = compare("what", "us", measure_ours, {"peer": measure_theirs}, rounds=3)
    assert turns == ["ours", "theirs"] * 4
    assert (result.name, result.peer, result.ours, result.theirs) == ("what", "peer", 3.0, 6.0)


@pytest.mark.parametrize(("better", "ratio"), [("lower", 4.0), ("higher", 0.25)])
def test_a_ratio_over_one_is_better_than_the_peer(better: str, ratio: float) -> None:
    (result,) = compare("what", "us", lambda: 1.0, {"peer": lambda: 4.0}, 2, better=better)  # type: ignore[arg-type]
    assert result.ratio == ratio


def test_the_spread_is_that_of_the_wider_series() -> None:
    series = [1.0, 2.0, 3.0, 4.0]
    figures = iter([0.0, *series])
    (result,) = compare("what", "us", lambda: 1.0, {"peer": lambda: next(figures)}, 4)
    assert result.spread == spread(series) > 0
    assert spread([1.0]) == 0


def test_an_operation_is_timed_by_call() -> None:
    calls: list[int] = []
    measure = timed(calls.append, 1)
    assert measure() > 0
    assert len(calls) > 1


def test_the_table_is_aligned() -> None:
    result = Result(name="n", peer="p", ours=1.0, theirs=2.0, unit="us", ratio=2.0, spread=0.01)
    head, row = table([result]).splitlines()
    assert head.index("unit") == row.index("us")


def test_benchmarks_are_found_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert "serde" in capsys.readouterr().out.splitlines()


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing"]) == 2
    assert "no benchmark is called nothing" in capsys.readouterr().err


@pytest.mark.slow
def test_results_are_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    assert main(["--only", "serde", "--rounds", "1", "--json", str(file)]) == 0
    results = json.loads(file.read_text(encoding="utf-8"))
    assert {"name", "peer", "ours", "theirs", "unit", "ratio", "spread"} == set(results[0])
