"""A domain, its services on a loopback link, and clients with identities of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import pytest
from btfproto._dial import Dialer
from btfproto.domain import open_volume
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.remote import Attachment, FsClient, FsServer, SessionLimits
from btfproto.store import MemoryStore
from btfproto.store.remote import CommitCheck, StoreClient, StoreServer
from btfproto.testing.domains import World, person
from btlib import BlockPath, Chain, Identity, PublicKeys, Rights
from bttp import Peer, RootPolicy, Router
from bttp.blocking import BlockingLink, BlockingServer, connect, serve

SERVER = ("hosts", "nas", "btfsd")


@dataclass
class Net:
    """One server and whoever connects to it. `writable` and `path` are what the attacher says."""

    world: World
    stack: ExitStack
    store: MemoryStore
    fs: LocalFs
    files: FsServer
    stores: StoreServer
    server: BlockingServer
    empty: MemoryStore  #: another store, with nothing in it, served without checks
    unchecked: StoreServer  #: what serves it
    writable: bool = True
    until: int | None = None
    asked: int = 0  #: how often the attacher was
    held: threading.Event | None = None  #: what attaching waits for

    @property
    def path(self) -> BlockPath:
        return self.world.path(*SERVER)

    def member(self, seed: int) -> Identity:
        """Somebody who may talk to the server."""
        identity = person(seed)
        now = int(time.time())
        chain = self.world.chain(identity, "hosts", rights=Rights.EXECUTE, begin=now - 60, end=now + 3600)
        return identity.with_chains(chain)

    def dialer(self, identity: Identity | None = None, *, patience: float = 5.0) -> Dialer:
        who, endpoint = identity or self.world.machine, self.server.endpoints[0]
        root = self.world.root.principal

        def dial(timeout: float) -> BlockingLink:
            return connect(endpoint, who, root=root, server=self.path, timeout=timeout)

        dialer = Dialer(dial, endpoint, patience=patience)
        self.stack.callback(dialer.close)
        return dialer

    def store_client(self, identity: Identity | None = None) -> StoreClient:
        return StoreClient(self.dialer(identity), self.path.child("store"))

    def empty_client(self, identity: Identity | None = None) -> StoreClient:
        return StoreClient(self.dialer(identity), self.path.child("empty"))

    def client(self, identity: Identity | None = None, *, read_only: bool = False) -> FsClient:
        dialer = self.dialer(identity)
        client = FsClient(dialer, self.path.child("fs"), self.world.path(), read_only=read_only)
        self.stack.callback(client.shutdown)
        return client


MakeNet = Callable[..., Net]


@dataclass(frozen=True)
class _Proof:
    public: PublicKeys
    chains: tuple[Chain, ...]


def peer_of(identity: Identity) -> Peer:
    """Who stands at the other end of a link where `identity` has proven itself."""
    return Peer(proofs=cast("tuple[Any, ...]", (_Proof(identity.public, identity.chains),)))


def accept_everything(commit: object) -> None:
    """A check that does not: for tests of everything else."""


@pytest.fixture
def make_net() -> Iterator[MakeNet]:
    with ExitStack() as stack:

        def make(check: CommitCheck = accept_everything, limits: SessionLimits | None = None) -> Net:
            store = MemoryStore()
            now = int(time.time())
            world = World.make(store, now=now, directory_attributes=empty_directory_attributes)
            volume = open_volume(store, world.machine, world.path(), now)
            fs = LocalFs(store, world.machine, volume, options=FsOptions(commit_interval=None))
            stack.callback(fs.shutdown)
            net: Net

            def attach(path: BlockPath, peer: Peer, read_only: bool) -> Attachment:
                net.asked += 1
                if net.held is not None:
                    net.held.wait()
                return Attachment(
                    provider=fs,
                    inode=fs.root,
                    path=path,
                    writable=net.writable and not read_only,
                    writable_until=net.until,
                    why_not="the test says so" if not net.writable else "",
                )

            files = FsServer(attach, limits=limits or SessionLimits())
            stack.callback(files.close)
            stores = StoreServer(store, check)
            router, empty = Router(), MemoryStore()
            unchecked = StoreServer(empty, accept_everything, check_peer=accept_everything)
            unchecked.add_to(router, world.path(*SERVER, "empty"))
            files.add_to(router, world.path(*SERVER, "fs"))
            stores.add_to(router, world.path(*SERVER, "store"))
            policy = RootPolicy([world.root.principal])
            server = stack.enter_context(serve(["127.0.0.1:0"], world.machine, router, policy=policy))
            net = Net(world, stack, store, fs, files, stores, server, empty, unchecked)
            return net

        yield make


@pytest.fixture
def net(make_net: MakeNet) -> Net:
    return make_net()
