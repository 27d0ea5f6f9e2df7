"""Who is near in the tree: the fewer steps up and down from one path to another, the nearer. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby

from btlib.paths import BlockPath


def steps_between(here: BlockPath, there: BlockPath) -> float:
    """Up to the place that both have in common, and down again; infinite between two domains."""
    if here.root != there.root:
        return math.inf
    common = 0
    for ours, theirs in zip(here.names, there.names, strict=False):
        if ours != theirs:
            break
        common += 1
    return len(here.names) + len(there.names) - 2 * common


def nearest_first(here: BlockPath, places: Iterable[BlockPath]) -> list[list[BlockPath]]:
    """All places, the nearest first; those that are as near are together, in the order of their names."""
    ordered = sorted(places, key=lambda place: (steps_between(here, place), str(place)))
    return [list(group) for _, group in groupby(ordered, key=lambda place: steps_between(here, place))]
