"""The services of one store: their actors in a runtime, who may reach them, and what is open as long as they live.

The revocation list is asked for after every commit that changes it, before whoever committed is answered: so from the
moment at which `bt revoke` has its answer, nothing of a revoked principal is served or taken here.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from btfproto.domain import DomainReader, HeldChains, is_renewable, renew_memberships
from btfproto.localfs import FileKeeper, FilePins, FsOptions, StorePin
from btfproto.opening import FILES_SERVICE, RECOVERED, STORE_SERVICE
from btfproto.remote import FsServer, SessionLimits, VolumeAttacher
from btfproto.revocations import MEMORY_FILE, FileMemory, RevocationView
from btfproto.store import EmbeddedStore
from btfproto.store.check import CommitChecker
from btfproto.store.remote import FileLockHolders, ObservedStore, StoreServer
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.writecaps import Chain
from btrun import Backoff, Ref, Restart, Runtime, Supervision
from bttp import Request

from ._actors import FileService, StoreService
from ._host import Host
from ._policy import ServerPolicy
from ._renewals import Renewals
from ._settings import Settings
from ._snapshot_policy import SnapshotPolicy

log = logging.getLogger("btfsd")

PROGRAM = "btfsd"
SOCKET_NAME = "btfsd.sock"
LOCK_HOLDERS = "lock-holders"  #: below the domain's data: who is waited for after a crash before locks go to others
MAX_SOCKET_PATH = 107  #: bytes of a Unix socket's path on Linux
MIB = 1 << 20
HOUR = 3600

RESTART = Restart.TRANSIENT  #: one that an operator stopped stays away
#: A defect that comes again and again makes a service slow to come back; it never ends the daemon, whose other service
#: has no part in it.
SUPERVISION = Supervision(intensity=1_000_000, backoff=Backoff(first=0.05, most=5.0))


class Services:
    """What they share, opened on construction. `start` puts them into a runtime; when that has ended, `close`."""

    def __init__(self, host: Host, settings: Settings) -> None:
        """Raises StoreError (BUSY: another process has the store), IntegrityError, FsError (no such domain in it, or
        it was put back)."""
        root = host.domain.root
        self._host = host
        self._settings = settings
        self._failure: Exception | None = None  # of the last commit
        self._told: float | None = None  # when a wrong clock was last spoken of
        self._renewals = Renewals(self._renewed, self._is_due)
        self.policy = ServerPolicy(
            root, host.path, host.identity.principal, self._revoked, self._recorded, self._stale, self._admitted
        )
        self.socket = socket_endpoint(host.store)
        with ExitStack() as stack:
            store = EmbeddedStore(host.store, program=PROGRAM, endpoint=self.socket)
            stack.callback(store.close)
            pins = FilePins(host.domain.pins)
            stack.callback(pins.close)
            self._pin = StorePin(store, pins)
            self._pin.start()
            stack.callback(self._pin.remember)
            self._view = RevocationView(store, root, FileMemory(host.domain.data / MEMORY_FILE))
            self._reader = DomainReader(store, root, self._view)
            self._reader.domain()
            #: What this machine holds, as long as the server runs.
            self.held = HeldChains(self._reader, host.identity)
            self._learn()
            self._store = ObservedStore(store, FileLockHolders(host.domain.data / LOCK_HOLDERS))
            self._store.listen_for(self._view.block, self._learn)
            self._store.listen(self._note)
            self._owned = stack.pop_all()

    @property
    def reader(self) -> DomainReader:
        """Reads and verifies the public records of the store."""
        return self._reader

    def start(self, runtime: Runtime) -> list[Ref]:
        """Spawn those that are switched on, at their names below the runtime. In its thread."""
        on = self._settings.services
        started = []
        if on.store:
            started.append(runtime.spawn(StoreService, self._serve_store, name=STORE_SERVICE, restart=RESTART))
        else:
            runtime.router.add(self._host.path.child(STORE_SERVICE), _switched_off("services.store"), inline=True)
        if on.files:
            making = self._serve_files, self._kept
            started.append(runtime.spawn(FileService, *making, name=FILES_SERVICE, restart=RESTART))
        else:
            runtime.router.add(self._host.path.child(FILES_SERVICE), _switched_off("services.files"), inline=True)
        return started

    def _serve_store(self) -> StoreServer:
        check = CommitChecker(self._store, self._reader, self._host.domain.root, time.time, self._revoked, self._skewed)
        root, own = self._host.domain.root, self._host.identity.principal
        snapshots = SnapshotPolicy(root, own, self._revoked, self._granted)
        return StoreServer(self._store, check, check_peer=snapshots.check)

    def _serve_files(self) -> tuple[FsServer, VolumeAttacher]:
        settings, self._failure = self._settings, None  # what an earlier life could not commit, its clients were told
        keeper = FileKeeper(self._host.domain.data / RECOVERED)
        attacher = VolumeAttacher(
            self._store, self._host.identity, options=_options(settings), revocations=self._view, keeper=keeper
        )
        server = FsServer(
            attacher, limits=_limits(settings), workers=settings.limits.max_workers, revocations=self._revoked
        )
        return server, attacher

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep the error of a last commit: an actor that ends can only log it, and the exit code must tell it."""
        try:
            yield
        except Exception as error:  # a defect too: its supervisor gets it, and so does the end of the process
            self._failure = error
            raise

    def on_revocation(self, recheck: Callable[[], None]) -> None:
        """Call it when the list has changed, so that links are judged by it; in a thread that may wait."""
        self._view.listen(recheck)

    def _revoked(self) -> Revocations:
        return self._view.current

    def _granted(self, principal: Principal) -> Sequence[Chain]:
        """What the root scope's records grant somebody. Raises FsError, IntegrityError, StoreError."""
        return self._reader.grants(self._reader.domain().scope, principal)[1].chains

    def _recorded(self, principal: Principal, shown: Sequence[Chain]) -> tuple[Chain, ...]:
        """What the root scope's records grant somebody; a membership that ran out is renewed there first. A record that
        does not verify grants nothing."""
        try:
            chains = tuple(self._granted(principal))
            if self._settings.membership.renew:
                chains = (*chains, *self._renewed(principal, (*shown, *chains)))
        except BlocktreeError as error:
            log.warning("%s shows no membership that counts, and none can be recorded: %s", principal, error)
            return ()
        return chains

    def _admitted(self, principal: Principal, shown: Sequence[Chain]) -> None:
        """Somebody came in: what nears its end of what it shows is renewed, beside."""
        if self._settings.membership.renew:
            self._renewals.notice(principal, shown)

    def _is_due(self, principal: Principal, chain: Chain) -> bool:
        return is_renewable(chain, principal, self._host.domain.root, int(time.time()), self._revoked())

    def _renewed(self, principal: Principal, chains: Sequence[Chain]) -> tuple[Chain, ...]:
        """Anew what nears its end, or ran out. Raises FsError, StoreError."""
        now, identity = int(time.time()), self._host.identity
        fresh = renew_memberships(self._reader, identity, principal, chains, now=now, random=secrets.token_bytes)
        for chain in fresh:
            fields = {"event": "renewed", "principal": str(principal)}
            log.info(
                "renewed the membership of %s: %s", principal, chain.last and chain.last.path, extra={"fields": fields}
            )
        return fresh

    def _skewed(self, text: str) -> None:
        """Say now and then that somebody's clock is wrong; it is taken all the same."""
        now = time.monotonic()
        if self._told is None or now - self._told > HOUR:
            self._told = now
            log.warning("%s; it works while they differ by no more than a day", text)

    def _stale(self, now: int) -> str | None:
        """Why nobody can be judged: no list in the store could be believed for too long. It is asked for once more."""
        bounds = self._settings.revocation
        if now - (self._view.confirmed or now) <= bounds.warn_hours * HOUR:
            return None
        self._learn()
        age = now - (self._view.confirmed or now)
        if age <= bounds.warn_hours * HOUR:
            return None
        text = f"who was revoked was last heard {age / HOUR:.0f} hours ago"
        if age <= bounds.refuse_hours * HOUR:
            log.warning("%s; after %g hours everybody is refused", text, bounds.refuse_hours)
            return None
        return (
            f"{text}: the store of this server shows no revocation list that can be believed, and "
            f"{bounds.refuse_hours:g} hours are the limit (revocation.refuse_hours); its log says why"
        )

    def _note(self) -> None:
        """Remember how far the store has come: one that was put back is not served again."""
        self._pin.note(self._store.watch(0, bytes(16), 0.0).cursor)

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
            own = known.revoked(self._host.identity.principal, int(time.time()))
            if own is not None:
                log.error("this machine itself is out, whoever knows does not speak with it: %s", own)

    def close(self) -> None:
        """Close the store; idempotent. Raises the error of the file service's last commit, and of its own."""
        self._renewals.close()
        self._owned.close()
        if self._failure is not None:
            raise self._failure


def _switched_off(setting: str) -> Callable[[Request], bytes]:
    def refuse(request: Request) -> bytes:
        raise BlocktreeError(f"{request.path} is switched off here ({setting})", kind=Kind.NO_SUCH_TARGET)

    return refuse


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
