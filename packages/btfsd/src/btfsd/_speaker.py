"""As whom the server speaks on its links, renewed while it runs.

Where the machine's keys are in a chip, that is somebody else than the machine: keys of this process, which the chip
certifies for some hours (see `btlib.process_keys`). In any case the machine's own chains go on: what was renewed of
them is shown on links before the old ones end.
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

    interval = INTERVAL  #: after how many seconds to look again

    def __init__(self, identity: Identity, path: BlockPath, clock: Callable[[], float]) -> None:
        """Raises CredentialError where the chip does not certify."""
        self._path = path
        self._clock = clock
        self.identity = server_identity(identity, path, int(clock()))

    def look(self, machine: Identity, renew: Callable[[Identity], None]) -> None:
        """Renew where it is due; `machine` as it is now. A chip that does not answer is told of, and asked again."""
        try:
            fresh = server_identity(machine, self._path, int(self._clock()))
        except BlocktreeError as error:
            log.error("the keys of this process are not certified any more, and new links are refused: %s", error)
            return
        if fresh.chains != self.identity.chains:
            self.identity = fresh
            renew(fresh)
            log.info("this server goes on with chains that last longer")
