"""Who may write at a topic: publish there, or (who may also delegate it) keep its keys. Pure."""

from __future__ import annotations

from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.verification import Decision, VerifiedLinks, verify_chain
from btlib.writecaps import Chain, Rights


def decide_writing(
    chain: Chain, who: Principal, topic: BlockPath, now: int, revocations: Revocations, verified: VerifiedLinks | None
) -> Decision:
    """Whether this chain gives WRITE at the topic to `who`, and why not."""
    return verify_chain(
        chain,
        root=topic.root,
        subject=who,
        right=Rights.WRITE,
        now=now,
        path=topic,
        revocations=revocations,
        verified=verified,
    )
