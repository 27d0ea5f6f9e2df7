"""Who may connect to the server and reach its services, and what those who may not are told to do.

A link asks its policy once for each path. That is not enough where somebody is revoked while its link is open: so the
services are added to a `GuardedRouter`, which asks again at the first request after each change of the list.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import msgspec
from btlib.errors import CapabilityError
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision, Stage
from bttp import Peer, Request, RootPolicy, Router

MAX_DECIDED = 16_384  #: paths of links whose standing is remembered; a link needs four

Reply = bytes | memoryview | Sequence[bytes | memoryview] | None
Handler = Callable[[Request], object]  # as `bttp.Router` takes them, of either kind

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


class GuardedRouter(Router):
    """A router whose handlers serve nobody who was revoked since its link was opened. Thread-safe."""

    def __init__(
        self, policy: ServerPolicy, revocations: Callable[[], Revocations], clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self._policy = policy
        self._revocations = revocations
        self._clock = clock
        self._decided: dict[tuple[int, BlockPath], tuple[int, int]] = {}

    def add(self, prefix: BlockPath, handler: Handler, *, inline: bool = False) -> None:
        async def guard_task(request: Request) -> Reply:
            self._check(request)
            return await cast("Awaitable[Reply]", handler(request))

        def guard(request: Request) -> Reply:
            self._check(request)
            return cast("Reply", handler(request))

        super().add(prefix, guard_task if inspect.iscoroutinefunction(handler) else guard, inline=inline)

    def _check(self, request: Request) -> None:
        """Raises CapabilityError."""
        now = int(self._clock())
        standing = self._revocations().standing(now)
        place = (request.link.id, request.path)
        if not any(standing) or self._decided.get(place) == standing:
            return
        decision = self._policy.authorize(request.peer, request.path, now)
        if not decision.allowed:
            raise CapabilityError(decision.reason, kind=decision.kind)
        if len(self._decided) >= MAX_DECIDED:
            self._decided.clear()  # they are decided again, that is all
        self._decided[place] = standing


def _advised(decision: Decision, advice: str) -> Decision:
    if decision.allowed:
        return decision
    if decision.stage is Stage.REVOCATION:
        advice = JOIN_ANEW
    return msgspec.structs.replace(decision, reason=f"{decision.reason}; {advice}")
