"""Who shares a connection: all that uses one link, and nobody else. Counted by the server, over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import anyio
import bttp
import bttp.blocking
import pytest
from btlib.kinds import Kind
from bttp.testing._stage import WAIT, ShellUnderTest, Stage, ask, expect, next_of

from .test_shells import SHELLS, TCP

USERS = 8


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest) -> ShellUnderTest:
    return SHELLS[request.param](TCP)


@contextmanager
def serving(stage: Stage) -> Iterator[bttp.blocking.BlockingServer]:
    """A server whose counters a test may read."""
    roots = [stage.domain.principal]
    with bttp.blocking.serve([TCP], stage.domain["server"], stage.router, roots=roots) as server:
        yield server


def note_links(stage: Stage) -> set[int]:
    """By which links requests to `which` have come."""
    seen: set[int] = set()
    stage.router.add(stage.place.child("which"), lambda request: seen.add(request.link.id), inline=True)
    return seen


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    """Several threads do it."""
    with ThreadPoolExecutor(count) as pool:
        return [each.result(WAIT) for each in [pool.submit(work) for _ in range(count)]]


def test_every_verb_of_many_threads_takes_the_same_connection(shell: ShellUnderTest) -> None:
    stage = Stage()
    seen, root, topic = note_links(stage), stage.domain.principal, stage.place.child("topics").child("news")
    with (
        serving(stage) as server,
        shell.connect(server.endpoints[0], stage.domain["alice"], root, None) as link,
        shell.subscribe(link, topic, below=False, when_slow=bttp.WhenSlow.BLOCK, queue=4) as receive,
    ):

        def use() -> bytes | None:
            ask(link, stage.place.child("which"))
            link.send(stage.place.child("keep"), b"sent")
            with link.stream(stage.place.child("echo"), b"first") as stream:
                stream.finish()
                items = [bytes(item) for item in stream]
            return items[0]

        assert at_once(USERS, use) == [b"first"] * USERS
        assert server.publish(stage.broker, topic, b"news") == 1
        assert bytes(next_of(stage, link, receive).body) == b"news"
        ask(link, stage.place.child("which"))
        assert stage.sent == [b"sent"] * USERS
        assert len(seen) == 1
        assert (server.statistics.accepted, server.statistics.links) == (1, 1)
        assert server.traffic.streams_received == USERS + 1


def test_a_principal_that_joins_needs_no_connection_of_its_own(shell: ShellUnderTest) -> None:
    stage = Stage()
    seen, root = note_links(stage), stage.domain.principal
    bob, carol = (stage.domain.issue(name, ("hosts", place)) for name, place in (("bob", "which"), ("carol", "thread")))
    with serving(stage) as server, shell.connect(server.endpoints[0], bob, root, None) as link:
        ask(link, stage.place.child("which"))
        link.prove(carol)
        assert ask(link, stage.place.child("thread"), b"carol may") == b"carol may"
        ask(link, stage.place.child("which"))
        assert len(seen) == 1
        assert server.statistics.accepted == 1


def test_two_links_to_one_server_share_neither_connection_nor_rights(shell: ShellUnderTest) -> None:
    stage = Stage()
    seen, root, path = note_links(stage), stage.domain.principal, stage.place.child("thread")
    narrow = stage.domain.issue("bob", ("hosts", "which"))
    with (
        serving(stage) as server,
        shell.connect(server.endpoints[0], narrow, root, None) as weak,
        shell.connect(server.endpoints[0], stage.domain["alice"], root, None) as strong,
    ):
        for link in (weak, strong):
            ask(link, stage.place.child("which"))
        assert ask(strong, path, b"may") == b"may"
        expect(bttp.RemoteError, Kind.FORBIDDEN, lambda: ask(weak, path))
        assert len(seen) == 2
        assert (server.statistics.accepted, server.statistics.links) == (2, 2)


def test_those_who_wait_for_a_reconnecting_link_get_one_connection_until_it_is_lost(shell: ShellUnderTest) -> None:
    stage = Stage()
    seen, root, settings = note_links(stage), stage.domain.principal, bttp.Reconnection(first_pause=0.01)
    with (
        serving(stage) as server,
        shell.reconnecting(server.endpoints, stage.domain["alice"], root, settings) as link,
    ):
        for connections in (1, 2):
            at_once(USERS, lambda: link.call(stage.place.child("which"), timeout=WAIT))
            assert (len(seen), server.statistics.accepted, link.links_opened) == (connections,) * 3
            link.cut()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_server_asks_its_client_back_on_the_clients_connection(backend: str) -> None:
    stage = Stage()
    root, mine = stage.domain.principal, bttp.Router()
    place = stage.domain.path.child("laptop")
    mine.add(place, lambda request: b"%d" % request.link.id, inline=True)

    async def main() -> None:
        with anyio.fail_after(WAIT):
            async with (
                bttp.serve([TCP], stage.domain["server"], stage.router, roots=[root]) as server,
                bttp.connect(server.endpoints[0], stage.domain["alice"], root=root, router=mine) as link,
            ):
                await link.call(stage.place.child("async"))
                (back,) = server.links
                assert bytes(await back.call(place)) == b"%d" % link.id
                assert server.statistics.accepted == 1

    anyio.run(main, backend=backend)


def test_a_server_asks_a_thread_back_on_the_threads_connection() -> None:
    stage = Stage()
    root, mine = stage.domain.principal, bttp.Router()
    place = stage.domain.path.child("laptop")
    mine.add(place, lambda request: request.body, inline=True)

    async def main() -> None:
        async with bttp.serve([TCP], stage.domain["server"], stage.router, roots=[root]) as server:

            def connect() -> bttp.blocking.BlockingLink:
                return bttp.blocking.connect(server.endpoints[0], stage.domain["alice"], root=root, router=mine)

            link = await anyio.to_thread.run_sync(connect)
            try:
                (back,) = server.links
                assert bytes(await back.call(place, b"who", timeout=WAIT)) == b"who"
                assert server.statistics.accepted == 1
            finally:
                await anyio.to_thread.run_sync(link.close)

    anyio.run(main)
