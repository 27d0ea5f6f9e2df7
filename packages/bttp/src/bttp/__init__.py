"""Secure messages between blocktree paths."""

from ._client import connect
from ._limits import Limits, ServerLimits
from ._link import Link
from ._peer import Peer
from ._policy import Policy, RootPolicy
from ._router import Request, Router
from ._server import Server, serve
from ._stream import BlockingStream, Stream
from .errors import (
    AuthenticationError,
    BttpError,
    ConnectionLostError,
    DeadlineError,
    LimitError,
    LocalProtocolError,
    RemoteError,
    RemoteProtocolError,
    UnreachableError,
)

__all__ = [
    "AuthenticationError",
    "BlockingStream",
    "BttpError",
    "ConnectionLostError",
    "DeadlineError",
    "LimitError",
    "Limits",
    "Link",
    "LocalProtocolError",
    "Peer",
    "Policy",
    "RemoteError",
    "RemoteProtocolError",
    "Request",
    "RootPolicy",
    "Router",
    "Server",
    "ServerLimits",
    "Stream",
    "UnreachableError",
    "connect",
    "serve",
]
