"""Leases of a store for services of runtimes: one is active, another takes over, and a fence is a fence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import bttp
import pytest
from btfproto.errors import StoreError
from btfproto.opening import STORE_SERVICE
from btfproto.store import BlockChange, Commit, Committed, Fenced, Found, HeadWant, MemoryStore, Store
from btfproto.store.remote import StoreServer
from btfsd.leases import StoreLeases
from btrun import Actor, CallTimeoutError, Ref, Runtime, UnavailableError
from btrun.errors import NotHereError
from btrun.leases import service_key
from btrun.services import Providers, Single
from bttp.blocking import serve

from .ledger_program import BLOCK, DOMAIN, SCOPE, SERVER, Enter

PROGRAM = Path(__file__).with_name("ledger_program.py")
TRY_SECONDS = 60  #: far more than a fail-over takes


class Clock:
    """Time that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def commit(store: Store, version: int, fences: list[tuple[bytes, int]]) -> object:
    change = BlockChange(block=BLOCK, expected=version - 1, version=version, signed=b"entry %d" % version)
    return store.commit(Commit(request=os.urandom(16), changes=[change], fences=fences))


def test_one_holds_a_lease_until_it_is_over_or_given_back() -> None:
    clock = Clock()
    leases = StoreLeases(MemoryStore(clock=clock), SCOPE)
    key, a, b = service_key("ledger"), b"a" * 16, b"b" * 16

    async def main() -> None:
        first = await leases.acquire(key, a, 10.0)
        assert first is not None
        assert (first.fence, first.seconds) == (1, 10.0)
        assert await leases.acquire(key, b, 10.0) is None
        clock.now = 9.0
        again = await leases.acquire(key, a, 10.0)
        assert again is not None
        assert again.fence == 1, "a renewal keeps the fence"
        clock.now = 19.5
        second = await leases.acquire(key, b, 10.0)
        assert second is not None
        assert second.fence == 2
        await leases.release(key, a)
        assert await leases.acquire(key, a, 10.0) is None, "only the holder gives it back"
        await leases.release(key, b)
        third = await leases.acquire(key, a, 10.0)
        assert third is not None
        assert third.fence == 3

    anyio.run(main)


def test_services_of_other_names_and_scopes_have_leases_of_their_own() -> None:
    store = MemoryStore()
    ours, theirs = StoreLeases(store, SCOPE), StoreLeases(store, SCOPE.child("other"))

    async def main() -> None:
        for leases, name in ((ours, "ledger"), (ours, "clerk"), (theirs, "ledger")):
            held = await leases.acquire(service_key(name), name.encode().ljust(16), 10.0)
            assert held is not None
            assert held.fence == 1
        assert len({leases.fence(name, 1) for leases in (ours, theirs) for name in ("ledger", "clerk")}) == 4

    anyio.run(main)


def test_a_commit_behind_an_old_fence_changes_nothing() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    leases = StoreLeases(store, SCOPE)

    async def main() -> None:
        for holder in (b"a" * 16, b"b" * 16):
            await leases.acquire(service_key("ledger"), holder, 1.0)
            clock.now += 2.0

    anyio.run(main)
    assert isinstance(commit(store, 1, [leases.fence("ledger", 2)]), Committed)
    assert commit(store, 2, [leases.fence("ledger", 1)]) == Fenced(leases.fence("ledger", 1)[0], 2)
    assert isinstance(commit(store, 2, [leases.fence("ledger", 2)]), Committed)


def test_a_store_that_cannot_be_reached_is_an_error_and_the_service_is_not_here() -> None:
    store = MemoryStore()
    store.close()
    leases = StoreLeases(store, SCOPE)

    class Idle(Actor):
        def __init__(self, fence: int) -> None:
            self.fence = fence

    async def main() -> None:
        with pytest.raises(StoreError):
            await leases.acquire(service_key("ledger"), bytes(16), 1.0)
        async with Runtime() as rt:
            rt.service("ledger", Idle, single=Single(leases))
            with pytest.raises(NotHereError, match="cannot get its lease here"):
                await rt.ref("ledger").call("anything")

    anyio.run(main)


# --- two runtimes in processes of their own, and one dies


class Bank:
    """The store's server here, and two processes that offer the service."""

    def __init__(self, store: MemoryStore, endpoint: str) -> None:
        self.store = store
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.endpoints: dict[str, str] = {}
        for name in ("a", "b"):
            process = self.processes[name] = subprocess.Popen(
                [sys.executable, PROGRAM, name, endpoint], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            self.endpoints[name] = process.stdout.readline().strip()

    def signal(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)

    def entries(self) -> list[tuple[str, int]]:
        """What stands in the ledger: deposits with the fences under which they were written."""
        found = self.store.read_heads([HeadWant(BLOCK)])[0]
        words = found.head.signed.decode().split() if isinstance(found, Found) else []
        return [(word.partition("@")[0], int(word.partition("@")[2])) for word in words]

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.send_signal(signal.SIGCONT)
            process.communicate()


@contextmanager
def bank() -> Iterator[Bank]:
    store = MemoryStore()
    router = bttp.Router()
    StoreServer(store, lambda commit: None).add_to(router, SERVER.child(STORE_SERVICE))
    with ExitStack() as stack:
        server = stack.enter_context(serve(["127.0.0.1:0"], DOMAIN["nas"], router, roots=[DOMAIN.principal]))
        running = Bank(store, server.endpoints[0])
        stack.callback(running.close)
        yield running


class Teller:
    """A client of both runtimes."""

    def __init__(self, runtime: Runtime, refs: dict[str, Ref]) -> None:
        self.runtime = runtime
        self.refs = refs
        self.providers = Providers(list(refs.values()))

    async def enter(self, deposit: str) -> tuple[str, int]:
        """Ask until somebody is active; how often in vain does not matter."""
        while True:
            try:
                answer = await self.providers.call(Enter(deposit), timeout=1.0)
            except (UnavailableError, CallTimeoutError, bttp.RemoteError):
                continue
            assert isinstance(answer, tuple)
            return answer


def tell(story: Callable[[Bank, Teller], Awaitable[None]]) -> None:
    async def main(running: Bank) -> None:
        async with Runtime(DOMAIN["teller"], DOMAIN.path.child("teller")) as rt:
            refs = {}
            async with anyio.create_task_group() as group:
                for name, endpoint in running.endpoints.items():
                    await group.start(hold_link, rt, name, endpoint)
                    refs[name] = rt.at(SCOPE.child(name).child("ledger"))
                with anyio.fail_after(TRY_SECONDS):
                    await story(running, Teller(rt, refs))
                group.cancel_scope.cancel()

    async def hold_link(rt: Runtime, name: str, endpoint: str, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with bttp.connect(endpoint, DOMAIN["teller"], root=DOMAIN.principal) as link:
            rt.attach(link, SCOPE.child(name))
            task_status.started()
            await anyio.sleep_forever()

    with bank() as running:
        anyio.run(main, running)


def test_when_a_runtime_is_killed_another_takes_over_under_a_newer_fence() -> None:
    async def story(running: Bank, teller: Teller) -> None:
        assert await teller.enter("one") == ("a", 1)
        with pytest.raises(NotHereError, match="active in another runtime"):
            await teller.refs["b"].call(Enter("two"))
        assert await teller.enter("two") == ("a", 1)
        running.signal("a", signal.SIGKILL)
        assert await teller.enter("three") == ("b", 2)
        assert await teller.enter("four") == ("b", 2)
        entries = running.entries()
        assert [deposit for deposit, _ in entries if deposit in ("one", "two", "four")] == ["one", "two", "four"]
        assert entries == sorted(entries, key=lambda entry: entry[1])

    tell(story)


def test_a_runtime_that_was_suspended_beyond_its_lease_can_do_no_harm() -> None:
    async def story(running: Bank, teller: Teller) -> None:
        assert await teller.enter("one") == ("a", 1)
        running.signal("a", signal.SIGSTOP)
        late = [False]

        async def ask_the_suspended_one() -> None:
            with pytest.raises((UnavailableError, bttp.RemoteError)):
                await teller.refs["a"].call(Enter("late"), timeout=TRY_SECONDS)
            late[0] = True

        async with anyio.create_task_group() as group:
            group.start_soon(ask_the_suspended_one)
            while True:
                try:
                    assert await teller.refs["b"].call(Enter("two"), timeout=5.0) == ("b", 2)
                    break
                except UnavailableError:
                    continue
            running.signal("a", signal.SIGCONT)
        assert late[0]
        assert await teller.refs["b"].call(Enter("three"), timeout=5.0) == ("b", 2)
        assert running.entries() == [("one", 1), ("two", 2), ("three", 2)]

    tell(story)
