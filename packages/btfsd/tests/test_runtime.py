"""The services as actors: listed, counted, stopped, started anew after a defect, and with others beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import bttp
import pytest
from btfproto.errors import FsError, StoreError
from btfproto.localfs import LocalFs
from btfproto.opening import open_thin, store_at
from btfproto.provider import OpenFlags, Owner
from btfproto.store import Acquire, EmbeddedStore, HeadWant, LeaseHeld
from btfsd import Host, Served, Settings, serving
from btlib import Identity
from btlib.kinds import Kind
from btrun import Actor, Ask, Runtime, handle
from btrun.inspection import ActorView
from btrun.inspector import How, Inspector
from btserde import U64
from bttp.blocking import connect
from bttp.errors import RemoteError

from .conftest import Machine
from .test_daemon import endpoint
from .test_revocation import member

ME = Owner(1000, 1000)


class Add(Ask[U64], frozen=True):
    amount: U64


class Counter(Actor):
    """Adds up."""

    def __init__(self) -> None:
        self.total = 0

    @handle
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total


@contextmanager
def served_by(machine: Machine, settings: Settings | None = None) -> Iterator[Served]:
    """The server of a machine, in this process."""
    domain = machine.domain
    assert domain.store is not None
    host = Host(domain=domain, identity=machine.identity, store=domain.store)
    with serving(settings or Settings(), host, host.identity) as served:
        yield served


@contextmanager
def inspector_of(machine: Machine, where: str, who: Identity | None = None) -> Iterator[Inspector]:
    domain = machine.domain
    with connect(where, who or machine.identity, root=domain.root, server=domain.server_path) as link:
        yield Inspector(link, domain.server_path)


def views(inspector: Inspector) -> dict[str, ActorView]:
    return {view.path.rpartition("/")[2]: view for view in inspector.look().actors}


def test_the_services_of_a_daemon_are_listed_with_what_they_hold(machine: Machine) -> None:
    process = machine.start()
    where = endpoint(machine)
    thin = open_thin(machine.domain, machine.identity, machine.domain.root_path, server=where)
    _, handle_ = thin.create(thin.root, "notes", 0o644, ME, OpenFlags.WRITE)
    store = store_at(where, machine.identity, machine.domain.server_path)
    assert isinstance(store.lease(Acquire(b"k" * 16, b"m" * 16, 10_000)), LeaseHeld)
    with inspector_of(machine, where) as inspector:
        found = views(inspector)
        assert {name: (view.kind, view.state) for name, view in found.items()} == {
            "store": ("StoreService", "running"),
            "fs": ("FileService", "running"),
        }
        assert found["fs"].handled >= 2
        assert {**found["fs"].figures, "under way": 0} == {
            "sessions": 1,
            "open files": 1,
            "lock owners": 0,
            "under way": 0,
        }
        assert found["store"].figures["leases"] == 1
        thin.close(handle_)
        thin.shutdown()
        store.close()
        assert views(inspector)["fs"].figures["sessions"] == 0
    assert machine.stop(process)[0] == 0


def test_a_member_without_rights_at_the_server_may_not_look_into_it_or_stop_it(machine: Machine) -> None:
    process = machine.start()
    with inspector_of(machine, endpoint(machine), member(machine)) as inspector:
        for forbidden in (inspector.look, lambda: inspector.halt("fs", How.KILL)):
            with pytest.raises(RemoteError, match="may write at its path") as refused:
                forbidden()
            assert refused.value.kind is Kind.FORBIDDEN
    domain = machine.domain
    with connect(endpoint(machine), member(machine), root=domain.root, server=domain.server_path) as link:
        for inner in (domain.server_path.child("fs").child(".bt"), domain.server_path.child(".bt").child("other")):
            with pytest.raises(RemoteError, match="may write at its path"):
                link.call(inner, b"", timeout=10)
    with inspector_of(machine, endpoint(machine), machine.root) as inspector:
        assert set(views(inspector)) == {"fs", "store"}
    assert machine.stop(process)[0] == 0


def test_a_service_that_is_stopped_does_not_answer_and_the_other_does(machine: Machine) -> None:
    process = machine.start()
    where, root = endpoint(machine), machine.domain.root_path
    with inspector_of(machine, where) as inspector:
        thin = open_thin(machine.domain, machine.identity, root, server=where)
        _, handle_ = thin.create(thin.root, "kept", 0o644, ME, OpenFlags.WRITE)
        thin.write(handle_, 0, b"committed by the end of its service")
        inspector.halt("fs", How.DRAIN)
        wait_for(lambda: "fs" not in views(inspector))
        with pytest.raises(FsError) as refused:
            thin.getattr(thin.root)
        assert refused.value.kind is Kind.NO_SUCH_TARGET
        with pytest.raises(FsError):
            thin.shutdown()
        store = store_at(where, machine.identity, machine.domain.server_path)
        assert store.status().blocks > 0
        store.close()
    assert machine.stop(process)[0] == 0
    again = machine.start()
    thin = open_thin(machine.domain, machine.identity, root, server=endpoint(machine))
    assert thin.lookup(thin.root, "kept").size == 35
    thin.shutdown()
    assert machine.stop(again)[0] == 0


def wait_for(happened: Any) -> None:
    """Ask again until it has."""
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end


def test_a_defect_of_the_file_service_starts_it_anew_and_clients_go_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_by(machine) as served:
        where, root = served.server.endpoints[0], machine.domain.root_path
        thin = open_thin(machine.domain, machine.identity, root, server=where)
        _, handle_ = thin.create(thin.root, "kept", 0o644, ME, OpenFlags.READ | OpenFlags.WRITE)
        thin.write(handle_, 0, b"written before")
        with monkeypatch.context() as defect:
            defect.setattr(LocalFs, "statfs", lambda fs: 1 // 0)
            with pytest.raises(FsError, match="a defect of it") as told:
                thin.statfs()
        assert told.value.kind is Kind.INTERNAL
        assert thin.read(handle_, 0, 100) == b"written before"
        thin.mkdir(thin.root, "written after", 0o755, ME)
        with inspector_of(machine, where) as inspector:
            found = views(inspector)
            assert (found["fs"].restarts, found["store"].restarts) == (1, 0)
        thin.shutdown()


def test_a_defect_of_the_store_service_starts_it_anew_and_the_leases_are_free(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_by(machine) as served:
        where = served.server.endpoints[0]
        one = store_at(where, machine.identity, machine.domain.server_path)
        two = store_at(where, machine.root, machine.domain.server_path)
        assert isinstance(one.lease(Acquire(b"k" * 16, b"m" * 16, 60_000)), LeaseHeld)
        with monkeypatch.context() as defect:
            defect.setattr(EmbeddedStore, "scan", lambda store, after, limit: 1 // 0)
            with pytest.raises(StoreError, match="a defect of it"):
                one.scan(None, 1)
        assert isinstance(two.lease(Acquire(b"k" * 16, b"y" * 16, 60_000)), LeaseHeld)
        assert len(two.read_heads([HeadWant(bytes(16))])) == 1
        with inspector_of(machine, where) as inspector:
            found = views(inspector)
            assert (found["fs"].restarts, found["store"].restarts) == (0, 1)
        one.close()
        two.close()


def test_a_defect_that_comes_again_and_again_does_not_end_the_daemon(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_by(machine) as served:
        client = store_at(served.server.endpoints[0], machine.identity, machine.domain.server_path)
        with monkeypatch.context() as defect:
            defect.setattr(EmbeddedStore, "scan", lambda store, after, limit: 1 // 0)
            for _ in range(7):  # more than a supervisor lets pass by default
                with pytest.raises(StoreError, match=r"a defect of it|started anew"):
                    client.scan(None, 1)
        assert client.scan(None, 1)
        client.close()


def test_an_actor_lives_beside_the_services_and_is_called_over_the_same_link(machine: Machine) -> None:
    with served_by(machine) as served:
        served.runtime.spawn(Counter, name="counter")
        domain, where = machine.domain, served.server.endpoints[0]

        async def client() -> None:
            async with (
                Runtime(machine.root, domain.hosts_path.child("laptop").child("app")) as rt,
                bttp.connect(where, machine.root, root=domain.root, server=domain.server_path) as link,
            ):
                rt.attach(link, domain.server_path)
                counter = rt.at(domain.server_path.child("counter"))
                assert [await counter.call(Add(2)), await counter.call(Add(3))] == [2, 5]
                with pytest.raises(RemoteError):  # the store answers in its own wire, by the same link
                    await link.call(domain.server_path.child("absent"), b"\xff")

        anyio.run(client)
        with inspector_of(machine, where) as inspector:
            assert set(views(inspector)) == {"fs", "store", "counter"}


def test_an_actor_elsewhere_is_told_when_the_file_service_ends(machine: Machine) -> None:
    with served_by(machine) as served:
        domain, where = machine.domain, served.server.endpoints[0]
        told = threading.Event()

        async def client() -> None:
            async with (
                Runtime(machine.root, domain.hosts_path.child("laptop").child("app")) as rt,
                bttp.connect(where, machine.root, root=domain.root, server=domain.server_path) as link,
            ):
                rt.attach(link, domain.server_path)
                service = rt.at(domain.server_path.child("fs").child(".bt"))
                async with anyio.create_task_group() as group:

                    async def watch() -> None:
                        await service.wait_down()
                        told.set()

                    group.start_soon(watch)
                    await anyio.wait_all_tasks_blocked()
                    service.stop()

        anyio.run(client)
        assert told.is_set()


@pytest.mark.parametrize("error", [FsError(Kind.NO_SPACE, "the disk is full"), ZeroDivisionError("a defect")])
def test_what_the_last_commit_raises_ends_the_daemon_with_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    shutdown = LocalFs.shutdown

    def full(fs: LocalFs) -> None:
        shutdown(fs)
        raise error

    def serve_once() -> None:
        with served_by(machine) as served:
            where = served.server.endpoints[0]
            open_thin(machine.domain, machine.identity, machine.domain.root_path, server=where).shutdown()
            monkeypatch.setattr(LocalFs, "shutdown", full)

    with pytest.raises(type(error), match=str(error)):
        serve_once()
