"""Unix seconds as people read them: `2026-11-24 18:33:00 UTC`. Arithmetic only; holds for every 64-bit number."""

from __future__ import annotations

_DAY = 86400
_ERA_DAYS = 146097  # 400 years of the Gregorian calendar
_EPOCH_DAYS = 719468  # from 0000-03-01 to 1970-01-01


def date_text(seconds: int) -> str:
    """The moment in UTC. Years beyond 9999 have more digits."""
    days, rest = divmod(seconds, _DAY)
    year, month, day = _civil(days)
    return f"{year:04d}-{month:02d}-{day:02d} {rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d} UTC"


def _civil(days: int) -> tuple[int, int, int]:
    # Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so leap days come last.
    era, day_of_era = divmod(days + _EPOCH_DAYS, _ERA_DAYS)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1
