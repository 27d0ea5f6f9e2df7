"""A store over a link: `StoreClient` is a `Store` on a server, `StoreServer` is that server."""

from ._client import NOT_SERVED, RemotePast, StoreClient
from ._desk import LeaseDesk
from ._lock_holders import FileLockHolders
from ._observed import ObservedStore
from ._server import WATCH, CommitCheck, StoreServer

__all__ = [
    "NOT_SERVED",
    "WATCH",
    "CommitCheck",
    "FileLockHolders",
    "LeaseDesk",
    "ObservedStore",
    "RemotePast",
    "StoreClient",
    "StoreServer",
]
