"""Who may connect to the server, and what those who may not are told to do."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision, Stage
from bttp import Peer, RootPolicy

ENROLL = "ask an owner to enrol this machine: bt enroll"
JOIN_ANEW = "if that was a mistake, let it join anew with new keys: bt enroll request"


class ServerPolicy(RootPolicy):
    """Members of the domain, each to where it has EXECUTE; a refusal names the next step."""

    def __init__(self, root: Principal, revocations: Callable[[], Revocations] = lambda: NO_REVOCATIONS) -> None:
        super().__init__([root], revocations=lambda _root: revocations())

    def admit(self, peer: Peer, now: int) -> Decision:
        return _advised(super().admit(peer, now), ENROLL)

    def authorize(self, peer: Peer, path: BlockPath, now: int) -> Decision:
        who = peer.principals[0] if peer.principals else "PRINCIPAL"
        return _advised(
            super().authorize(peer, path, now), f"ask an owner to renew the membership of {who}: bt enroll sign"
        )


def _advised(decision: Decision, advice: str) -> Decision:
    if decision.allowed:
        return decision
    if decision.stage is Stage.REVOCATION:
        advice = JOIN_ANEW
    return msgspec.structs.replace(decision, reason=f"{decision.reason}; {advice}")
