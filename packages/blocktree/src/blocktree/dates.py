"""Dates as people give them: `2027-12-31`, `2027-12-31T18:00`, or from now on: `90d`, `2w`, `1y`. All in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .errors import CommandError

DAY = 86_400
YEAR = 365 * DAY
_SPAN = re.compile(r"([0-9]{1,5})([hdwy])")
_UNIT_SECONDS = {"h": 3600, "d": DAY, "w": 7 * DAY, "y": YEAR}


def parse_until(text: str, now: int) -> int:
    """The last second at which something shall hold. A date alone means its whole day. Raises CommandError."""
    end = _span_end(text, now) if _SPAN.fullmatch(text) else _date_end(text)
    if end <= now:
        raise CommandError(f"{text} is past already", hint="give a later date, or a time from now on, like 90d")
    return end


def _span_end(text: str, now: int) -> int:
    return now + int(text[:-1]) * _UNIT_SECONDS[text[-1]]


def _date_end(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"{text[:40]!a} is no date", hint="write 2027-12-31, or a time from now on, like 90d"
        ) from error
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        moment += timedelta(days=1) - timedelta(seconds=1)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
