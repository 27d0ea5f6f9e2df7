"""Clocks that differ: by how much they may, and from when on it is worth a word. Pure.

Nobody trusts another's clock. What is issued begins earlier than its issuer's clock says, and certificates are renewed
while they last longer than clocks may differ; so a machine whose clock is a day off works, and is told.
"""

from __future__ import annotations

DAY = 86_400
CLOCK_SKEW = DAY + 300  #: seconds by which clocks of one domain may differ: a wrong date or time zone, and a bit
WORTH_A_WORD = 3_600  #: seconds; a group that was sent again after an outage is not taken for a wrong clock


def skew_text(theirs: int, ours: int) -> str | None:
    """In which sense another clock is wrong, or ours; None where they fit."""
    skew = theirs - ours
    if abs(skew) < WORTH_A_WORD:
        return None
    return f"{abs(skew) / 3600:.0f} hours {'ahead of' if skew > 0 else 'behind'} this machine's"
