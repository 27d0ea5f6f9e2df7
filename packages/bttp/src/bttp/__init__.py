"""Secure messages between blocktree paths."""

from ._broker import Broker, Subscription, subscribe
from ._client import connect
from ._endpoints import Endpoint, TcpEndpoint, UnixEndpoint, parse_endpoint
from ._fields import Repeat
from ._limits import Limits, ServerLimits
from ._link import Link
from ._peer import Peer
from ._policy import Policy, RootPolicy
from ._reconnecting import LastingSubscription, ReconnectingLink, reconnecting
from ._redial import Reconnection
from ._renewing import keep_renewed, renewal_due
from ._replay import ReplayLimits
from ._router import Request, Router
from ._server import Server, serve
from ._stream import BlockingStream, Stream
from ._topics import Message, WhenSlow
from ._trace import TraceParent
from .errors import (
    AuthenticationError,
    BttpError,
    ConnectionLostError,
    DeadlineError,
    LimitError,
    LocalProtocolError,
    NotSentError,
    RemoteError,
    RemoteProtocolError,
    UnreachableError,
)

__all__ = [
    "AuthenticationError",
    "BlockingStream",
    "Broker",
    "BttpError",
    "ConnectionLostError",
    "DeadlineError",
    "Endpoint",
    "LastingSubscription",
    "LimitError",
    "Limits",
    "Link",
    "LocalProtocolError",
    "Message",
    "NotSentError",
    "Peer",
    "Policy",
    "ReconnectingLink",
    "Reconnection",
    "RemoteError",
    "RemoteProtocolError",
    "Repeat",
    "ReplayLimits",
    "Request",
    "RootPolicy",
    "Router",
    "Server",
    "ServerLimits",
    "Stream",
    "Subscription",
    "TcpEndpoint",
    "TraceParent",
    "UnixEndpoint",
    "UnreachableError",
    "WhenSlow",
    "connect",
    "keep_renewed",
    "parse_endpoint",
    "reconnecting",
    "renewal_due",
    "serve",
    "subscribe",
]
