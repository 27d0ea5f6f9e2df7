"""How a peer stands on its link: admitted until when, with which proofs, and what is under way by rights that it had.

Rights are judged when the link opens, when the peer proves something, when they run out, and when the application says
that it knows of new revocations (`recheck`). Where the peer is not admitted any more, the link ends with the reason;
where it may not reach a path any more, what is under way there does. Pure; the time (unix seconds) is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.verification import Decision

from ._access import Access
from ._core import LinkCore
from ._events import PeerOffered
from ._peer import Peer
from ._policy import refused
from .errors import LimitError


class Standing:
    """The peer of one link, as this side's policy sees it."""

    def __init__(self, core: LinkCore, admit: Callable[[Peer, int], Decision], access: Access) -> None:
        self._core = core
        self._admit = admit
        self._access = access

    def proven(self, peer: Peer, enters: Callable[[Peer], str | None], now: float) -> Decision:
        """The link is opening: admit or refuse. `enters` may say why even an admitted peer does not come in."""
        decision = self._admit(peer, int(now))
        if decision.allowed and (full := enters(peer)) is not None:
            decision = refused(full, Kind.LIMIT)
        if decision.allowed:
            self._core.admit(_seconds(decision, now))
        else:
            self._core.refuse(decision.kind, decision.reason)
        return decision

    def offered(self, event: PeerOffered, now: float) -> Decision | None:
        """The peer proved something more; None: more than a link may carry."""
        try:
            peer = self._core.peer.with_proof(event.proof)
        except LimitError as error:
            self._core.refuse_proof(error.kind, error.message)
            return None
        decision = self._admit(peer, int(now))
        if decision.allowed:
            self._core.take_proof(peer, _seconds(decision, now))
        else:
            self._core.refuse_proof(decision.kind, decision.reason)
        return decision

    def recheck(self, paths: Iterable[tuple[int, BlockPath]], now: float) -> list[int]:
        """Judge anew: the peer, the streams that it opened, and its calls under way (`paths`, by number).

        The numbers of calls that were failed here, whose handlers are to be stopped.
        """
        core = self._core
        decision = self._admit(core.peer, int(now))
        if not decision.allowed:
            core.dismiss(decision.kind, decision.reason)
            return []
        core.stands(_seconds(decision, now))
        failed: list[int] = []
        for number, path in paths:
            refusal = self._refusal(path, now)
            if refusal is not None:
                core.fail(number, *refusal)
                failed.append(number)
        return failed

    def recheck_stream(self, number: int, path: BlockPath, now: float) -> tuple[Kind, str] | None:
        """Why a stream of the peer must end, or None; then it lasts as long as its right does now."""
        decision = self._access.authorize(self._core.peer, path, now)
        if decision is not None and decision.allowed:
            self._core.limit_stream(number, _seconds(decision, now))
            return None
        return self._refusal(path, now)

    def _refusal(self, path: BlockPath, now: float) -> tuple[Kind, str] | None:
        decision = self._access.authorize(self._core.peer, path, now)
        if decision is None or decision.allowed:
            return None
        return decision.kind, decision.reason


def _seconds(decision: Decision, now: float) -> float | None:
    return None if decision.not_after is None else max(0.0, decision.not_after + 1 - now)
