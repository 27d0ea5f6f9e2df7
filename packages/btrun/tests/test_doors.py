"""Requests that reach an actor as they are, over real links, on asyncio and trio."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import anyio
import bttp
import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from btrun import Actor, Ask, Backoff, Restart, Runtime, Supervision, handle
from btrun.errors import UsageError
from btrun.reasons import Crashed, Reason
from btserde import U64
from bttp import Request
from bttp.errors import RemoteError

Story = Callable[[Runtime, bttp.Link], Awaitable[None]]

DOMAIN = make_domain_identities("nas", "alice")
APP = DOMAIN.path.child("hosts").child("nas").child("app")
CLIENT = DOMAIN.path.child("hosts").child("laptop").child("app")
AT_ONCE = Supervision(intensity=1000, backoff=Backoff(first=0.001))


class HowMany(Ask[U64], frozen=True):
    """How many requests this life has answered."""


class Raw(Actor):
    """Answers in a wire of its own: in the loop at `tasks`, in threads at its own path."""

    lives = 0

    def __init__(self) -> None:
        type(self).lives += 1
        self.answered = 0
        self.answer(self.in_thread)
        self.answer(self.in_task, below="tasks")

    def in_thread(self, request: Request) -> bytes:
        self.answered += 1
        return self.reply(bytes(request.body))

    async def in_task(self, request: Request) -> bytes:
        self.answered += 1
        return self.reply(bytes(request.body))

    def reply(self, body: bytes) -> bytes:
        if body == b"defect":
            raise ValueError("a defect")
        if body == b"refuse":
            raise UsageError("not like this")
        return body[::-1]

    @handle
    def how_many(self, message: HowMany) -> int:
        return self.answered

    def figures(self) -> dict[str, int]:
        return {"answered": self.answered}


@pytest.fixture(params=["asyncio", "trio"])
def tell(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a story with a runtime that serves, and a link to it."""

    def run(story: Story) -> None:
        async def main() -> None:
            with anyio.fail_after(20):
                async with (
                    Runtime(DOMAIN["nas"], APP, supervision=AT_ONCE) as rt,
                    bttp.serve(["127.0.0.1:0"], DOMAIN["nas"], rt.router, roots=[DOMAIN.principal]) as listening,
                    bttp.connect(listening.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
                ):
                    await story(rt, link)

        Raw.lives = 0
        anyio.run(main, backend=request.param)

    return run


PLACES = [APP.child("raw"), APP.child("raw").child("tasks")]


async def ask(link: bttp.Link, place: object, body: bytes) -> bytes:
    return bytes(await link.call(str(place), body, timeout=10))


def test_requests_reach_the_handlers_as_they_are(tell: Callable[[Story], None]) -> None:
    async def story(rt: Runtime, link: bttp.Link) -> None:
        rt.spawn(Raw, name="raw")
        assert [await ask(link, place, b"abc") for place in PLACES] == [b"cba", b"cba"]
        assert await ask(link, PLACES[0].child("below"), b"abc") == b"cba"

    tell(story)


def test_inspection_counts_requests_and_shows_the_actors_own_figures(tell: Callable[[Story], None]) -> None:
    async def story(rt: Runtime, link: bttp.Link) -> None:
        rt.spawn(Raw, name="raw")
        for place in PLACES * 3:
            await ask(link, place, b"abc")
        (view,) = rt.inspect().actors
        assert (view.kind, view.state, view.handled) == ("Raw", "running", 6)
        assert view.figures == {"answered": 6, "under way": 0}

    tell(story)


@pytest.mark.parametrize("place", PLACES, ids=["thread", "task"])
def test_a_refusal_is_an_answer_and_the_actor_lives(tell: Callable[[Story], None], place: object) -> None:
    async def story(rt: Runtime, link: bttp.Link) -> None:
        rt.spawn(Raw, name="raw")
        with pytest.raises(RemoteError, match="not like this") as refused:
            await ask(link, place, b"refuse")
        assert refused.value.kind is Kind.INVALID
        assert Raw.lives == 1

    tell(story)


@pytest.mark.parametrize("place", PLACES, ids=["thread", "task"])
def test_a_defect_ends_this_life_and_later_requests_reach_the_next(
    tell: Callable[[Story], None], place: object
) -> None:
    async def story(rt: Runtime, link: bttp.Link) -> None:
        raw = rt.spawn(Raw, name="raw", restart=Restart.TRANSIENT)
        for life in (2, 3, 4):
            with pytest.raises(RemoteError, match="a defect of it") as told:
                await ask(link, place, b"defect")
            assert told.value.kind is Kind.INTERNAL
            while rt.inspect().actors[0].restarts < life - 1:
                await anyio.lowlevel.checkpoint()
            assert await ask(link, place, b"abc") == b"cba"
            assert Raw.lives == life
        assert await raw.call(HowMany()) == 1

    tell(story)


@pytest.mark.parametrize("place", PLACES, ids=["thread", "task"])
def test_requests_wait_while_the_actor_is_started_anew(tell: Callable[[Story], None], place: object) -> None:
    class Slow(Raw):
        opened: anyio.Event

        def __init__(self) -> None:
            self.answered = 0

        async def on_start(self) -> None:
            await self.opened.wait()
            self.answer(self.in_thread)
            self.answer(self.in_task, below="tasks")

    async def story(rt: Runtime, link: bttp.Link) -> None:
        Slow.opened = anyio.Event()
        Slow.opened.set()
        rt.spawn(Slow, name="raw", restart=Restart.TRANSIENT)
        await anyio.wait_all_tasks_blocked()
        assert await ask(link, place, b"abc") == b"cba"
        Slow.opened = anyio.Event()
        with pytest.raises(RemoteError):
            await ask(link, place, b"defect")
        answers: list[bytes] = []

        async def one() -> None:
            answers.append(await ask(link, place, b"abc"))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
            while rt.inspect().actors[0].restarts < 1:
                await anyio.lowlevel.checkpoint()
            assert answers == []
            Slow.opened.set()
        assert answers == [b"cba"] * 3

    tell(story)


@pytest.mark.parametrize("place", PLACES, ids=["thread", "task"])
def test_nobody_answers_when_the_actor_is_gone_for_good(tell: Callable[[Story], None], place: object) -> None:
    async def story(rt: Runtime, link: bttp.Link) -> None:
        raw = rt.spawn(Raw, name="raw")
        assert await ask(link, place, b"abc") == b"cba"
        raw.stop()
        await raw.wait_down()
        with pytest.raises(RemoteError, match="it was stopped") as gone:
            await ask(link, place, b"abc")
        assert gone.value.kind is Kind.NO_SUCH_TARGET
        rt.spawn(Raw, name="raw")
        assert await ask(link, place, b"abc") == b"cba"

    tell(story)


def test_requests_do_not_wait_for_each_other(tell: Callable[[Story], None]) -> None:
    class Meeting(Actor):
        """Answers when two requests are there."""

        def __init__(self) -> None:
            barrier = threading.Barrier(2)

            def meet(request: Request) -> bytes:
                barrier.wait(10)
                return b""

            self.answer(meet)

    async def story(rt: Runtime, link: bttp.Link) -> None:
        rt.spawn(Meeting, name="raw")
        async with anyio.create_task_group() as group:
            group.start_soon(ask, link, PLACES[0], b"")
            group.start_soon(ask, link, PLACES[0], b"")

    tell(story)


def test_another_runtime_reaches_the_actor_itself_beside_its_door(tell: Callable[[Story], None]) -> None:
    async def story(rt: Runtime, link: bttp.Link) -> None:
        rt.spawn(Raw, name="raw")
        async with Runtime(DOMAIN["alice"], CLIENT) as client:
            client.attach(link, APP)
            inner = client.at(APP.child("raw").child(".bt"))
            await ask(link, PLACES[0], b"abc")
            assert await inner.call(HowMany()) == 1
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    down = await inner.wait_down()
                    assert isinstance(down.reason, Crashed)

                group.start_soon(watch)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(RemoteError):
                    await ask(link, PLACES[0], b"defect")

    tell(story)


def test_a_request_of_another_wire_to_nobody_says_that_nobody_is_there(tell: Callable[[Story], None]) -> None:
    async def story(rt: Runtime, link: bttp.Link) -> None:
        with pytest.raises(RemoteError, match="does not exist") as nobody:
            await ask(link, APP.child("absent"), b"\xff" * 40)
        assert nobody.value.kind is Kind.NO_SUCH_TARGET

    tell(story)


def test_a_local_runtime_has_no_doors() -> None:
    async def main() -> None:
        async with Runtime() as rt:
            with pytest.raises(UsageError, match="reached by others"):
                rt.spawn(Raw, name="raw")

    anyio.run(main)


def test_an_actor_opens_no_doors_when_it_ends() -> None:
    refused: list[UsageError] = []

    class Late(Actor):
        async def on_stop(self, reason: Reason) -> None:
            with pytest.raises(UsageError, match="on_start") as error:
                self.answer(lambda request: b"")
            refused.append(error.value)

    async def main() -> None:
        async with Runtime(DOMAIN["nas"], APP) as rt:
            rt.spawn(Late, name="late")
        assert len(refused) == 1

    anyio.run(main)


def test_a_door_does_not_change_its_kind() -> None:
    class Both(Actor):
        def __init__(self) -> None:
            async def task(request: Request) -> bytes:
                return b""

            self.answer(task)
            self.answer(lambda request: b"")

    async def main() -> None:
        async with Runtime(DOMAIN["nas"], APP) as rt:
            with pytest.raises(UsageError, match="take turns"):
                rt.spawn(Both, name="both")

    anyio.run(main)
