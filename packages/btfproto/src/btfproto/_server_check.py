"""A client's check of the server that it reached: whether, by what is remembered, it was revoked.

The link itself has checked that the server has a chain for its path; here is what was taken back since. It needs no
store, so it comes before the first request.
"""

from __future__ import annotations

from collections.abc import Callable

from btlib.paths import BlockPath
from btlib.writecaps import Rights
from bttp.errors import AuthenticationError

from ._dial import Link
from ._revocation_memory import RevocationMemory


def server_check(
    endpoint: str, server: BlockPath, memory: RevocationMemory, clock: Callable[[], float]
) -> Callable[[Link], None]:
    """A check for a `Dialer`. Raises AuthenticationError; FsError where the memory is damaged."""

    def check(link: Link) -> None:
        remembered = memory.load()
        if remembered is None:
            return
        revoked = remembered.seen.record.effective
        decision = link.peer.decide(Rights.EXECUTE, server, int(clock()), revocations=revoked)
        if not decision.allowed:
            raise AuthenticationError(
                f"the server at {endpoint} is not spoken with: {decision.reason}",
                kind=decision.kind,
                hint="another machine has to serve the domain: set `server` and `server_path` in domain.toml",
            )

    return check
