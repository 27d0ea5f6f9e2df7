"""Who may connect to the server, and what those who may not are told to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision, Stage
from btlib.writecaps import Chain, Rights
from bttp import Peer, RootPolicy

INNER_ADVICE = "what runs in a server is shown to its own machine and to who may write at its path"
INNER = ".bt"  #: names that belong to the runtime, not to services
ENROLL = "ask an owner to enrol this machine: bt enroll"
JOIN_ANEW = "if that was a mistake, let it join anew with new keys: bt enroll request"


class ServerPolicy(RootPolicy):
    """Members of the domain, each to where it has EXECUTE; a refusal names the next step.

    What looks into the runtime or stops something in it (paths with the name `.bt`) is for the machine itself, and for
    those who may also WRITE at the server's path: every member has EXECUTE on all machines, to use them.
    """

    def __init__(
        self,
        root: Principal,
        server: BlockPath,
        own: Principal,
        revocations: Callable[[], Revocations] = lambda: NO_REVOCATIONS,
        recorded: Callable[[Principal, Sequence[Chain]], Sequence[Chain]] = lambda _principal, _shown: (),
        stale: Callable[[int], str | None] = lambda _now: None,
        admitted: Callable[[Principal, Sequence[Chain]], None] = lambda _principal, _shown: None,
    ) -> None:
        """`stale`: why nobody can be judged now, since too little is known of revocations; None where enough is.
        `recorded`: the chains that the domain's records hold for somebody, who need not know of them yet and showed
        others. `admitted` hears of everybody who is let in, with what it showed; it must not wait."""
        super().__init__([root], revocations=lambda _root: revocations())
        self._server = server
        self._own = own
        self._known = revocations
        self._recorded = recorded
        self._stale = stale
        self._admitted = admitted

    def admit(self, peer: Peer, now: int) -> Decision:
        reason = None if self._own in peer.principals else self._stale(now)
        if reason is not None:
            return _stale(reason)
        decision = super().admit(peer, now)
        if not decision.allowed and not peer.anonymous:
            decision = max(decision, super().admit(self._with_records(peer), now), key=lambda found: found.stage)
        elif decision.allowed:
            for proof in peer.proofs:
                self._admitted(proof.public.principal, proof.chains)
        return _advised(decision, ENROLL)

    def authorize(self, peer: Peer, path: BlockPath, now: int) -> Decision:
        reason = None if self._own in peer.principals else self._stale(now)
        if reason is not None:
            return _stale(reason)
        decision = self._authorize(peer, path, now)
        return decision if decision.allowed or peer.anonymous else self._authorize(self._with_records(peer), path, now)

    def _with_records(self, peer: Peer) -> Peer:
        """The peer with what was issued to it since it got the chains that it shows: it may have been away."""
        for proof in peer.proofs:
            found = self._recorded(proof.public.principal, proof.chains)
            more = [chain for chain in found if chain not in proof.chains]
            if more:
                peer = peer.with_proof(msgspec.structs.replace(proof, chains=(*proof.chains, *more)))
        return peer

    def _authorize(self, peer: Peer, path: BlockPath, now: int) -> Decision:
        who = peer.principals[0] if peer.principals else "PRINCIPAL"
        decision = _advised(
            super().authorize(peer, path, now), f"ask an owner to renew the membership of {who}: bt enroll sign"
        )
        if not decision.allowed or not self._is_inner(path) or self._own in peer.principals:
            return decision
        may_write = peer.decide(Rights.WRITE, self._server, now, revocations=self._known())
        if not may_write.allowed:
            return msgspec.structs.replace(may_write, reason=f"{may_write.reason}; {INNER_ADVICE}")
        return min(decision, may_write, key=_end)

    def _is_inner(self, path: BlockPath) -> bool:
        return self._server.is_prefix_of(path) and INNER in path.names[len(self._server.names) :]


def _stale(reason: str) -> Decision:
    return Decision(
        allowed=False, stage=Stage.REVOCATION, kind=Kind.EXPIRED, reason=reason, not_after=None, chain=Chain()
    )


def _end(decision: Decision) -> float:
    return math.inf if decision.not_after is None else decision.not_after


def _advised(decision: Decision, advice: str) -> Decision:
    if decision.allowed:
        return decision
    if decision.stage is Stage.REVOCATION:
        advice = JOIN_ANEW
    return msgspec.structs.replace(decision, reason=f"{decision.reason}; {advice}")
