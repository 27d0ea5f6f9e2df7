"""Opening what a home names: the store of a domain, and its files in each of the three modes.

    alone         LocalFs over the embedded store in this process
    end-to-end    LocalFs over a store on a server: keys here, bytes there
    thin          FsClient: the server holds the keys as well

In each, what is known of revocations is remembered beside the pins: a server that was revoked is not spoken with, and
nobody is shown a list from before.

Where the embedded store is held by a running btfsd, alone becomes end-to-end over that btfsd's own socket. Everything
here touches the world; it decides nothing about access.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import msgspec
from btlib.errors import BlocktreeError
from btlib.home import SERVER_NAME, Domain
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.writecaps import Chain
from bttp.blocking import BlockingLink, connect

from ._chain_watch import ChainWatch, next_command
from ._dial import FOR_EVER, LINK_LIMITS, PATIENCE, Dialer
from ._places import book_of, learn_endpoints, places_of
from ._race import first_link
from ._staleness import Staleness
from .domain import DomainReader, HeldChains, create_domain, open_volume
from .errors import FsError, StoreError
from .localfs import FileKeeper, FilePins, FsOptions, Keeper, LocalFs, Pins, StorePin, empty_directory_attributes
from .past import SnapshotKeeper
from .provider import FsProvider
from .remote import FsClient
from .revocations import MEMORY_FILE, FileMemory, RevocationMemory, RevocationView
from .store import Ask, EmbeddedStore, Store, lock_holder
from .store.remote import NOT_SERVED, StoreClient

STORE_SERVICE = "store"  #: below the server's path
FILES_SERVICE = "fs"
RECOVERED = "recovered"  #: below a domain's data: notes of what could not be committed, and what the tree did not take
log = logging.getLogger("btfproto.opening")

#: Makes a link to whichever of some endpoints answers first, by what makes one to an endpoint, within some seconds.
DialSome = Callable[[Callable[[str, float], BlockingLink], float], BlockingLink]

PROGRAM = "blocktree"  #: what a second opener of a store is told, where the caller does not say


def _patience(options: FsOptions) -> float:
    return PATIENCE if options.patience is None else options.patience


class OpenedFs(LocalFs):
    """A `LocalFs` that closes its store and pins when it is shut down."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        path: BlockPath,
        pins: Pins,
        options: FsOptions,
        memory: RevocationMemory,
        keeper: Keeper,
    ) -> None:
        with ExitStack() as stack:
            stack.callback(store.close)
            stack.callback(pins.close)
            StorePin(store, pins).start()  # first: an old store is named as one, whatever it lacks
            view = RevocationView(store, path.root, memory)
            if isinstance(store, StoreClient):
                view.listen(store.dialer.recheck)
            view.refresh(int(time.time()))
            volume = open_volume(store, identity, path, int(time.time()), revocations=view)
            super().__init__(store, identity, volume, options=options, pins=pins, revocations=view, keeper=keeper)
            watch = ChainWatch(
                self.held,
                prove=store.dialer.renew if isinstance(store, StoreClient) else None,
                renews=not isinstance(store, StoreClient) and not options.read_only,
                also=self.writers.in_use,
            )
            #: What `.snapshots` shows.
            self.snapshots = SnapshotKeeper(store, identity, path, self.pins, view, lambda: int(time.time()))
            self._dialer = store.dialer if isinstance(store, StoreClient) else None
            self._bear(_patience(options))
            stack.callback(watch.start().close)
            self._owned = stack.pop_all()

    def _bear(self, patience: float) -> None:
        """How long calls wait for a server that is away. While a tree is being opened, and at the end, not for ever."""
        if self._dialer is not None:
            self._dialer.patience = patience

    def shutdown(self) -> None:
        self._bear(min(_patience(self.options), PATIENCE))
        try:
            super().shutdown()
        finally:
            self._owned.close()


class OpenedThin(FsClient):
    """An `FsClient` that goes on when its membership was renewed."""

    def __init__(
        self, dialer: Dialer, identity: Identity, server_path: BlockPath, path: BlockPath, *, read_only: bool
    ) -> None:
        super().__init__(dialer, server_path.child(FILES_SERVICE), path, read_only=read_only)
        store = StoreClient(dialer, server_path.child(STORE_SERVICE))  # its records are read where it serves them
        held = HeldChains(DomainReader(store, server_path.root), identity)
        self._watch = ChainWatch(held, prove=dialer.renew).start()

    def shutdown(self) -> None:
        self._watch.stop()
        try:
            super().shutdown()
        finally:
            self._watch.close()


def make_domain(
    domain: Domain,
    root: Identity,
    machine: PublicKeys,
    *,
    now: int,
    random: Callable[[int], bytes] = os.urandom,
) -> Chain:
    """Make the domain in its embedded store; the chain that `machine` holds. Raises FsError, StoreError."""
    if root.principal != domain.root:
        raise FsError(Kind.INVALID, f"{root.principal} cannot make the domain of {domain.root}", "use the root's keys")
    store = _embedded(domain, PROGRAM)
    try:
        created = create_domain(
            store,
            root.signer,
            machine,
            now=now,
            random=random,
            directory_attributes=empty_directory_attributes,
        )
    finally:
        store.close()
    return created.chain


def open_store(
    domain: Domain,
    identity: Identity,
    *,
    server: str | None = None,
    program: str = PROGRAM,
    patience: float = PATIENCE,
    damaged: bool = False,
) -> Store:
    """The store of a domain: embedded, through the btfsd that holds it, or (with `server`, or without one here) remote.

    With `damaged`, one here that lost segments is opened for what is left, and refuses commits.

    Raises StoreError: BUSY, UNREACHABLE, INTEGRITY…; FsError where the domain has neither store nor server.
    """
    if server is None and domain.store is not None:
        try:
            return _embedded(domain, program, damaged=damaged)
        except StoreError as error:
            holder = lock_holder(domain.store) if error.kind is Kind.BUSY else None
            if holder is None or holder.endpoint is None:
                raise
            server_path = domain.host_path.child(SERVER_NAME)
            return store_at(holder.endpoint, identity, server_path, patience=patience, memory=memory_of(domain))
    return _remote_store(domain, identity, server, patience)


def memory_of(domain: Domain) -> FileMemory:
    """What this machine remembers of a domain's revocations."""
    return FileMemory(domain.data / MEMORY_FILE)


def store_at(
    endpoint: str,
    identity: Identity,
    server_path: BlockPath,
    *,
    patience: float = PATIENCE,
    memory: RevocationMemory | None = None,
) -> StoreClient:
    """The store of the server at an endpoint. Connects when it is used."""
    dialer = _dialer(_only(endpoint), endpoint, identity, server_path, patience, memory)
    return StoreClient(dialer, server_path.child(STORE_SERVICE))


def _remote_store(domain: Domain, identity: Identity, server: str | None, patience: float = PATIENCE) -> StoreClient:
    """The store of the domain's server, wherever that is found."""
    dialer, server_path = _domain_dialer(domain, identity, server, patience)
    return StoreClient(dialer, server_path.child(STORE_SERVICE))


def learn(domain: Domain, store: Store) -> None:
    """Remember where a remote store says that its server can be found, for when it is not there any more."""
    if isinstance(store, StoreClient):
        learn_endpoints(domain, store, domain.server_path, _remembered(memory_of(domain)))


def connect_at(
    domain: Domain, identity: Identity, path: BlockPath, *, named: str | None = None, timeout: float
) -> BlockingLink:
    """A link to what proves to be at a path: at the endpoint `named`, or where records and settings say.

    Raises BttpError; FsError where no endpoint is known.
    """
    memory = memory_of(domain)
    endpoints = places_of(domain, named, memory).serving(path)
    if not endpoints:
        raise FsError(
            Kind.INVALID, f"no endpoint is known for {path}", f"look at: bt net resolve {domain.petname}:, or name one"
        )

    def dial(endpoint: str, timeout: float) -> BlockingLink:
        return connect(
            endpoint,
            identity,
            root=domain.root,
            server=path,
            timeout=timeout,
            revocations=lambda _root: _remembered(memory),
        )

    return first_link(endpoints, dial, timeout)


def open_files(
    domain: Domain,
    identity: Identity,
    path: BlockPath,
    *,
    server: str | None = None,
    remote: bool = False,
    thin: bool = False,
    options: FsOptions | None = None,
    program: str = PROGRAM,
    staleness: Staleness = Staleness(),  # noqa: B008 - a frozen value
) -> FsProvider:
    """Attach at `path`: alone where the store is here, else (or with `server` or `remote`) end-to-end, or thin.

    Its `shutdown` closes everything. Raises FsError, StoreError with the reason and the next step.
    """
    if thin:
        return open_thin(domain, identity, path, server=server, options=options, staleness=staleness)
    if server is None and not remote and domain.store is not None:
        return open_alone(domain, identity, path, options=options, program=program)
    return open_end_to_end(domain, identity, path, server=server, options=options)


def open_alone(
    domain: Domain,
    identity: Identity,
    path: BlockPath,
    *,
    options: FsOptions | None = None,
    program: str = PROGRAM,
) -> FsProvider:
    """The file system in this process, over the store on this machine."""
    damaged = options is not None and options.read_only
    store = open_store(domain, identity, program=program, damaged=damaged)
    return _local(domain, store, identity, path, options, shared=isinstance(store, StoreClient))


def open_end_to_end(
    domain: Domain,
    identity: Identity,
    path: BlockPath,
    *,
    server: str | None = None,
    options: FsOptions | None = None,
) -> FsProvider:
    """The file system in this process, over the store of the domain's server."""
    store = _remote_store(domain, identity, server)
    return _local(domain, store, identity, path, options, shared=True)


def open_thin(
    domain: Domain,
    identity: Identity,
    path: BlockPath,
    *,
    server: str | None = None,
    options: FsOptions | None = None,
    staleness: Staleness = Staleness(),  # noqa: B008 - a frozen value
) -> FsProvider:
    """The file system at the domain's server, which holds the keys. Raises FsError (EXPIRED): see `Staleness`."""
    dialer, server_path = _domain_dialer(domain, identity, server, PATIENCE)
    try:
        _learn_thin(dialer, domain, server_path, staleness)
    except BaseException:
        dialer.close()
        raise
    chosen = options or FsOptions()
    client = OpenedThin(dialer, identity, server_path, path, read_only=chosen.read_only)
    dialer.patience = _patience(chosen)
    return client


def _learn_thin(dialer: Dialer, domain: Domain, server_path: BlockPath, staleness: Staleness) -> None:
    """The newest list, where the server serves its store as well. A thin client believes its server in all else, but
    not that somebody was never revoked. Raises FsError.
    """
    store = StoreClient(dialer, server_path.child(STORE_SERVICE))
    store.guard_links(lambda ask: _compare(domain, store, ask), optional=True)
    view = RevocationView(store, domain.root, memory_of(domain))
    before, now = view.confirmed, int(time.time())
    try:
        view.refresh(now)
    except BlocktreeError as error:
        if error.kind not in NOT_SERVED:
            raise
        staleness.check(domain, before, now, error.message)
    else:
        learn(domain, store)
    dialer.recheck()


def _compare(domain: Domain, store: Store, ask: Ask) -> None:
    """What a thin client does at each link. Raises FsError (ROLLBACK), and what `ask` raises."""
    domain.pins.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(FilePins(domain.pins)) as pins:
        StorePin(store, pins).check(ask)


def _local(
    domain: Domain, store: Store, identity: Identity, path: BlockPath, options: FsOptions | None, *, shared: bool
) -> FsProvider:
    try:
        domain.pins.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pins = FilePins(domain.pins)
    except BaseException:
        store.close()
        raise
    chosen = msgspec.structs.replace(options or FsOptions(), shared=shared)
    keeper = FileKeeper(domain.data / RECOVERED)
    opened = OpenedFs(store, identity, path, pins, chosen, memory_of(domain), keeper)
    learn(domain, store)
    return opened


def _embedded(domain: Domain, program: str, *, damaged: bool = False) -> EmbeddedStore:
    if domain.store is None:
        raise FsError(
            Kind.NOT_FOUND,
            f"the domain {domain.petname} has no store on this machine",
            f"set `store` or `server` in {domain.settings_file}",
        )
    try:
        return EmbeddedStore(domain.store, program=program)
    except StoreError as error:
        if error.kind is not Kind.INTEGRITY or not damaged:
            raise
        log.warning("%s; what is left is shown, read-only", error.message)
    return EmbeddedStore(domain.store, program=program, damaged=True)


def _domain_dialer(domain: Domain, identity: Identity, server: str | None, patience: float) -> tuple[Dialer, BlockPath]:
    """What calls the domain's server, and the path that it proves. Raises FsError where no server is known."""
    memory = memory_of(domain)
    places = places_of(domain, server, memory).require()
    server_path = places.server_path
    return _dialer(places.dial, str(places), identity, server_path, patience, memory), server_path


def _remembered(memory: RevocationMemory | None) -> Revocations:
    remembered = None if memory is None else memory.load()
    return NO_REVOCATIONS if remembered is None else remembered.seen.record.effective


def _only(endpoint: str) -> DialSome:
    return lambda dial, timeout: dial(endpoint, timeout)


def _dialer(
    dial_some: DialSome,
    named: str,
    identity: Identity,
    server_path: BlockPath,
    patience: float,
    memory: RevocationMemory | None,
) -> Dialer:
    """`named`: the endpoints, for messages. A server that was revoked, by what is remembered, is not spoken with."""

    def revoked(_root: Principal) -> Revocations:
        return _remembered(memory)

    def dial(endpoint: str, timeout: float) -> BlockingLink:
        return connect(
            endpoint,
            dialer.identity,
            root=server_path.root,
            server=server_path,
            timeout=timeout,
            limits=LINK_LIMITS,
            revocations=revoked,
        )

    dialer = Dialer(lambda timeout: dial_some(dial, timeout), named, identity=identity, patience=patience)
    return dialer


__all__ = [
    "FILES_SERVICE",
    "FOR_EVER",
    "RECOVERED",
    "STORE_SERVICE",
    "ChainWatch",
    "OpenedFs",
    "OpenedThin",
    "Staleness",
    "book_of",
    "connect_at",
    "learn",
    "make_domain",
    "memory_of",
    "next_command",
    "open_alone",
    "open_end_to_end",
    "open_files",
    "open_store",
    "open_thin",
    "store_at",
]
