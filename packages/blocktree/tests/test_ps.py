"""`bt ps` against a running program with actors, as a user runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import bttp
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from btlib.home import Home
from btrun import Actor, Ask, Runtime, handle
from btrun.leases import MemoryLeases
from btrun.services import Single

from .conftest import PASSPHRASE, Machine


class Add(Ask[int], frozen=True):
    amount: int


class Counter(Actor):
    """Adds up."""

    def __init__(self) -> None:
        self.total = 0

    @handle
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total


class Fenced(Counter):
    """The only one."""

    def __init__(self, fence: int) -> None:
        super().__init__()
        self.fence = fence


class Program:
    """The running program: its socket, and what happens in it."""

    def __init__(self, portal: BlockingPortal, runtime: Runtime, endpoint: str) -> None:
        self.portal = portal
        self.runtime = runtime
        self.endpoint = endpoint

    def add(self, name: str, amount: int) -> None:
        async def call() -> None:
            await self.runtime.ref(name).call(Add(amount))

        self.portal.call(call)

    @property
    def names(self) -> set[str]:
        return {view.path.rpartition("/app/")[2] for view in self.portal.call(self.runtime.inspect).actors}


@pytest.fixture
def program(nas: Machine, homes: Path) -> Iterator[Program]:
    domain = Home.find(nas.environment()).domain("home")
    identity = domain.credentials.unlock(PASSPHRASE)

    @asynccontextmanager
    async def running() -> AsyncIterator[Program]:
        runtime = Runtime(identity, domain.host_path.child("app"))
        endpoint = f"unix:{homes}/app.sock"
        async with runtime, bttp.serve([endpoint], identity, runtime.router, roots=[domain.root]):
            runtime.spawn(Counter, name="counter")
            runtime.supervisor("pool").spawn(Counter, name="one")
            yield Program(portal, runtime, endpoint)

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running()) as found:
        yield found


def ps(machine: Machine, program: Program, *words: str, code: int = 0) -> str:
    done = machine("ps", "home:/hosts/nas/app", *words, "--at", program.endpoint, code=code)
    return done.out if code == 0 else done.err


def test_actors_are_listed_with_what_they_did(nas: Machine, program: Program) -> None:
    program.add("counter", 1)
    program.add("counter", 1)
    lines = ps(nas, program).splitlines()
    assert lines[0].split() == ["NAME", "CLASS", "STATE", "WAITING", "BUSY", "HANDLED", "RESTARTS", "HOLDS"]
    assert [line.split() for line in lines[1:]] == [
        ["counter", "Counter", "running", "0", "2", "0"],
        ["pool/one", "Counter", "running", "0", "0", "0"],
    ]
    assert [line.split()[0] for line in ps(nas, program, "pool").splitlines()[1:]] == ["pool/one"]
    assert ps(nas, program, "--blocked") == ""


def test_a_name_that_nobody_has_is_an_error_and_no_empty_list(nas: Machine, program: Program) -> None:
    for words in ((), ("--json",)):
        assert "app/nobody does not exist" in ps(nas, program, "nobody", *words, code=4)
    assert ps(nas, program, "nobody", "--dead-letters") == ""


def test_programs_get_a_document(nas: Machine, program: Program) -> None:
    found = nas("ps", "home:/hosts/nas/app", "--at", program.endpoint, "--json").document
    actors = found["actors"]
    assert isinstance(actors, list)
    assert [actor["name"] for actor in actors] == ["counter", "pool/one"]
    assert set(actors[0]) == {
        "path", "name", "kind", "state", "waiting", "busy_seconds", "oldest_call_seconds", "handled", "restarts",
        "figures",
    }  # fmt: skip
    assert (found["dead_letters"], found["left_off"], found["blocked"]) == (0, 0, [])


def test_services_are_listed_with_their_workers_and_fence(nas: Machine, program: Program) -> None:
    async def offer() -> None:
        runtime = program.runtime
        runtime.service("adding", Counter, workers=3)
        runtime.service("ledger", Fenced, single=Single(MemoryLeases(anyio.current_time)))
        await runtime.ref("ledger").call(Add(1))

    program.portal.call(offer)
    rows = [line.split() for line in ps(nas, program).splitlines()[1:3]]
    assert rows[0] == ["adding", "Counter", "idle", "0", "0", "of", "3", "workers"]
    assert rows[1] == ["ledger", "Fenced", "active", "0", "1", "of", "1", "workers,", "fence", "1"]
    services = nas("ps", "home:/hosts/nas/app", "ledger", "--at", program.endpoint, "--json").document["services"]
    assert isinstance(services, list)
    assert [(view["name"], view["workers"], view["fence"]) for view in services] == [("ledger", 1, 1)]


def test_messages_that_reached_nobody_are_shown_with_the_reason(nas: Machine, program: Program) -> None:
    async def lose() -> None:
        counter, one = program.runtime.ref("counter"), program.runtime.ref("pool/one")
        counter.stop()
        await counter.wait_down()
        counter.send(Add(77))
        one.kill()
        one.send(Add(1))

    program.portal.call(lose)
    assert "2 dead letters, messages that reached nobody: bt ps --dead-letters" in ps(nas, program)
    assert ps(nas, program, "counter", "--dead-letters") == "counter  Add  the actor ended: it was stopped\n"
    assert len(ps(nas, program, "--dead-letters").splitlines()) == 2
    letters = nas("ps", "home:/hosts/nas/app", "--at", program.endpoint, "--json").document["letters"]
    assert isinstance(letters, list)
    assert (letters[0]["message"], letters[0]["why"]) == ("Add", "the actor ended: it was stopped")


@pytest.mark.parametrize("how", ["--stop", "--drain", "--kill"])
def test_an_actor_is_made_to_end(nas: Machine, program: Program, how: str) -> None:
    assert ps(nas, program, "pool/one", how) == ""
    while "pool/one" in program.names:
        pass
    assert program.names == {"counter"}
    assert "app/pool/one does not exist; bt ps lists what does" in ps(nas, program, "pool/one", how, code=4)


def test_messages_are_shown_as_they_are_handled(nas: Machine, program: Program) -> None:
    async def keep_adding() -> None:
        while True:
            await program.runtime.ref("counter").call(Add(1))
            await anyio.sleep(0)

    adding = program.portal.start_task_soon(keep_adding)
    lines = ps(nas, program, "counter", "--trace", "--count", "2").splitlines()
    words = "ps", "home:/hosts/nas/app", "--trace", "--count", "1", "--json", "--at", program.endpoint
    document = nas(*words).document
    adding.cancel()
    assert len(lines) == 2
    assert lines[0].split()[:2] == ["counter", "Add"]
    messages = document["messages"]
    assert isinstance(messages, list)
    assert (messages[0]["message"], messages[0]["error"]) == ("Add", None)


def test_a_trace_ends_with_ctrl_c_and_the_program_forgets_the_follower(nas: Machine, program: Program) -> None:
    command = [sys.executable, "-m", "blocktree", "ps", "home:/hosts/nas/app", "--trace", "--at", program.endpoint]
    with subprocess.Popen(command, env=nas.environment(), stdout=subprocess.PIPE, text=True) as bt:
        assert bt.stdout is not None
        while program.runtime.tracers.listener is None:
            assert bt.poll() is None
        program.add("counter", 1)
        assert bt.stdout.readline().split()[:2] == ["counter", "Add"]
        bt.send_signal(signal.SIGINT)
        assert bt.wait(60) == 130
    while program.runtime.tracers.listener is not None:
        program.add("counter", 1)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--stop",), "--stop needs the NAME of an actor"),
        (("counter", "--stop", "--kill"), "exclude each other"),
        (("counter", "--trace", "--drain"), "exclude each other"),
        (("--blocked", "--dead-letters"), "give one of them"),
        (("--trace", "--dead-letters"), "give one of them"),
        (("--count", "3"), "--count is for --trace"),
        (("--trace", "--json"), "say when it ends: --count N"),
    ],
)
def test_options_that_do_not_go_together_are_refused_with_what_to_write(
    nas: Machine, words: tuple[str, ...], text: str
) -> None:
    assert text in nas("ps", "home:/hosts/nas/app", *words, code=2).err


def test_a_program_that_is_not_there_and_one_without_that_runtime_are_told_apart(
    nas: Machine, program: Program, homes: Path
) -> None:
    assert "cannot connect" in nas("ps", "home:/hosts/nas/app", "--at", f"unix:{homes}/no.sock", code=4).err
    assert "has no runtime at" in nas("ps", "home:/hosts/nas/other", "--at", program.endpoint, code=4).err
    assert "has no server" in nas("ps", "home:/hosts/nas/app", code=2).err
    assert "is the whole domain" in nas("ps", "home:", "--at", program.endpoint, code=2).err
