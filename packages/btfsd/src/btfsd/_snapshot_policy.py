"""Who may make and delete snapshots at a server: its own machine, and who may WRITE at the root of the domain.

A snapshot keeps room from everybody, deleting one cannot be undone, and its record stands in the root scope.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.writecaps import Rights
from bttp import Peer


class SnapshotPolicy:
    def __init__(self, root: Principal, own: Principal, revocations: Callable[[], Revocations]) -> None:
        self._root = BlockPath(root, ())
        self._own = own
        self._revocations = revocations

    def check(self, peer: Peer) -> None:
        """Return if a peer may. Raises CapabilityError."""
        if self._own not in peer.principals:
            peer.decide(Rights.WRITE, self._root, int(time.time()), revocations=self._revocations()).require()
