"""Dates in messages."""

from __future__ import annotations

from datetime import UTC, datetime

from btlib._dates import date_text
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(-62135596800, 253402300799))
def test_dates_are_those_of_the_standard_library(seconds: int) -> None:
    expected = datetime.fromtimestamp(seconds, UTC)
    assert date_text(seconds) == f"{expected.year:04d}-{expected:%m-%d %H:%M:%S} UTC"


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_second_that_a_writecap_can_name_has_a_date(seconds: int) -> None:
    assert date_text(seconds).endswith(" UTC")
