"""How many seeds the simulations run with: few in the ordinary run, as many times more as BTRUN_SEEDS says."""

from __future__ import annotations

import os

TIMES = int(os.environ.get("BTRUN_SEEDS", "1"))


def parts(seeds: int, each: int) -> list[int]:
    """Where each part of `each` seeds begins; all parts together have `seeds`, times BTRUN_SEEDS."""
    return list(range(0, seeds * TIMES, each))
