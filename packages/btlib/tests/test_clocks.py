"""Clocks that differ are spoken of from an hour on, in the sense in which they do."""

from __future__ import annotations

import pytest
from btlib.clocks import CLOCK_SKEW, skew_text

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("skew", "text"),
    [
        (0, None),
        (3_599, None),
        (-3_599, None),
        (7_200, "2 hours ahead of this machine's"),
        (-86_400, "24 hours behind this machine's"),
    ],
)
def test_a_wrong_clock_is_told_with_its_sense(skew: int, text: str | None) -> None:
    assert skew_text(NOW + skew, NOW) == text


def test_a_day_is_within_what_is_survived() -> None:
    assert CLOCK_SKEW > 86_400
