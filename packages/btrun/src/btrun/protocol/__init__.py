"""Protocols: what two or more roles may say to each other, declared once and checked at both ends.

A protocol is a class with roles, states and messages (`Protocol`, `Role`, `State`, `END`). From it derive the typed
handles of each role (`handles_source` writes them), the monitor of each session, a fingerprint for versions, and the
texts for people (`show`, `diagram`, `diff`). It does not authenticate and does not connect: a session is opened on a
`Channel` that has done both, between processes one over a bttp link (`open_channel`, `serve_sessions`).
"""

from ._channel import Accepts, Channel, UnexpectedMessageError
from ._declaration import END, Protocol, Role, State
from ._diff import Change, changes, diff
from ._gathering import Gathering
from ._generate import handles_source
from ._handles import Ended, Handle, Side, Taking, any_version
from ._joining import SESSION_BYTES
from ._memory import MemoryChannel, channel_pair
from ._show import diagram, show
from ._streams import Program, open_channel, serve_sessions
from ._violations import ViolationCounts
from ._wire import Packets, WireChannel

__all__ = [
    "END",
    "SESSION_BYTES",
    "Accepts",
    "Change",
    "Channel",
    "Ended",
    "Gathering",
    "Handle",
    "MemoryChannel",
    "Packets",
    "Program",
    "Protocol",
    "Role",
    "Side",
    "State",
    "Taking",
    "UnexpectedMessageError",
    "ViolationCounts",
    "WireChannel",
    "any_version",
    "changes",
    "channel_pair",
    "diagram",
    "diff",
    "handles_source",
    "open_channel",
    "serve_sessions",
    "show",
]
