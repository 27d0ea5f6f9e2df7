"""An identity: what a process can prove itself to be. Its keys, and the chains of writecaps that it holds.

It decides nothing for others; a peer or a server verifies the chain that it is shown. It does not store anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .errors import CapabilityError
from .paths import BlockPath
from .principals import Principal
from .public_keys import PublicKeys
from .revocations import NO_REVOCATIONS, Revocations
from .signing import Opener, Signer
from .verification import Decision, VerifiedLinks, verify_chain
from .writecaps import Chain, Rights

if TYPE_CHECKING:
    from .process_keys import ProcessKeys


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identity:
    """Keys and chains of one principal. `signer` and `opener` hold the same key set (often they are one object).

    `process_keys`, where there are some, sign what is written in the identity's stead.
    """

    signer: Signer
    opener: Opener
    chains: tuple[Chain, ...] = ()
    process_keys: ProcessKeys | None = field(default=None, compare=False)
    _verified: VerifiedLinks = field(default_factory=VerifiedLinks, init=False, compare=False)

    def __post_init__(self) -> None:
        if self.signer.public != self.opener.public:
            raise CapabilityError("an identity signs and opens with the keys of one principal")

    @property
    def public(self) -> PublicKeys:
        return self.signer.public

    @property
    def principal(self) -> Principal:
        return self.signer.public.principal

    def __repr__(self) -> str:
        return f"Identity({self.public!r}, {len(self.chains)} chains)"

    def with_chains(self, *chains: Chain) -> Identity:
        """The same identity, holding these chains as well."""
        return replace(self, chains=(*self.chains, *(chain for chain in chains if chain not in self.chains)))

    def chain_for(
        self,
        root: Principal,
        right: Rights,
        now: int,
        path: BlockPath | None = None,
        lineage: Sequence[bytes] | None = None,
        revocations: Revocations = NO_REVOCATIONS,
    ) -> Chain:
        """The chain to show for this right: of those that allow it, the one that lasts longest.

        The root itself needs none and gets the empty chain. Raises CapabilityError with the reason of the chain that
        comes closest.
        """
        chains = (Chain(), *self.chains)
        decisions = [self._decide(chain, root, right, now, path, lineage, revocations) for chain in chains]
        best = max(decisions, key=_closeness)
        if not best.allowed:
            raise CapabilityError(best.reason, kind=best.kind)
        return best.chain

    def _decide(
        self,
        chain: Chain,
        root: Principal,
        right: Rights,
        now: int,
        path: BlockPath | None,
        lineage: Sequence[bytes] | None,
        revocations: Revocations,
    ) -> Decision:
        return verify_chain(
            chain,
            root=root,
            subject=self.principal,
            right=right,
            now=now,
            path=path,
            lineage=lineage,
            revocations=revocations,
            verified=self._verified,
        )


def _closeness(decision: Decision) -> tuple[int, float]:
    return decision.stage, float("inf") if decision.not_after is None else decision.not_after
