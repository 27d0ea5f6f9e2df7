"""What a peer may reach behind one side of a link: the policy's word and the router's. Pure."""

from __future__ import annotations

from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.verification import Decision

from ._events import Target
from ._peer import Peer
from ._policy import Policy
from ._router import Router, StreamDestination

_NOTHING_SERVED = "this side of the link serves nothing"
_RETRY = 1.0  # seconds that a refusal holds: grants and handlers may come


class Access:
    """One side's router and policy."""

    def __init__(self, router: Router | None, policy: Policy | None) -> None:
        self._router = router
        self._policy = policy

    def target(self, peer: Peer, path: BlockPath, now: float) -> Target:
        """Where calls and messages to this path go; why nowhere; and until when that holds."""
        decision = self.authorize(peer, path, now)
        if decision is None:
            return Target(None, Kind.NO_SUCH_TARGET, _NOTHING_SERVED, now + _RETRY)
        if not decision.allowed:
            return Target(None, decision.kind, decision.reason, now + _RETRY)
        assert self._router is not None
        destination = self._router.find(path)
        if destination is None:
            return Target(None, Kind.NO_SUCH_TARGET, f"nothing listens at {path}", now + _RETRY)
        until = float("inf") if decision.not_after is None else float(decision.not_after)
        return Target(destination, Kind.INTERNAL, decision.reason, until)

    def stream_target(
        self, peer: Peer, path: BlockPath, now: float
    ) -> tuple[StreamDestination, float | None] | tuple[Kind, str]:
        """The handler of a stream and when the right to it ends; or why there is none."""
        decision = self.authorize(peer, path, now)
        if decision is None:
            return Kind.NO_SUCH_TARGET, _NOTHING_SERVED
        if not decision.allowed:
            return decision.kind, decision.reason
        assert self._router is not None
        destination = self._router.find_stream(path)
        if destination is None:
            return Kind.NO_SUCH_TARGET, f"nothing takes streams at {path}"
        return destination, decision.not_after

    def authorize(self, peer: Peer, path: BlockPath, now: float) -> Decision | None:
        """None: nobody may reach anything here."""
        if self._router is None or self._policy is None:
            return None
        return self._policy.authorize(peer, path, int(now))
