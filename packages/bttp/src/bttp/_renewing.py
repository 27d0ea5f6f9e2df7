"""Renewal in time: new chains are shown before the old ones expire, by whoever speaks for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import anyio
import anyio.to_thread
from btlib.errors import BlocktreeError
from btlib.identity import Identity

from ._shell_base import log
from .errors import BttpError

_LEAD = 3600.0  # seconds before the end, at most; a tenth of its life for what lives shorter
_AGAIN = 60.0  # seconds until the next try where one failed, and between looks at the clock, which may be set


class Renewable(Protocol):
    """A server or a reconnecting link."""

    async def renew(self, identity: Identity) -> None: ...


def renewal_due(identity: Identity) -> float | None:
    """When (unix time) new chains are due: some time before the last right of the identity ends. None: never."""
    lives = [
        (min(cap.not_after for cap in chain.caps), max(cap.not_before for cap in chain.caps))
        for chain in identity.chains
        if chain.caps
    ]
    if not lives:
        return None
    end, begin = max(lives)
    return end - min(_LEAD, (end - begin) / 10)


async def keep_renewed(
    who: Renewable,
    identity: Identity,
    fresh: Callable[[], Identity],
    *,
    now: Callable[[], float] = time.time,
) -> None:
    """Show the chains of `fresh()` before those of `identity` expire, again and again. Run it as a task; cancel it.

    `fresh` runs in a thread: it may sign, or ask somebody. Where it fails, or gives nothing that lasts longer, the log
    says so, and it is asked again a minute later. It returns when the chains have no end.
    """
    while (due := renewal_due(identity)) is not None:
        while (left := due - now()) > 0:
            await anyio.sleep(min(left, _AGAIN))
        try:
            identity = await _renewed(who, due, fresh)
        except BlocktreeError as error:
            log.warning("%s is not renewed yet: %s", identity.principal, error)
            await anyio.sleep(_AGAIN)


async def _renewed(who: Renewable, due: float, fresh: Callable[[], Identity]) -> Identity:
    new = await anyio.to_thread.run_sync(fresh)
    next_due = renewal_due(new)
    if next_due is not None and next_due <= due:
        raise BttpError("the new chains do not last longer than the old ones", hint="issue longer ones")
    await who.renew(new)
    log.info("%s is renewed", new.principal)
    return new
