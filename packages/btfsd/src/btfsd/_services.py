"""The services of one store: what listens at which path, who may reach it, and how all of it ends.

The revocation list is asked for after every commit, before whoever committed it is answered: so from the moment at
which `bt revoke` has its answer, nothing of a revoked principal is served or taken here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from btfproto.domain import DomainReader
from btfproto.localfs import FsOptions
from btfproto.opening import FILES_SERVICE, STORE_SERVICE
from btfproto.remote import FsServer, SessionLimits, VolumeAttacher
from btfproto.revocations import MEMORY_FILE, FileMemory, RevocationView
from btfproto.store import EmbeddedStore
from btfproto.store.check import CommitChecker
from btfproto.store.remote import StoreServer
from btlib.errors import BlocktreeError
from btlib.revocations import Revocations
from bttp import Router

from ._host import Host
from ._policy import ServerPolicy
from ._settings import Settings

log = logging.getLogger("btfsd")

PROGRAM = "btfsd"
SOCKET_NAME = "btfsd.sock"
MAX_SOCKET_PATH = 107  #: bytes of a Unix socket's path on Linux
MIB = 1 << 20


class Services:
    """Opened on construction. `drain`, then `close`: everything is committed when `close` returns."""

    def __init__(self, host: Host, settings: Settings) -> None:
        """Raises StoreError (BUSY: another process has the store), FsError (no such domain in it), IntegrityError."""
        root = host.domain.root
        self._own = host.identity.principal
        self.policy = ServerPolicy(root, self._revoked)
        self.router = Router()
        self.socket = socket_endpoint(host.store)
        with ExitStack() as stack:
            store = EmbeddedStore(host.store, program=PROGRAM, endpoint=self.socket)
            stack.callback(store.close)
            self._view = RevocationView(store, root, FileMemory(host.domain.data / MEMORY_FILE))
            reader = DomainReader(store, root, self._view)
            reader.domain()
            self._learn()
            self._stores = StoreServer(store, CommitChecker(store, reader, root, time.time, self._revoked))
            self._stores.store.listen(self._learn)
            attacher = VolumeAttacher(
                self._stores.store, host.identity, options=_options(settings), revocations=self._view
            )
            stack.callback(attacher.close)
            self._files = FsServer(
                attacher,
                limits=_limits(settings),
                workers=settings.limits.max_workers,
                revocations=self._revoked,
            )
            stack.callback(self._files.close)
            if settings.services.store:
                self._stores.add_to(self.router, host.path.child(STORE_SERVICE))
            if settings.services.files:
                self._files.add_to(self.router, host.path.child(FILES_SERVICE))
            self._owned = stack.pop_all()

    def on_revocation(self, recheck: Callable[[], None]) -> None:
        """Call it when the list has changed, so that links are judged by it; in a thread that may wait."""
        self._view.listen(recheck)

    def _revoked(self) -> Revocations:
        return self._view.current

    def _learn(self) -> None:
        """Take over a newer list. One that cannot be believed is a fault of the store, and who was revoked stays so."""
        try:
            newer = self._view.refresh(int(time.time()))
        except BlocktreeError as error:
            log.error("the revocation list in the store is refused, the one known counts: %s", error)
            return
        if newer:
            known = self._view.current
            counts = len(known.principals), len(known.serials)
            fields = {"event": "revocations", "version": known.version}
            log.info(
                "revocation list %d: %d principals, %d writecaps", known.version, *counts, extra={"fields": fields}
            )
            own = known.revoked(self._own, int(time.time()))
            if own is not None:
                log.error("this machine itself is out, whoever knows does not speak with it: %s", own)

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
