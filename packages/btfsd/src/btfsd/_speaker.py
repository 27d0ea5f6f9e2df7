"""As whom the server speaks on its links, renewed while it runs.

Only where the machine's keys are in a chip is that anybody else than the machine: keys of this process, which the chip
certifies for some hours. See `btlib.process_keys`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.process_keys import server_identity

log = logging.getLogger("btfsd")

INTERVAL = 60.0  #: seconds between two looks whether a renewal is due; one holds for hours


class Speaker:
    """The identity to serve with. Used by one thread."""

    def __init__(self, identity: Identity, path: BlockPath, clock: Callable[[], float]) -> None:
        """Raises CredentialError where the chip does not certify."""
        self._machine = identity
        self._path = path
        self._clock = clock
        self.identity = server_identity(identity, path, int(clock()))

    @property
    def interval(self) -> float | None:
        """After how many seconds to look again; None: never."""
        return INTERVAL if self.identity is not self._machine else None

    def look(self, renew: Callable[[Identity], None]) -> None:
        """Renew where it is due. A chip that does not answer is told in the log and asked again."""
        try:
            fresh = server_identity(self._machine, self._path, int(self._clock()))
        except BlocktreeError as error:
            log.error("the keys of this process are not certified any more, and new links are refused: %s", error)
            return
        if fresh.chains != self.identity.chains:
            self.identity = fresh
            renew(fresh)
            log.info("the keys of this process are certified for some hours more")
