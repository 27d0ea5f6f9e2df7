"""What a link's core tells its shell. Values only; the shell acts."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ._peer import Peer
from ._router import Destination
from .errors import BttpError


class Target(msgspec.Struct, frozen=True):
    """What a shell found out about a path: its handler, or why it has none; and until when (unix time) that holds."""

    destination: Destination | None
    kind: Kind
    reason: str
    until: float


class Route(msgspec.Struct, eq=False):
    """A path that the peer sends to, by number."""

    path: BlockPath
    target: Target | None = None


class PeerProven(msgspec.Struct, frozen=True, gc=False):
    """The peer's signatures are right. Now call `admit()` or `refuse()`."""

    peer: Peer


class LinkOpened(msgspec.Struct, frozen=True, gc=False):
    """Both sides accepted each other."""

    peer: Peer


class CallReceived(msgspec.Struct, frozen=True):
    """Answer with `reply(number, …)` or `fail(number, …)`, in any order; if not at once, say `hold(event)` first."""

    number: int
    route: Route
    body: memoryview
    deadline: float | None


class SendReceived(msgspec.Struct, frozen=True):
    """Say `consumed(cost)` when it was handled, so that the peer may send more."""

    route: Route
    body: memoryview
    cost: int


class CallCancelled(msgspec.Struct, frozen=True, gc=False):
    """Nobody waits for the answer to this received call any more. Stop; what you still answer is dropped."""

    number: int


class ReplyReceived(msgspec.Struct, frozen=True):
    """The answer to a call of this side; `token` is what `call` was given."""

    token: object
    body: memoryview


class CallFailed(msgspec.Struct, frozen=True):
    """A call of this side ended without a reply; `token` is what `call` was given."""

    token: object
    error: BttpError


class Writable(msgspec.Struct, frozen=True, gc=False):
    """`send` was refused for want of credit or room; try again."""


class PeerDraining(msgspec.Struct, frozen=True, gc=False):
    """The peer takes no new calls on this link; those under way finish."""

    kind: Kind
    text: str


class LinkClosed(msgspec.Struct, frozen=True):
    """The last event. `error` is None after an orderly end. `undelivered`: messages that never left this process."""

    error: BttpError | None
    undelivered: int


Event: TypeAlias = (
    PeerProven
    | LinkOpened
    | CallReceived
    | SendReceived
    | CallCancelled
    | ReplyReceived
    | CallFailed
    | Writable
    | PeerDraining
    | LinkClosed
)
