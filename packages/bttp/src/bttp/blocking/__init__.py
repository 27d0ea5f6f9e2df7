"""bttp for threads: no event loop in sight."""

from ._client import connect
from ._link import BlockingLink
from ._server import BlockingServer, serve
from ._topics import BlockingSubscription, subscribe

__all__ = ["BlockingLink", "BlockingServer", "BlockingSubscription", "connect", "serve", "subscribe"]
