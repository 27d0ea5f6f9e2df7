"""bttp for threads: no event loop in sight."""

from ._client import connect
from ._link import BlockingLink
from ._server import BlockingServer, serve

__all__ = ["BlockingLink", "BlockingServer", "connect", "serve"]
