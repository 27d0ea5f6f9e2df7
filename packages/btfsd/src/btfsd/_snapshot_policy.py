"""Who may make and delete snapshots at a server: its own machine, and who may WRITE at the root of the domain.

A snapshot keeps room from everybody, deleting one cannot be undone, and its record stands in the root scope. What
somebody was granted since it joined counts as well as what it shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights
from bttp import Peer


class SnapshotPolicy:
    def __init__(
        self,
        root: Principal,
        own: Principal,
        revocations: Callable[[], Revocations],
        granted: Callable[[Principal], Sequence[Chain]],
    ) -> None:
        """`granted`: the chains that the root scope's records hold for somebody; may raise BlocktreeError."""
        self._root = BlockPath(root, ())
        self._own = own
        self._revocations = revocations
        self._granted = granted

    def check(self, peer: Peer) -> None:
        """Return if a peer may. Raises CapabilityError, and what `granted` raises."""
        if self._own in peer.principals:
            return
        now, revocations = int(time.time()), self._revocations()
        shown = peer.decide(Rights.WRITE, self._root, now, revocations=revocations)
        if not shown.allowed and not any(self._may(principal, now, revocations) for principal in peer.principals):
            shown.require()

    def _may(self, principal: Principal, now: int, revocations: Revocations) -> bool:
        root = self._root
        return any(
            verify_chain(
                chain,
                root=root.root,
                subject=principal,
                right=Rights.WRITE,
                now=now,
                path=root,
                revocations=revocations,
            ).allowed
            for chain in self._granted(principal)
        )
