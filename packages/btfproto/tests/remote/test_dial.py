"""Lost links: what is repeated, how long, and what a user is told."""

from __future__ import annotations

import threading

import pytest
from btfproto._dial import FOR_EVER, Dialer
from btfproto.errors import StoreError, StoreWentBackError
from btfproto.localfs import MemoryPins, SeenStore, StorePin
from btfproto.messages import stores
from btfproto.store import Commit, Committed, StoreMark, StoreStatus
from btfproto.store.remote import StoreClient
from btlib import Kind
from bttp import AuthenticationError, ConnectionLostError, RemoteError, UnreachableError
from bttp.errors import DeadlineError

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


def marked_link(cursor: int) -> FakeLink:
    def answer(request: stores.StoreRequest) -> stores.StoreReply:
        if isinstance(request, stores.GetMark):
            return stores.MarkShown(StoreMark(b"s" * 16, cursor))
        return stores.CommitDone(Committed(cursor + 1))

    return store_link(answer)


def guarded(*links: FakeLink) -> tuple[StoreClient, StorePin]:
    client = StoreClient(dialer_to(*links), SERVICE)
    pin = StorePin(client, MemoryPins())
    pin.start()
    return client, pin


def test_a_store_that_was_put_back_is_noticed_on_its_new_link_before_a_lost_commit_goes_out_again() -> None:
    first, older, right = marked_link(10), marked_link(9), marked_link(10)
    client, _ = guarded(first, older, right)
    first.fail, first.closed = [lost()], True
    commit = Commit(request=b"r" * 16, changes=[])
    with pytest.raises(StoreWentBackError, match="it has 9 commits, but 10 were seen before") as refused:
        client.commit(commit)
    assert refused.value.kind is Kind.ROLLBACK
    assert refused.value.hint is not None
    assert "bt accept-restore" in refused.value.hint
    assert older.closed
    assert len(older.bodies) == 1, "something went to a store that was put back"
    assert client.commit(commit) == Committed(11), "the right one is taken again"
    client.close()


def test_commits_and_events_raise_what_was_seen_of_a_store() -> None:
    first, older = marked_link(10), marked_link(19)
    client, pin = guarded(first, older)
    pin.note(20)
    first.closed = True
    with pytest.raises(StoreError, match="it has 19 commits, but 20 were seen before"):
        client.commit(Commit(request=b"r" * 16, changes=[]))
    client.close()


def test_another_store_has_a_pin_of_its_own() -> None:
    pins = MemoryPins()
    pins.note_store(b"t" * 16, SeenStore(1000))
    client = StoreClient(dialer_to(marked_link(10)), SERVICE)
    StorePin(client, pins).start()
    assert pins.seen_stores()[b"s" * 16].cursor == 10
    client.close()


@pytest.mark.parametrize("kind", [Kind.NO_SUCH_TARGET, Kind.FORBIDDEN])
def test_a_thin_client_compares_nothing_where_the_store_is_not_served(kind: Kind) -> None:
    link = status_link()
    link.fail = [RemoteError("not here", kind=kind)]
    client = StoreClient(dialer_to(link), SERVICE)
    client.guard_links(StorePin(client, MemoryPins()).check, optional=True)
    assert client.status().blocks == 1
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


def test_after_a_revocation_the_other_end_of_the_link_is_judged_anew() -> None:
    link = status_link()
    client = StoreClient(dialer_to(link), SERVICE)
    client.dialer.recheck()  # there is no link yet, and a new one is judged anyway
    client.status()
    client.dialer.recheck()
    assert link.rechecked == 1
    client.close()


class Unplugged:
    """A server that may be away, and the clock of the test: every attempt to reach it in vain takes a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.away = True
        self.attempts = 0

    def connect(self, timeout: float) -> FakeLink:
        self.attempts += 1
        if self.away:
            self.now += 1.0
            raise UnreachableError("cannot connect: Connection refused")
        return status_link()

    def client(self, patience: float) -> StoreClient:
        dialer = Dialer(self.connect, "nas:7464", patience=patience, clock=lambda: self.now, jitter=lambda: -1.0)
        return StoreClient(dialer, SERVICE)


def test_an_outage_is_waited_out_once_and_not_by_every_call_anew() -> None:
    server = Unplugged()
    client = server.client(patience=10.0)
    with pytest.raises(StoreError):
        client.status()
    given_up = server.now
    assert 10.0 <= given_up <= 12.0, "the last attempt may begin just before the end"
    for _ in range(20):
        with pytest.raises(StoreError, match="Connection refused") as refused:
            client.status()
        assert refused.value.kind is Kind.UNREACHABLE
    assert server.now <= given_up + 20, "each call tried once at the most"
    server.away = False
    assert client.status().blocks == 1
    client.close()


def test_the_next_outage_is_waited_out_again() -> None:
    server = Unplugged()
    client = server.client(patience=5.0)
    with pytest.raises(StoreError):
        client.status()
    server.away = False
    link = client.dialer.link()
    assert client.status().blocks == 1
    link.close()
    server.away, server.attempts = True, 0
    with pytest.raises(StoreError):
        client.status()
    assert server.attempts > 2
    client.close()


def test_while_another_dials_a_call_that_has_given_up_fails_at_once() -> None:
    server, entered, go_on = Unplugged(), threading.Event(), threading.Event()
    client = server.client(patience=1.0)
    with pytest.raises(StoreError):
        client.status()

    def hang(timeout: float) -> FakeLink:
        entered.set()
        go_on.wait()
        return status_link()

    client.dialer._connect = hang
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(client.status().blocks))
    thread.start()
    entered.wait()
    with pytest.raises(StoreError, match="Connection refused"):
        client.status()
    go_on.set()
    thread.join()
    assert found == [1]
    client.close()


def test_who_waits_for_ever_has_his_call_repeated_until_it_is_answered() -> None:
    link = store_link(lambda request: stores.CommitDone(Committed(1)))
    link.fail = [lost(), DeadlineError("no answer"), *[lost() for _ in range(100)]]
    dialer = Dialer(lambda timeout: link, "nas:7464", patience=FOR_EVER, jitter=lambda: -1.0)
    client = StoreClient(dialer, SERVICE)
    assert client.commit(Commit(request=b"r" * 16, changes=[])) == Committed(1)
    assert len(link.bodies) == 103
    client.close()


def test_patience_may_end_while_somebody_waits() -> None:
    entered = threading.Event()

    def connect(timeout: float) -> FakeLink:
        entered.set()
        raise UnreachableError("nobody there")

    client = StoreClient(Dialer(connect, "nas:7464", patience=FOR_EVER, jitter=lambda: 0.0), SERVICE)
    refused: list[StoreError] = []

    def ask() -> None:
        try:
            client.status()
        except StoreError as error:
            refused.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    entered.wait()
    client.dialer.patience = 0.0
    thread.join()
    assert refused[0].kind is Kind.UNREACHABLE
    client.close()
