"""The errors of bttp. Each says whose fault it is and what the caller may do.

`LocalProtocolError` is our own caller's mistake, `RemoteProtocolError` the peer's. A link stays broken after the first
error that ends it, and `link.reason` keeps that error.
"""

from __future__ import annotations

from typing import ClassVar

from btlib.errors import BlocktreeError
from btlib.kinds import Kind


class BttpError(BlocktreeError):
    """Root of the errors of bttp."""


class LocalProtocolError(BttpError):
    """This process used a link wrongly: after it was closed, after a fork, in the wrong state. Mend the caller."""

    default_kind: ClassVar[Kind] = Kind.INVALID


class RemoteProtocolError(BttpError):
    """The peer broke the protocol; the link is closed. Nothing to retry: the peer is broken, or is no bttp peer."""

    default_kind: ClassVar[Kind] = Kind.PROTOCOL


class AuthenticationError(BttpError):
    """One side does not accept what the other proved. The message has the reason; a new capability may help."""

    default_kind: ClassVar[Kind] = Kind.UNAUTHENTICATED


class ConnectionLostError(BttpError):
    """The link ended while this was under way. Whether the peer acted is unknown; connect anew, and look before you
    repeat what must not happen twice."""

    default_kind: ClassVar[Kind] = Kind.UNREACHABLE


class NotSentError(ConnectionLostError):
    """The link had ended before (or was not open yet): nothing was sent. Send it again on another link."""


class UnreachableError(BttpError):
    """No link could be made: nobody listens there, or it did not answer in time. Nothing was sent; try again later."""

    default_kind: ClassVar[Kind] = Kind.UNREACHABLE


class DeadlineError(BttpError):
    """No answer before the deadline. The peer was told to stop; whether it had acted is unknown."""

    default_kind: ClassVar[Kind] = Kind.DEADLINE


class RemoteError(BttpError):
    """The peer's handler, or the peer itself, answered with an error of this kind. The link is well.

    `traceback`: the last lines of the handler's, where the peer tells them (`Router(tracebacks=True)`); text, no more.
    """

    def __init__(self, message: str, *, kind: Kind | None = None, traceback: str | None = None) -> None:
        super().__init__(message, kind=kind)
        self.traceback = traceback
        if traceback is not None:
            self.add_note(f"at the peer:\n{traceback}")


class LimitError(BttpError):
    """A limit of this side or of the peer; the message names it and its setting. Send less, or raise it."""

    default_kind: ClassVar[Kind] = Kind.LIMIT
