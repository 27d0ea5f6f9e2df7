"""Who may connect to the server, and what those who may not are told to do."""

from __future__ import annotations

import msgspec
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.verification import Decision
from bttp import Peer, RootPolicy


class ServerPolicy(RootPolicy):
    """Members of the domain, each to where it has EXECUTE; a refusal names the next step."""

    def __init__(self, root: Principal) -> None:
        super().__init__([root])

    def admit(self, peer: Peer, now: int) -> Decision:
        return _advised(super().admit(peer, now), "ask an owner to enrol this machine: bt enroll")

    def authorize(self, peer: Peer, path: BlockPath, now: int) -> Decision:
        who = peer.principals[0] if peer.principals else "PRINCIPAL"
        return _advised(
            super().authorize(peer, path, now), f"ask an owner to renew the membership of {who}: bt enroll sign"
        )


def _advised(decision: Decision, advice: str) -> Decision:
    if decision.allowed:
        return decision
    return msgspec.structs.replace(decision, reason=f"{decision.reason}; {advice}")
