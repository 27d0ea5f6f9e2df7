"""Dates as people give them: `2027-12-31`, `2027-12-31T18:00`, or from now on: `90d`, `2w`, `1y`. All in UTC.

A beginning is given in the same way; there a time without a date counts back: `2d` is two days ago.
"""

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


def parse_since(text: str, now: int) -> int:
    """The first second from which on something shall hold. A date alone means its whole day. Raises CommandError."""
    if _SPAN.fullmatch(text):
        return now - (_span_end(text, now) - now)
    moment, whole_day = _moment(text)
    return moment - DAY + 1 if whole_day else moment


def _span_end(text: str, now: int) -> int:
    return now + int(text[:-1]) * _UNIT_SECONDS[text[-1]]


def _date_end(text: str) -> int:
    return _moment(text)[0]


def _moment(text: str) -> tuple[int, bool]:
    """The end of a moment as written, and whether it was a whole day."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"{text[:40]!a} is no date", hint="write 2027-12-31, or a time from now on, like 90d"
        ) from error
    whole_day = re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text) is not None
    if whole_day:
        moment += timedelta(days=1) - timedelta(seconds=1)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()), whole_day
