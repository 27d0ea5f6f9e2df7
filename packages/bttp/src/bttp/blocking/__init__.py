"""bttp for threads: no event loop in sight."""

from ._client import connect
from ._link import BlockingLink
from ._metrics import serve_metrics
from ._reconnecting import BlockingLastingSubscription, BlockingReconnectingLink, reconnecting
from ._server import BlockingServer, serve
from ._topics import BlockingSubscription, subscribe

__all__ = [
    "BlockingLastingSubscription",
    "BlockingLink",
    "BlockingReconnectingLink",
    "BlockingServer",
    "BlockingSubscription",
    "connect",
    "reconnecting",
    "serve",
    "serve_metrics",
    "subscribe",
]
