"""Measures ours against peers, side by side.

A benchmark is a file `bench_<topic>.py` in `tests/bench` or `packages/*/bench`. It has either

    NAME = "serde"                           and   def run(rounds: int) -> list[Result]
    NAMES = ("bttp-pump", "bttp-peers")      and   def run(rounds: int, only: str | None = None) -> list[Result]

where `only` is one of NAMES or None for all. A *measurement* is a function without arguments that does the work once
more and returns one figure; `timed` makes one of an operation. `compare` runs the measurements of all contenders in
turn, round by round, so that a busy moment of the machine hurts all alike, and takes medians. Nothing here asserts a
time: a figure is for reading.
"""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from typing import Literal

import msgspec

Measurement = Callable[[], float]
Better = Literal["lower", "higher"]

# Long against the clock's resolution and a thread switch, short enough for many rounds.
TARGET_SECONDS = 0.02


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison. `ratio` over 1 means better than the peer; `spread` is the larger IQR/median of the two."""

    name: str
    peer: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    spread: float


def compare(
    name: str,
    unit: str,
    ours: Measurement,
    peers: dict[str, Measurement],
    rounds: int,
    better: Better = "lower",
) -> list[Result]:
    """Measure all contenders in turn, `rounds` times after one for warming up; one result a peer."""
    contenders = {"": ours, **peers}
    figures: dict[str, list[float]] = {label: [] for label in contenders}
    for number in range(rounds + 1):
        for label, measure in contenders.items():
            figure = measure()
            if number > 0:
                figures[label].append(figure)
    medians = {label: statistics.median(series) for label, series in figures.items()}
    spreads = {label: spread(series) for label, series in figures.items()}
    return [
        Result(
            name=name,
            peer=peer,
            ours=medians[""],
            theirs=medians[peer],
            unit=unit,
            ratio=_ratio(medians[""], medians[peer], better),
            spread=max(spreads[""], spreads[peer]),
        )
        for peer in peers
    ]


def timed(operation: Callable[..., object], *arguments: object, scale: float = 1e6) -> Measurement:
    """A measurement of the time of one call, in seconds times `scale` (so microseconds unless told)."""
    # `timeit` calls as a user's code would; a call through another function costs as much as a small message.
    names = {f"a{i}": argument for i, argument in enumerate(arguments)}
    timer = timeit.Timer(f"operation({', '.join(names)})", globals={"operation": operation, **names})
    number = 0

    def measure() -> float:
        nonlocal number
        number = number or _calls_in_target(timer)
        return timer.timeit(number) / number * scale

    return measure


def spread(series: list[float]) -> float:
    """IQR/median, or 0 where there is too little to tell."""
    if len(series) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(series, n=4)
    return (high - low) / middle if middle else 0.0


def _ratio(ours: float, theirs: float, better: Better) -> float:
    above, below = (theirs, ours) if better == "lower" else (ours, theirs)
    return above / below if below else float("inf")


def _calls_in_target(timer: timeit.Timer) -> int:
    number = 1
    while (taken := timer.timeit(number)) < TARGET_SECONDS / 4:
        number *= 4
    return max(1, round(number * TARGET_SECONDS / taken))
