"""A book gives a reconnecting link its endpoints: real servers, and a client that outlives their moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bttp.blocking
from btfproto.endpoints import EndpointBook, sign_record
from btfproto.testing.domains import DAY, World
from btlib.paths import BlockPath
from bttp import Reconnection, Router

WAIT = 30.0
QUICK = Reconnection(first_pause=0.01, max_pause=0.1, stable_seconds=0.0)


@contextmanager
def server(world: World, path: BlockPath, book: EndpointBook) -> Iterator[None]:
    """A server that echoes at its path, and whose record is learnt."""
    router = Router()
    router.add(path.child("echo"), lambda request: request.body)
    with bttp.blocking.serve(["127.0.0.1:0"], world.machine, router, roots=[world.root.principal]) as running:
        now = int(time.time())
        before = book.resolve(path, now=now).found
        record = sign_record(
            world.machine,
            path=path,
            server=path,
            endpoints=running.endpoints,
            now=now,
            lifetime=DAY,
            before=before[0].record if before else None,
        )
        book.learn([(path, record)], now=now)
        yield


def test_a_reconnecting_link_follows_its_server_by_the_records(tmp_path: Path) -> None:
    world = World.make(now=int(time.time()) - 60)
    path = world.path("hosts", "nas", "app")
    book = EndpointBook(tmp_path / "endpoints", world.root.principal)

    def endpoints() -> tuple[str, ...]:
        return book.resolve(path.child("echo"), now=int(time.time())).require().endpoints

    with bttp.blocking.reconnecting(
        endpoints, world.machine, root=world.root.principal, server=path, settings=QUICK
    ) as link:
        for body in (b"first", b"second"):
            with server(world, path, book):
                assert _asked(link, path.child("echo"), body) == body


def _asked(link: bttp.blocking.BlockingReconnectingLink, path: BlockPath, body: bytes) -> bytes:
    until = time.monotonic() + WAIT
    while True:
        try:
            return bytes(link.call(path, body, timeout=WAIT))
        except bttp.ConnectionLostError:  # the old server, which had not said yet that it was gone
            assert time.monotonic() < until
