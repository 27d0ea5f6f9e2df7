"""The last word of an invitation: what the new machine may do, or why it was given nothing."""

from __future__ import annotations

import msgspec
from btlib.kinds import Kind
from btlib.pairing import MAX_REPORT
from btserde import DecodeError, Limits, decode, encode

from .errors import CommandError

_LIMITS = Limits(max_size=MAX_REPORT)
MAX_FAILURE = 1000  #: characters of a reason; it is for a person


class Report(msgspec.Struct, frozen=True, kw_only=True):
    path: str | None  #: below the root: `/photos`; None where nothing was to be given
    rights: tuple[str, ...]
    failure: str | None  #: why it was not given


def make_report(path: str | None, rights: tuple[str, ...], failure: str | None) -> bytes:
    """The report's bytes; a path that is too long for it is left out, and a long reason cut."""
    short = None if failure is None else failure[:MAX_FAILURE]
    report = encode(Report(path=path, rights=rights, failure=short))
    return report if len(report) <= MAX_REPORT else encode(Report(path="…", rights=rights, failure=short))


def read_report(data: bytes) -> Report:
    """Raises CommandError."""
    try:
        return decode(data, Report, _LIMITS)
    except DecodeError as error:
        raise CommandError(
            f"the last word of the inviting end is damaged: {error}",
            kind=Kind.PROTOCOL,
            hint="see what it may: bt access explain",
        ) from error
