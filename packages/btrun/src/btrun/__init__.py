"""Actors, protocols and services on blocktree paths."""

from importlib.metadata import version

from ._handlers import handle
from ._runtime import Runtime
from ._supervision import Backoff, Restart, Strategy, Supervision
from ._supervisor import Supervisor
from .actor import Actor
from .errors import (
    CallCycleError,
    CallTimeoutError,
    DiedError,
    EscalationError,
    MailboxFullError,
    RunError,
    UnavailableError,
    UnhandledMessageError,
)
from .mailboxes import Mailbox, WhenFull
from .messages import Ask
from .reasons import Down, Reason
from .refs import Ref

__all__ = [
    "Actor",
    "Ask",
    "Backoff",
    "CallCycleError",
    "CallTimeoutError",
    "DiedError",
    "Down",
    "EscalationError",
    "Mailbox",
    "MailboxFullError",
    "Reason",
    "Ref",
    "Restart",
    "RunError",
    "Runtime",
    "Strategy",
    "Supervision",
    "Supervisor",
    "UnavailableError",
    "UnhandledMessageError",
    "WhenFull",
    "__version__",
    "handle",
]

__version__ = version("btrun")
