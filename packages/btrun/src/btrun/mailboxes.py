"""How many messages may wait for an actor, and what happens to one more. Stated by the class, or at `spawn`."""

from __future__ import annotations

import enum

import msgspec

DEFAULT_LIMIT = 1000  #: about 10 ms of small handlers; more waiting mostly means more latency, not more throughput


class WhenFull(enum.Enum):
    """What `send` does with a message for which there is no room. A call always raises MailboxFullError."""

    RAISE = "raise"  #: raise MailboxFullError at the sender
    DROP_NEW = "drop new"  #: a dead letter of this message; `send` returns False
    DROP_OLD = "drop old"  #: a dead letter of the oldest sent message; this one is queued


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox's limit and policy. Notices (`Down`, stop) have a lane of their own and do not count."""

    limit: int = DEFAULT_LIMIT
    when_full: WhenFull = WhenFull.RAISE
