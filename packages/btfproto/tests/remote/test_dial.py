"""Lost links: what is repeated, how long, and what a user is told."""

from __future__ import annotations

import threading

import pytest
from btfproto._dial import Dialer
from btfproto._server_check import server_check
from btfproto.domain import SeenList
from btfproto.errors import StoreError
from btfproto.messages import stores
from btfproto.revocations import MemoryOfProcess, Remembered
from btfproto.store import Commit, Committed, StoreStatus
from btfproto.store.remote import StoreClient
from btfproto.testing.domains import NOW, World, person
from btlib import Kind, Principal
from btlib.revocations import NO_LIST, Revoked
from bttp import AuthenticationError, ConnectionLostError, RemoteError, UnreachableError

from .conftest import peer_of
from .evil import SERVICE, FakeLink, dialer_to, store_link


def status_link() -> FakeLink:
    return store_link(lambda request: stores.Status(StoreStatus(1, 2, 3, 4)))


def lost() -> ConnectionLostError:
    return ConnectionLostError("the connection was lost")


def test_a_call_that_was_lost_with_its_link_goes_out_again_on_the_next() -> None:
    dying, healthy = status_link(), status_link()
    dying.fail = [lost()]
    dying.closed = True
    client = StoreClient(dialer_to(dying, healthy), SERVICE)
    assert client.status().blocks == 1
    client.close()


def test_a_commit_is_repeated_with_the_same_request_id() -> None:
    link = store_link(lambda request: stores.CommitDone(Committed(1)))
    link.fail = [lost(), lost()]
    client = StoreClient(dialer_to(link), SERVICE)
    assert client.commit(Commit(request=b"r" * 16, changes=[])) == Committed(1)
    assert len(link.bodies) == 3
    assert len(set(link.bodies)) == 1
    client.close()


def test_when_patience_ends_the_error_names_the_endpoint_and_the_next_step() -> None:
    moments = iter(range(0, 10_000, 3))

    def connect(timeout: float) -> FakeLink:
        raise UnreachableError("cannot connect: Connection refused")

    dialer = Dialer(connect, "nas:7464", patience=5.0, clock=lambda: float(next(moments)), jitter=lambda: 0.0)
    client = StoreClient(dialer, SERVICE)
    with pytest.raises(StoreError) as refused:
        client.status()
    assert refused.value.kind is Kind.UNREACHABLE
    assert "no connection to nas:7464 within 5 seconds: cannot connect: Connection refused" in str(refused.value)
    assert "btfsd" in str(refused.value)
    client.close()


def test_a_refusal_is_not_tried_again() -> None:
    attempts = []

    def connect(timeout: float) -> FakeLink:
        attempts.append(timeout)
        raise AuthenticationError("you are not of this domain")

    client = StoreClient(Dialer(connect, "nas:7464"), SERVICE)
    with pytest.raises(StoreError, match="not of this domain") as refused:
        client.status()
    assert refused.value.kind is Kind.UNAUTHENTICATED
    assert len(attempts) == 1
    client.close()


def test_an_answer_that_it_failed_is_not_tried_again() -> None:
    link = status_link()
    link.fail = [RemoteError("no such target", kind=Kind.NO_SUCH_TARGET)]
    client = StoreClient(dialer_to(link), SERVICE)
    with pytest.raises(StoreError) as refused:
        client.status()
    assert refused.value.kind is Kind.NO_SUCH_TARGET
    client.close()


def test_closing_ends_all_waiting() -> None:
    refused: list[StoreError] = []
    entered = threading.Event()

    def connect(timeout: float) -> FakeLink:
        entered.set()
        raise UnreachableError("nobody there")

    client = StoreClient(Dialer(connect, "nas:7464", patience=600.0), SERVICE)

    def ask() -> None:
        try:
            client.status()
        except StoreError as error:
            refused.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    entered.wait()
    client.close()
    thread.join()
    assert refused[0].kind is Kind.UNREACHABLE


def test_pauses_grow_and_are_jittered() -> None:
    dialer = dialer_to(status_link())
    pauses = [dialer._pause(attempt) for attempt in range(10)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] == 1.0


class TestARevokedServer:
    """What is remembered of revocations is asked before the first request, and again when more is known."""

    world = World.make(now=NOW)
    path = world.path("hosts", "nas", "btfsd")

    def link(self) -> FakeLink:
        link = status_link()
        server = self.world.machine
        link.peer = peer_of(server)
        return link

    def remember(self, memory: MemoryOfProcess, *revoked: Principal) -> None:
        entry = Revoked(since=NOW, recorded=NOW, by=self.world.root.principal)
        record = NO_LIST.extended(dict.fromkeys(revoked, entry), {})
        memory.save(Remembered(root=bytes(32), seen=SeenList(record=record), confirmed=NOW))

    def client(self, memory: MemoryOfProcess, *links: FakeLink) -> StoreClient:
        check = server_check("nas:7464", self.path, memory, lambda: NOW)
        waiting = list(links)
        return StoreClient(Dialer(lambda timeout: waiting.pop(0), "nas:7464", check=check), SERVICE)

    def test_is_not_asked_anything(self) -> None:
        memory, link = MemoryOfProcess(), self.link()
        self.remember(memory, self.world.machine.principal)
        client = self.client(memory, link)
        with pytest.raises(StoreError, match=r"nas:7464 is not spoken with: .* was revoked on") as refused:
            client.status()
        assert refused.value.kind is Kind.FORBIDDEN
        assert link.closed
        assert link.bodies == []
        client.close()

    def test_loses_its_link_when_that_becomes_known(self) -> None:
        memory, first, second = MemoryOfProcess(), self.link(), self.link()
        client = self.client(memory, first, second)
        client.status()
        self.remember(memory, person(9).principal)
        client.dialer.recheck()
        before = first.closed
        self.remember(memory, self.world.machine.principal)
        client.dialer.recheck()
        assert (before, first.closed) == (False, True)
        with pytest.raises(StoreError, match="was revoked on"):
            client.status()
        assert second.bodies == []
        client.close()
