"""Handlers of a link on asyncio, the first of which leaves a runner behind in which the next ones begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import bttp
import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from bttp.errors import DeadlineError, RemoteError

pytestmark = pytest.mark.anyio

DOMAIN = make_domain_identities("server", "alice")
PLACE = DOMAIN.path.child("hosts")
_mark: ContextVar[bytes] = ContextVar("mark", default=b"none")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Handlers:
    """What they saw."""

    def __init__(self) -> None:
        self.tasks: list[object] = []
        self.said: list[bytes] = []
        self.cancelled = asyncio.Event()

    async def __call__(self, request: bttp.Request) -> bytes:
        self.tasks.append(asyncio.current_task())
        before = _mark.get()
        word = bytes(request.body)
        _mark.set(word)
        if word == b"fail":
            raise bttp.BttpError("no", kind=Kind.BUSY)
        if word == b"cancel":
            raise asyncio.CancelledError
        if word == b"wait":
            await asyncio.sleep(0)
        if word == b"stay":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        self.said.append(word)
        return before


@asynccontextmanager
async def _link() -> AsyncIterator[tuple[bttp.Link, Handlers, bttp.Server]]:
    handlers, router = Handlers(), bttp.Router()
    router.add(PLACE, handlers)
    async with (
        bttp.serve(["127.0.0.1:0"], DOMAIN["server"], router, roots=[DOMAIN.principal]) as server,
        bttp.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
    ):
        await link.call(PLACE, b"first")
        yield link, handlers, server


async def test_handlers_that_do_not_wait_share_a_task_and_nothing_else() -> None:
    async with _link() as (link, handlers, _):
        assert [bytes(await link.call(PLACE, b"again")) for _ in range(3)] == [b"none"] * 3
        assert len(set(handlers.tasks)) == 1
        assert None not in handlers.tasks


async def test_many_that_wait_and_many_that_do_not_are_all_answered() -> None:
    async with _link() as (link, _, _):
        words = [b"wait" if number % 3 else b"now" for number in range(300)]
        assert {bytes(each) for each in await asyncio.gather(*(link.call(PLACE, word) for word in words))} == {b"none"}


async def test_errors_of_its_first_step_reach_the_caller() -> None:
    async with _link() as (link, _, _):
        for word, kind in ((b"fail", Kind.BUSY), (b"cancel", Kind.CANCELLED)):
            with pytest.raises(RemoteError) as caught:
                await link.call(PLACE, word)
            assert caught.value.kind is kind
        assert bytes(await link.call(PLACE, b"now")) == b"none"


async def test_a_caller_that_gives_up_stops_a_handler_that_waits() -> None:
    async with _link() as (link, handlers, _):
        with pytest.raises(DeadlineError):
            await link.call(PLACE, b"stay", timeout=0.01)
        await asyncio.wait_for(handlers.cancelled.wait(), 10)
        assert bytes(await link.call(PLACE, b"now")) == b"none"
        assert len(set(handlers.tasks)) == 2  # the task that was cancelled takes no more


async def test_a_call_with_a_key_is_answered_again_from_its_record() -> None:
    async with _link() as (link, handlers, _):
        for _ in range(2):
            assert bytes(await link.call(PLACE, b"once", key=b"k")) == b"none"
        assert handlers.said.count(b"once") == 1


async def test_messages_keep_their_order_whether_their_handlers_wait_or_not() -> None:
    async with _link() as (link, handlers, _):
        words = [b"%d" % number for number in range(500)]
        for word in words:
            await link.send(PLACE, word)
        await link.call(PLACE, b"last")
        assert handlers.said == [b"first", *words, b"last"]


async def test_a_server_that_ends_stops_handlers_that_wait() -> None:
    async with _link() as (link, handlers, _):
        waiting = asyncio.create_task(link.call(PLACE, b"stay"))
        while len(handlers.tasks) < 2:
            await asyncio.sleep(0)
    with pytest.raises(bttp.BttpError):
        await waiting
    assert handlers.cancelled.is_set()
