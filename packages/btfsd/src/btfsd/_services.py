"""The services of one store: what listens at which path, and how all of it ends."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from btfproto.domain import DomainReader
from btfproto.localfs import FsOptions
from btfproto.opening import FILES_SERVICE, STORE_SERVICE
from btfproto.remote import FsServer, SessionLimits, VolumeAttacher
from btfproto.store import EmbeddedStore
from btfproto.store.check import CommitChecker
from btfproto.store.remote import StoreServer
from bttp import Router

from ._host import Host
from ._settings import Settings

PROGRAM = "btfsd"
SOCKET_NAME = "btfsd.sock"
MAX_SOCKET_PATH = 107  #: bytes of a Unix socket's path on Linux
MIB = 1 << 20


class Services:
    """Opened on construction. `drain`, then `close`: everything is committed when `close` returns."""

    def __init__(self, host: Host, settings: Settings) -> None:
        """Raises StoreError (BUSY: another process has the store), FsError (no such domain in it), IntegrityError."""
        self.router = Router()
        self.socket = socket_endpoint(host.store)
        with ExitStack() as stack:
            store = EmbeddedStore(host.store, program=PROGRAM, endpoint=self.socket)
            stack.callback(store.close)
            reader = DomainReader(store, host.domain.root)
            reader.domain()
            self._stores = StoreServer(store, CommitChecker(store, reader, host.domain.root, time.time))
            attacher = VolumeAttacher(self._stores.store, host.identity, options=_options(settings))
            stack.callback(attacher.close)
            self._files = FsServer(attacher, limits=_limits(settings), workers=settings.limits.max_workers)
            stack.callback(self._files.close)
            if settings.services.store:
                self._stores.add_to(self.router, host.path.child(STORE_SERVICE))
            if settings.services.files:
                self._files.add_to(self.router, host.path.child(FILES_SERVICE))
            self._owned = stack.pop_all()

    def drain(self) -> None:
        """Let nobody wait for events any more, so that all requests come to their end."""
        self._stores.drain()
        self._files.drain()

    def close(self) -> None:
        """End sessions, commit what thin clients wrote, close the store; idempotent. Raises the first error of it."""
        self._owned.close()


def socket_endpoint(store: Path) -> str | None:
    """The Unix socket beside the store; None where its path is longer than a socket's may be."""
    path = store.absolute() / SOCKET_NAME
    return None if len(str(path).encode()) > MAX_SOCKET_PATH else f"unix:{path}"


def _options(settings: Settings) -> FsOptions:
    files = settings.files
    return FsOptions(
        shared=True,
        commit_interval=files.commit_seconds,
        dirty_limit=files.dirty_mib * MIB,
        cache_bytes=files.cache_mib * MIB,
    )


def _limits(settings: Settings) -> SessionLimits:
    limits = settings.limits
    return SessionLimits(
        max_sessions=limits.max_sessions,
        max_sessions_per_principal=limits.max_sessions_per_principal,
        max_inodes=limits.max_inodes,
        max_handles=limits.max_handles,
        max_locks=limits.max_locks,
        grace_seconds=limits.grace_seconds,
    )
