"""Dates as people give them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from blocktree.dates import DAY, YEAR, parse_since, parse_until
from blocktree.errors import CommandError
from hypothesis import given
from hypothesis import strategies as st

NOW = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp())


def moment(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("36h", NOW + 36 * 3600),
        ("90d", NOW + 90 * DAY),
        ("2w", NOW + 14 * DAY),
        ("1y", NOW + YEAR),
        ("2027-12-31", moment(2027, 12, 31, 23, 59, 59)),
        ("20271231", moment(2027, 12, 31, 23, 59, 59)),
        ("2027-12-31T18:00", moment(2027, 12, 31, 18)),
        ("2027-12-31T18:00+02:00", moment(2027, 12, 31, 16)),
        ("2026-11-24", moment(2026, 11, 24, 23, 59, 59)),
    ],
)
def test_dates_and_spans(text: str, end: int) -> None:
    assert parse_until(text, NOW) == end


@pytest.mark.parametrize("text", ["", "soon", "90", "d", "-1d", "1.5d", "2027-13-01", "1m", "999999d", "9999-12-31x"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is no date"):
        parse_until(text, NOW)


@pytest.mark.parametrize("text", ["0d", "2026-11-23", "1970-01-01", "2026-11-24T11:59"])
def test_the_past_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is past already"):
        parse_until(text, NOW)


@given(st.text())
def test_any_text_is_a_date_or_a_sentence(text: str) -> None:
    try:
        end = parse_until(text, NOW)
    except CommandError:
        return
    assert end > NOW


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("36h", NOW - 36 * 3600),
        ("2w", NOW - 14 * DAY),
        ("2026-11-20", moment(2026, 11, 20)),
        ("2026-11-20T18:00", moment(2026, 11, 20, 18)),
        ("2027-01-01", moment(2027, 1, 1)),
    ],
)
def test_beginnings(text: str, begin: int) -> None:
    assert parse_since(text, NOW) == begin
