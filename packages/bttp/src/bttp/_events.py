"""What a link's core tells its shell. Values only; the shell acts."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ._auth import Auth
from ._fields import Fields
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


class StreamState(msgspec.Struct, eq=False):
    """One live stream, as its core sees it. `token` is the shell's; for a received stream it sets that itself."""

    token: object
    own: bool  #: opened by this side
    credit: int  #: what this side may still send
    window: int  #: what the peer may still send
    taken: int = 0  #: to be given back to the peer
    arriving: int = 0  #: cost of the item whose chunks are coming
    finished: bool = False  #: this side said END
    ended: bool = False  #: the peer said END
    due: float | None = None  #: its own deadline
    right_ends: bool = False  #: its deadline is the end of the peer's right


class PeerProven(msgspec.Struct, frozen=True, gc=False):
    """The peer's signatures are right. Now call `admit(…)` or `refuse(…)`."""

    peer: Peer


class PeerOffered(msgspec.Struct, frozen=True, gc=False):
    """On an open link, the peer proved one more principal, or new chains. Say `take_proof` or `refuse_proof`."""

    proof: Auth


class ProofAnswered(msgspec.Struct, frozen=True):
    """The peer took a proof of this side, or says why not; `token` is what `prove` was given."""

    token: object
    error: BttpError | None


class AdmissionDue(msgspec.Struct, frozen=True, gc=False):
    """The time is over for which the peer was admitted. Judge it anew: `stands` or `dismiss`."""


class LinkOpened(msgspec.Struct, frozen=True, gc=False):
    """Both sides accepted each other."""

    peer: Peer


class CallReceived(msgspec.Struct, frozen=True):
    """Answer with `reply(number, …)` or `fail(number, …)`, in any order; if not at once, say `hold(event)` first."""

    number: int
    route: Route
    body: memoryview
    deadline: float | None
    fields: Fields | None = None


class SendReceived(msgspec.Struct, frozen=True):
    """Say `consumed(cost)` when it was handled, so that the peer may send more."""

    route: Route
    body: memoryview
    cost: int
    fields: Fields | None = None


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


class StreamReceived(msgspec.Struct, frozen=True):
    """The peer opened a stream. Set `stream.token`, or say `streams.reset(number, …)`."""

    number: int
    stream: StreamState
    route: Route
    body: memoryview
    deadline: float | None
    fields: Fields | None = None


class ItemReceived(msgspec.Struct, frozen=True):
    """An item of a stream. Say `streams.taken(number, cost)` when somebody took it."""

    number: int
    stream: StreamState
    body: memoryview
    cost: int


class StreamEnded(msgspec.Struct, frozen=True):
    """The peer sends no more items on this stream; this side still may."""

    stream: StreamState


class StreamReset(msgspec.Struct, frozen=True):
    """A stream is over before both sides finished: `error` says who did that and why."""

    stream: StreamState
    error: BttpError


class StreamWritable(msgspec.Struct, frozen=True):
    """`streams.write` was refused for want of credit or room; try again."""

    stream: StreamState


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
    | PeerOffered
    | ProofAnswered
    | AdmissionDue
    | LinkOpened
    | CallReceived
    | SendReceived
    | CallCancelled
    | ReplyReceived
    | CallFailed
    | StreamReceived
    | ItemReceived
    | StreamEnded
    | StreamReset
    | StreamWritable
    | Writable
    | PeerDraining
    | LinkClosed
)
