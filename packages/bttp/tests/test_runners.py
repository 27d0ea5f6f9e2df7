"""Handlers that begin where their message was read: what they see is a task of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest
from bttp._runners import MAX_IDLE, Course, Runner, Runners

pytestmark = pytest.mark.anyio
_mark: ContextVar[str] = ContextVar("mark", default="none")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def _runners(count: int = 1) -> AsyncIterator[Runners]:
    """With some that are idle."""
    runners = Runners(asyncio.get_running_loop())
    for _ in range(count):
        runners.start(_nothing)
    while len(runners.idle) < count:
        await asyncio.sleep(0)
    yield runners
    runners.cancel()
    await asyncio.gather(*runners.tasks, return_exceptions=True)
    assert not runners.idle


async def _nothing() -> None:
    pass


async def _outside(runners: Runners, act: Callable[[Runner], Any]) -> Any:
    """Act as a protocol does: in a callback of the loop, where no task runs."""
    done = asyncio.get_running_loop().create_future()

    def callback() -> None:
        runner = runners.take()
        assert runner is not None
        try:
            done.set_result(act(runner))
        except BaseException as error:
            done.set_exception(error)

    asyncio.get_running_loop().call_soon(callback)
    return await done


def _serve(outcomes: list[object], make: Callable[[], Coroutine[Any, Any, object]], runner: Runner) -> Runner:
    """Begin with a handler, and go on with it if it waits; its result or error comes to `outcomes`."""
    answer = runner.begin(make())
    if isinstance(answer, Course):
        runner.go_on(partial(_finish, outcomes, answer))
    else:
        outcomes.append(answer)
    return runner


async def _finish(outcomes: list[object], course: Awaitable[object]) -> None:
    try:
        outcomes.append(await course)
    except asyncio.CancelledError:
        outcomes.append("cancelled")
        raise
    except Exception as error:
        outcomes.append(error)


async def _until(outcomes: list[object]) -> object:
    while not outcomes:
        await asyncio.sleep(0)
    return outcomes[0]


async def test_a_handler_that_does_not_wait_is_done_at_once_and_needs_no_other_task() -> None:
    async with _runners() as runners:
        tasks: list[object] = []

        async def handler() -> str:
            tasks.append(asyncio.current_task())
            return "answer"

        before, outcomes = asyncio.all_tasks(), list[object]()
        for _ in range(3):
            await _outside(runners, partial(_serve, outcomes, handler))
        assert outcomes == ["answer"] * 3
        assert tasks == [runners.idle[0].task] * 3
        assert asyncio.all_tasks() == before


async def test_a_handler_that_waits_goes_on_in_the_task_in_which_it_began() -> None:
    async with _runners() as runners:
        tasks: list[object] = []
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def handler() -> str:
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
            async with asyncio.timeout(60):
                return await ready

        outcomes: list[object] = []
        runner = await _outside(runners, partial(_serve, outcomes, handler))
        assert not runners.idle
        ready.set_result("late")
        assert await _until(outcomes) == "late"
        assert tasks == [runner.task] * 2
        await asyncio.sleep(0)
        assert runners.idle == [runner]  # for another one


async def test_context_variables_are_a_handlers_own() -> None:
    async with _runners() as runners:

        async def handler(value: str, wait: bool) -> tuple[str, str]:
            before, token = _mark.get(), _mark.set(value)
            if wait:
                await asyncio.sleep(0)
            after = _mark.get()
            _mark.reset(token)
            _mark.set("left behind")
            return before, after

        for wait in (False, True, False):
            outcomes: list[object] = []
            await _outside(runners, partial(_serve, outcomes, partial(handler, "mine", wait)))
            assert await _until(outcomes) == ("none", "mine")
            await asyncio.sleep(0)


async def test_what_a_handler_raises_comes_to_whoever_began_it_or_waits_for_it() -> None:
    async with _runners() as runners:

        async def handler(wait: bool) -> str:
            if wait:
                await asyncio.sleep(0)
            raise ValueError("no")

        outcomes: list[object] = []
        with pytest.raises(ValueError, match="no"):
            await _outside(runners, partial(_serve, outcomes, partial(handler, False)))
        await _outside(runners, partial(_serve, outcomes, partial(handler, True)))
        assert isinstance(await _until(outcomes), ValueError)


async def test_what_was_awaited_and_failed_fails_in_the_handler() -> None:
    async with _runners() as runners:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def handler() -> str:
            try:
                return await ready
            except ValueError as error:
                await asyncio.sleep(0)
                return f"caught {error}"

        outcomes: list[object] = []
        await _outside(runners, partial(_serve, outcomes, handler))
        await asyncio.sleep(0)
        ready.set_exception(ValueError("no"))
        assert await _until(outcomes) == "caught no"


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_cancelling_its_task_reaches_the_handler_and_what_it_waits_for(turns: int) -> None:
    async with _runners() as runners:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        noticed: list[str] = []

        async def handler() -> str:
            try:
                return await ready
            finally:
                noticed.append("end")

        outcomes: list[object] = []

        def act(runner: Runner) -> Runner:
            _serve(outcomes, handler, runner)
            if not turns:
                runner.task.cancel()  # before it could go on
            return runner

        runner = await _outside(runners, act)
        for _ in range(turns):
            await asyncio.sleep(0)
        runner.task.cancel()
        assert await _until(outcomes) == "cancelled"
        assert noticed == ["end"]
        assert ready.cancelled()
        with contextlib.suppress(asyncio.CancelledError):
            await runner.task
        assert not runners.idle  # whoever was cancelled ends


async def test_a_handler_cancelled_where_it_waits_for_nothing_hears_of_it() -> None:
    async with _runners() as runners:

        async def handler() -> str:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return "noticed"
            return "missed"

        outcomes: list[object] = []

        def act(runner: Runner) -> None:
            _serve(outcomes, handler, runner)
            runner.task.cancel()

        await _outside(runners, act)
        assert await _until(outcomes) == "noticed"


@pytest.mark.parametrize("wait", [False, True])
async def test_a_handler_that_cancels_itself_is_cancelled_where_it_next_waits(wait: bool) -> None:
    async with _runners() as runners:

        async def handler() -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if wait:
                await asyncio.sleep(0)
            return "done"

        outcomes: list[object] = []
        await _outside(runners, partial(_serve, outcomes, handler))
        assert await _until(outcomes) == ("cancelled" if wait else "done")
        await asyncio.sleep(0)
        assert not runners.idle


async def test_scopes_and_groups_of_tasks_work_from_the_first_step_on() -> None:
    async with _runners() as runners:

        async def handler() -> list[str]:
            said: list[str] = []
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep_forever()
            said.append(f"scope {scope.cancelled_caught}")
            async with asyncio.TaskGroup() as group:
                group.create_task(_say(said, "task"))
            async with anyio.create_task_group() as others:
                others.start_soon(_say, said, "another")
            return said

        outcomes: list[object] = []
        await _outside(runners, partial(_serve, outcomes, handler))
        assert await _until(outcomes) == ["scope True", "task", "another"]


async def _say(said: list[str], what: str) -> None:
    await asyncio.sleep(0)
    said.append(what)


async def test_no_handler_begins_within_a_task_or_while_nobody_is_idle() -> None:
    async with _runners(1) as runners:
        assert runners.take() is None  # here a task runs
        outcomes: list[object] = []
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def handler() -> str:
            return await never

        def act(runner: Runner) -> Runner | None:
            _serve(outcomes, handler, runner)
            return runners.take()

        assert await _outside(runners, act) is None


async def test_a_runner_that_was_cancelled_takes_nothing_more() -> None:
    async with _runners(1) as runners:
        taken: list[Runner | None] = []

        def act() -> None:
            runners.idle[0].task.cancel()
            taken.append(runners.take())

        asyncio.get_running_loop().call_soon(act)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert taken == [None]


async def test_no_more_are_kept_than_a_limit() -> None:
    async with _runners() as runners:
        for _ in range(2 * MAX_IDLE):
            runners.start(_nothing)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(runners.idle) == MAX_IDLE
        assert len(runners.tasks) == MAX_IDLE
