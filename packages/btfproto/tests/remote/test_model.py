"""`FsClient` against the model of a file system, with links lost at any moment. Without a network, so quick."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from btfproto._dial import Buffer, Dialer
from btfproto.domain import open_volume
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import FsProvider
from btfproto.remote import Attachment, FsClient, FsServer
from btfproto.testing.domains import NOW, World
from btfproto.testing.provider import FileSystemMachine
from btlib import BlockPath, Identity
from bttp import ConnectionLostError, Peer, Request
from hypothesis import settings
from hypothesis.stateful import rule

from .conftest import peer_of
from .evil import SERVICE


class Wire:
    """A link that calls the server's handler, and may be lost before or after the server has acted."""

    numbers = itertools.count(1)

    def __init__(self, server: FsServer, peer: Peer) -> None:
        self.id = next(self.numbers)
        self.peer = peer
        self.closed = False
        self.lose: str | None = None
        self._server = server
        self._callbacks: list[Callable[[], None]] = []

    def on_close(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def call(self, path: BlockPath, body: Buffer | Sequence[Buffer], *, timeout: float | None) -> memoryview:
        lose, self.lose = self.lose, None
        if lose == "before":
            self.close()
        else:
            whole = memoryview(body if isinstance(body, bytes | bytearray | memoryview) else b"".join(body))
            answer = b"".join(self._server._respond(Request(path, whole, self.peer, self, None)))
        if lose is not None:
            self.close()
            raise ConnectionLostError("lost")
        return memoryview(answer)

    def prove(self, identity: Identity) -> None:
        """Chains last here."""

    def recheck(self) -> None:
        """Nobody is revoked here."""

    def close(self) -> None:
        self.closed = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class FsClientMachine(FileSystemMachine):
    """The same rules, and links that end: nothing is done twice, nothing is forgotten."""

    def open_provider(self) -> FsProvider:
        world = World.make(directory_attributes=empty_directory_attributes)
        ticks = itertools.count(NOW * 10**9, 1000)
        volume = open_volume(world.store, world.machine, world.path(), NOW)
        self.local = LocalFs(
            world.store, world.machine, volume, options=FsOptions(commit_interval=None), clock=lambda: next(ticks)
        )
        self.server = FsServer(self.attach, clock=lambda: float(NOW))
        self.peer = peer_of(world.machine)
        self.wire = Wire(self.server, self.peer)
        dialer = Dialer(self.connect, "model", jitter=lambda: -1.0)
        return FsClient(dialer, SERVICE, world.path())

    def attach(self, path: BlockPath, peer: Peer, read_only: bool) -> Attachment:
        return Attachment(provider=self.local, inode=self.local.root, path=path, writable=True)

    def connect(self, timeout: float) -> Wire:
        if self.wire.closed:
            self.wire = Wire(self.server, self.peer)
        return self.wire

    def close_provider(self) -> None:
        super().close_provider()
        self.server.close()
        self.local.shutdown()

    @rule()
    def lose_the_link_now(self) -> None:
        self.wire.close()

    @rule()
    def lose_the_next_request(self) -> None:
        self.wire.lose = "before"

    @rule()
    def lose_the_next_reply(self) -> None:
        self.wire.lose = "after"


TestFsClient = FsClientMachine.TestCase
TestFsClient.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
