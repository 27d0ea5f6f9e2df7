"""How old may be what a client knows of revocations, where its server does not show it the list."""

from __future__ import annotations

import logging

import msgspec
from btlib.home import Domain
from btlib.kinds import Kind

from .errors import FsError

log = logging.getLogger("btfproto.opening")  # it is a tree's opening that is warned of


class Staleness(msgspec.Struct, frozen=True, kw_only=True):
    """How old may be what a client knows of revocations where its server does not show it the list: seconds since a
    server last did. Only thin clients can come into this; others read the list or nothing.
    """

    warn: float = 86_400.0  #: a laptop's weekend is no alarm, a week without an answer is worth a line
    refuse: float = 30 * 86_400.0  #: a lost machine is revoked within days; longer, and one works with whoever asks

    def check(self, domain: Domain, confirmed: int | None, now: int, why: str) -> None:
        """Warn, or raise FsError (EXPIRED). Who never saw a list knows no more than that there may be one."""
        if confirmed is None or now - confirmed <= self.warn:
            return
        days = (now - confirmed) / 86_400
        text = f"who was revoked in {domain.petname} was last heard {days:.0f} days ago: {why}"
        if now - confirmed > self.refuse:
            raise FsError(
                Kind.EXPIRED,
                f"{text}; more than {self.refuse / 86_400:g} are not allowed",
                "let the server serve its store too (services.store), open it end-to-end once, or raise the limit",
            )
        log.warning("%s", text)
