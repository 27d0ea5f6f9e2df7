"""The other end of a link: who it proved to be, and what its chains allow. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision, Stage, VerifiedLinks, verify_chain
from btlib.writecaps import Chain, Rights

from ._auth import Auth
from ._limits import MAX_PRINCIPALS
from .errors import LimitError

MEMBERSHIP = Rights(0)  #: no right in particular

_VERIFIED = VerifiedLinks()  # only saves time; says nothing about who may do what


class Peer(msgspec.Struct, frozen=True):
    """Whom the link leads to. A peer without proofs is anonymous."""

    proofs: tuple[Auth, ...] = ()

    @property
    def principals(self) -> tuple[Principal, ...]:
        return tuple(proof.public.principal for proof in self.proofs)

    @property
    def chains(self) -> tuple[Chain, ...]:
        """What they showed; unverified. `decide` verifies."""
        return tuple(chain for proof in self.proofs for chain in proof.chains)

    @property
    def anonymous(self) -> bool:
        return not self.proofs

    def with_proof(self, proof: Auth) -> Peer:
        """The same with another principal, or with other chains of one. Raises LimitError."""
        others = [known for known in self.proofs if known.public != proof.public]
        if len(others) == len(self.proofs):
            if len(others) >= MAX_PRINCIPALS:
                raise LimitError(f"{len(others)} principals speak on this link already, and it carries no more")
            return Peer((*self.proofs, proof))
        return Peer(tuple(proof if known.public == proof.public else known for known in self.proofs))

    def decide(
        self,
        right: Rights,
        path: BlockPath,
        now: int,
        *,
        lineage: Sequence[bytes] | None = None,
        revocations: Revocations = NO_REVOCATIONS,
    ) -> Decision:
        """Whether one of the peer's chains gives it this right there; if not, why the closest one does not."""

        def judge(principal: Principal, chain: Chain) -> Decision:
            return verify_chain(
                chain,
                root=path.root,
                subject=principal,
                right=right,
                now=now,
                path=path,
                lineage=lineage,
                revocations=revocations,
                verified=_VERIFIED,
            )

        return self._best(judge)

    def member(
        self, root: Principal, now: int, right: Rights = MEMBERSHIP, revocations: Revocations = NO_REVOCATIONS
    ) -> Decision:
        """Whether the peer belongs to the domain of `root`, wherever in it (and has `right` at its own place)."""

        def judge(principal: Principal, chain: Chain) -> Decision:
            return verify_chain(
                chain, root=root, subject=principal, right=right, now=now, revocations=revocations, verified=_VERIFIED
            )

        return self._best(judge)

    def _best(self, judge: Callable[[Principal, Chain], Decision]) -> Decision:
        decisions = [
            judge(proof.public.principal, chain) for proof in self.proofs for chain in (Chain(), *proof.chains)
        ]
        if not decisions:
            return ANONYMOUS
        return max(decisions, key=_closeness)

    def __str__(self) -> str:
        return ", ".join(map(str, self.principals)) or "an anonymous peer"


def _closeness(decision: Decision) -> tuple[int, float]:
    return decision.stage, float("inf") if decision.not_after is None else decision.not_after


ANONYMOUS = Decision(
    allowed=False,
    stage=Stage.SUBJECT,
    kind=Kind.UNAUTHENTICATED,
    reason="the peer is anonymous: it proved no principal",
    not_after=None,
    chain=Chain(),
)
