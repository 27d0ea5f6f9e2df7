"""Who may open a link, and who may send where. Pure: clock and revocations are arguments.

A policy answers two questions: `admit` when a peer has proven itself, `authorize` before the first message to a path
reaches a handler. The answer to the second is kept for the link until its `not_after`. After new revocations,
say `recheck` to the links, or to the server: then they count for what is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision, Stage
from btlib.writecaps import SERVE, Chain, Rights

from ._peer import Peer


class Policy(Protocol):
    """What a server (or a client that serves) lets its peers do. Thread-safe; must not block."""

    def admit(self, peer: Peer, now: int) -> Decision:
        """Whether this peer may have a link at all."""
        ...

    def authorize(self, peer: Peer, path: BlockPath, now: int) -> Decision:
        """Whether it may send to this path."""
        ...


class RootPolicy:
    """The default: members of the given domains, each to where its chains give it EXECUTE.

    `anonymous`: peers without any proof may open a link, and reach the paths below `public`; nobody else gains by them.
    `any_principal`: whoever proves some principal may open a link, without a chain; `authorize` is as strict as ever.
    """

    def __init__(
        self,
        roots: Sequence[Principal],
        *,
        anonymous: bool = False,
        any_principal: bool = False,
        public: Sequence[BlockPath] = (),
        revocations: Callable[[Principal], Revocations] = lambda _root: NO_REVOCATIONS,
    ) -> None:
        self._roots = tuple(roots)
        self._anonymous = anonymous
        self._any_principal = any_principal
        self._public = tuple(public)
        self._revocations = revocations

    def admit(self, peer: Peer, now: int) -> Decision:
        if peer.anonymous:
            return allowed("anonymous peers may connect") if self._anonymous else _NO_ANONYMOUS
        if self._any_principal:
            return allowed("whoever proves a principal may connect")
        decisions = [peer.member(root, now, revocations=self._revocations(root)) for root in self._roots]
        return max(decisions, key=lambda decision: decision.stage) if decisions else _NO_ROOTS

    def authorize(self, peer: Peer, path: BlockPath, now: int) -> Decision:
        if any(prefix.is_prefix_of(path) for prefix in self._public):
            return allowed(f"{path} is open to every peer that may connect")
        if path.root not in self._roots:
            return refused(f"this server does not speak for the domain of {path.root}")
        return peer.decide(Rights.EXECUTE, path, now, revocations=self._revocations(path.root))


def allowed(reason: str) -> Decision:
    """A decision that does not rest on a chain."""
    return Decision(
        allowed=True, stage=Stage.ALLOWED, kind=Kind.FORBIDDEN, reason=reason, not_after=None, chain=Chain()
    )


def refused(reason: str, kind: Kind = Kind.FORBIDDEN) -> Decision:
    """Likewise."""
    return Decision(allowed=False, stage=Stage.SUBJECT, kind=kind, reason=reason, not_after=None, chain=Chain())


def check_server(
    peer: Peer, root: Principal, server: BlockPath | None, now: int, revocations: Revocations = NO_REVOCATIONS
) -> Decision:
    """A client's question: whether this server may serve in the domain of `root` (and at `server`, where one is named).

    Leave to send there is not enough: all members have it, and none of them shall pass for the server.
    """
    if server is not None:
        if server.root != root:
            return refused(f"{server} is not in the domain of {root}", Kind.INVALID)
        decision = peer.decide(SERVE, server, now, revocations=revocations)
    else:
        decision = peer.member(root, now, SERVE, revocations)
    if decision.allowed:
        return decision
    place = "in the domain" if server is None else f"at {server}"
    return msgspec.structs.replace(decision, reason=f"it may not serve {place} (write and execute): {decision.reason}")


_NO_ANONYMOUS = refused("this server takes no anonymous peers: prove a principal", Kind.UNAUTHENTICATED)
_NO_ROOTS = refused("this server knows no domain", Kind.UNAUTHENTICATED)
