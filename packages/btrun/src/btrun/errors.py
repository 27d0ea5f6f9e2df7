"""The errors of btrun. Each says whose fault it is and what the caller may do.

`DiedError` and `UnavailableError` are different on purpose: the first says that the actor ended (asking again is
pointless), the second that nobody can tell (it may live; asking again later may help, and may act twice).
"""

from __future__ import annotations

from typing import ClassVar

from btlib.errors import BlocktreeError
from btlib.kinds import Kind


class RunError(BlocktreeError):
    """Root of the errors of btrun."""

    untouched = False  #: true where the message certainly reached nobody; then it may be sent elsewhere


class DeclarationError(RunError, TypeError):
    """An actor class or a setting is wrong as it is written. Mend the class."""

    default_kind: ClassVar[Kind] = Kind.INVALID


class UsageError(RunError):
    """The runtime is used wrongly: outside its context, from a foreign thread. Mend the caller."""

    default_kind: ClassVar[Kind] = Kind.INVALID


class NameTakenError(RunError):
    """An actor with this name lives already. Choose another, or stop that one first."""

    default_kind: ClassVar[Kind] = Kind.EXISTS


class MailboxFullError(RunError):
    """The receiver has as many messages waiting as its mailbox takes; nothing was queued. Send slower, or wait."""

    default_kind: ClassVar[Kind] = Kind.LIMIT
    untouched = True


class UnhandledMessageError(RunError):
    """The actor has no handler for messages of this type. The caller's fault; nothing happened."""

    default_kind: ClassVar[Kind] = Kind.NOT_SUPPORTED


class CallCycleError(RunError):
    """The call would wait for itself: the callee already waits, directly or through others, for the caller.

    Nothing was sent. Turn one of the calls into a `send`, or let the callee be `reentrant`.
    """

    default_kind: ClassVar[Kind] = Kind.INVALID


class CallTimeoutError(RunError):
    """No answer before the deadline. The handler was cancelled, or goes on if it is shielded; it may have acted."""

    default_kind: ClassVar[Kind] = Kind.DEADLINE


class DiedError(RunError):
    """The actor ended, before this call or while it was under way; the message has the reason. It may have acted."""

    default_kind: ClassVar[Kind] = Kind.STALE


class NoSuchActorError(RunError):
    """Nobody has this name. Nothing happened."""

    default_kind: ClassVar[Kind] = Kind.NO_SUCH_TARGET
    untouched = True


class UnavailableError(RunError):
    """The actor's runtime cannot be reached, or the link to it broke. Whether the actor lives, or acted, is unknown."""

    default_kind: ClassVar[Kind] = Kind.UNREACHABLE


class NoLinkError(UnavailableError):
    """No link leads there, or it takes no new messages. Nothing was sent."""

    untouched = True


class WrongPeerError(NoLinkError):
    """Whoever answers at the other end of a link may not serve at this path. Nothing was sent."""

    default_kind: ClassVar[Kind] = Kind.FORBIDDEN


class NotHereError(UnavailableError):
    """The service is active in another runtime. Nothing happened here; ask there."""

    untouched = True


class EscalationError(RunError):
    """A supervisor gave up: its children failed more often than its intensity allows. The runtime ends with it."""
