"""A store behind a link: it keeps every promise, checks what it is sent, and binds leases to who holds them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest
from btfproto.domain import DomainReader, Draft, public_content
from btfproto.errors import StoreError
from btfproto.messages import stores
from btfproto.store import (
    Absent,
    Acquire,
    Commit,
    CommitAnswer,
    Committed,
    Events,
    Fenced,
    HeadWant,
    LeaseBusy,
    LeaseFree,
    LeaseHeld,
    MemoryStore,
    Past,
    RecordRef,
    Release,
    Snapshot,
)
from btfproto.store.check import CommitChecker
from btfproto.store.remote import ObservedStore, StoreClient, StoreServer
from btfproto.testing import STORE_CHECKS, StoreCheck
from btfproto.testing._store_tools import block_id, change, commit_of, must_commit, records_of, run
from btfproto.testing.domains import person
from btlib import Kind

from .conftest import MakeNet, Net

T = TypeVar("T")
KEY, ME, YOU = b"k" * 16, b"m" * 16, b"y" * 16


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_a_store_over_a_link(check: StoreCheck, net: Net) -> None:
    check(net.empty_client())


def test_more_heads_and_records_than_one_request_takes_are_asked_for_in_parts(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MAX_HEADS", 10)
    monkeypatch.setattr(stores, "MAX_RECORDS", 7)
    client = net.empty_client()
    blocks = [block_id(number) for number in range(25)]
    for block in blocks:
        must_commit(client, change(block, 0, run(0, 0, *(b"%d" % index for index in range(20)))))
    assert len(client.read_heads([HeadWant(block) for block in blocks])) == 25
    records = client.read_records(blocks[3], [RecordRef(0, index) for index in range(20)]).records
    assert [bytes(record or b"") for record in records] == [b"%d" % index for index in range(20)]


def test_what_does_not_fit_a_reply_is_asked_for_in_smaller_parts(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    client = net.empty_client()
    blocks = [block_id(number) for number in range(100)]
    client.commit(commit_of(*(change(block, 0, run(0, 0, bytes(1000))) for block in blocks)))
    must_commit(client, change(block_id("long"), 0, run(0, 0, *[bytes(1000)] * 100)))
    monkeypatch.setattr(stores, "MAX_REPLY_BYTES", 20_000)
    assert len(client.read_heads([HeadWant(block) for block in blocks])) == 100
    assert len(client.read_records(block_id("long"), [RecordRef(0, index) for index in range(100)]).records) == 100


def test_a_record_that_fits_no_reply_is_refused(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    client = net.empty_client()
    must_commit(client, change(block_id("large"), 0, run(0, 0, bytes(9000))))
    monkeypatch.setattr(stores, "MAX_REPLY_BYTES", 5000)
    with pytest.raises(StoreError) as refused:
        client.read_heads([HeadWant(block_id("large"))])
    assert refused.value.kind is Kind.LIMIT


def test_large_records_arrive_as_views(net: Net) -> None:
    client = net.empty_client()
    must_commit(client, change(block_id("large"), 0, run(0, 0, bytes(500_000))))
    (record,) = client.read_records(block_id("large"), [RecordRef(0, 0)]).records
    assert isinstance(record, memoryview)
    assert len(record) == 500_000


def test_more_than_a_request_may_ask_for_is_refused_with_the_limit(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    client = net.empty_client()
    wants = [HeadWant(block_id(number)) for number in range(stores.MAX_HEADS + 1)]
    with pytest.raises(StoreError, match="limit of 1024") as refused:
        client._call(stores.ReadHeads(wants), stores.Heads)
    assert refused.value.kind is Kind.LIMIT


class TestChecks:
    """Every commit goes through the keyless check; the refusal arrives as its kind and sentence."""

    @pytest.fixture
    def checked(self, make_net: MakeNet) -> Net:
        net: Net

        def check(commit: object) -> None:
            root = net.world.root.principal
            CommitChecker(net.store, DomainReader(net.store, root), root, time.time)(commit)  # type: ignore[arg-type]

        net = make_net(check)
        return net

    def draft(self, net: Net) -> Draft:
        machine = net.world.machine
        return Draft(machine.signer, machine.chains[0], now=int(time.time()))

    def test_what_an_honest_writer_sends_is_committed(self, checked: Net) -> None:
        draft = self.draft(checked)
        draft.put(block=block_id("file"), scope=checked.world.created.scope, content=public_content(b"sealed"))
        draft.put_writer(checked.world.created.scope)
        assert isinstance(checked.store_client().commit(draft.commit(os.urandom(16))), Committed)

    def test_a_forged_signature_is_refused(self, checked: Net) -> None:
        draft = self.draft(checked)
        draft.put(block=block_id("file"), scope=checked.world.created.scope, content=public_content(b"sealed"))
        draft.put_writer(checked.world.created.scope)
        commit = draft.commit(os.urandom(16))
        signed = bytearray(commit.changes[0].signed)
        signed[-1] ^= 1
        forged = msgspec.structs.replace(commit.changes[0], signed=bytes(signed))
        with pytest.raises(StoreError) as refused:
            checked.store_client().commit(commit_of(forged, commit.changes[1]))
        assert refused.value.kind is Kind.INTEGRITY
        assert checked.store.read_heads([HeadWant(block_id("file"))]) == [Absent()]

    def test_a_writer_without_a_right_is_refused_by_name(self, checked: Net) -> None:
        mallory = checked.member(9)
        draft = Draft(mallory.signer, mallory.chains[0], now=int(time.time()))
        draft.put(block=block_id("file"), scope=checked.world.created.scope, content=public_content(b"sealed"))
        draft.put_writer(checked.world.created.scope)
        with pytest.raises(StoreError, match=str(mallory.principal)) as refused:
            checked.store_client(mallory).commit(draft.commit(os.urandom(16)))
        assert refused.value.kind is Kind.FORBIDDEN

    def test_an_unknown_scope_is_refused(self, checked: Net) -> None:
        draft = self.draft(checked)
        draft.put(block=block_id("file"), scope=b"nowhere.nowhere.", content=public_content(b"sealed"))
        draft.put_writer(checked.world.created.scope)
        with pytest.raises(StoreError) as refused:
            checked.store_client().commit(draft.commit(os.urandom(16)))
        assert refused.value.kind is Kind.INTEGRITY


class TestLeases:
    def test_another_principal_cannot_release_renew_or_use_a_lease(self, net: Net) -> None:
        mine, other = net.empty_client(), net.empty_client(net.member(9))
        held = mine.lease(Acquire(KEY, ME, 60_000))
        assert isinstance(held, LeaseHeld)
        assert isinstance(other.lease(Release(KEY, ME)), LeaseFree)
        assert isinstance(other.lease(Acquire(KEY, ME, 60_000)), LeaseBusy)
        answer = other.commit(commit_of(change(block_id("a"), 0), fences=[(KEY, held.fence)]))
        assert answer == Fenced(KEY, held.fence)
        assert isinstance(mine.commit(commit_of(change(block_id("a"), 0), fences=[(KEY, held.fence)])), Committed)

    def test_the_leases_of_a_lost_link_are_free_soon(self, net: Net) -> None:
        dying, waiting = net.empty_client(net.member(8)), net.empty_client(net.member(9))
        assert isinstance(dying.lease(Acquire(KEY, ME, 60_000)), LeaseHeld)
        dying.close()
        end = time.monotonic() + 10
        while not isinstance(waiting.lease(Acquire(KEY, YOU, 60_000)), LeaseHeld):
            assert time.monotonic() < end, "the lease of a closed link is still held"

    def test_a_client_that_came_back_keeps_its_lease_when_the_old_link_ends(self, net: Net) -> None:
        first, again, other = net.empty_client(), net.empty_client(), net.empty_client(net.member(9))
        first.lease(Acquire(KEY, ME, 60_000))
        assert isinstance(again.lease(Acquire(KEY, ME, 60_000)), LeaseHeld)
        first.close()
        again.status()
        assert isinstance(other.lease(Acquire(KEY, YOU, 60_000)), LeaseBusy)

    def test_a_client_that_only_lost_its_link_still_has_its_lease_when_it_is_back(self, net: Net) -> None:
        dialer, other = net.dialer(), net.empty_client(net.member(9))
        mine = StoreClient(dialer, net.path.child("empty"))
        held = mine.lease(Acquire(KEY, ME, 60_000))
        dialer.link().close()
        assert isinstance(other.lease(Acquire(KEY, YOU, 60_000)), LeaseBusy)
        assert mine.lease(Acquire(KEY, ME, 60_000)) == held

    def test_the_holder_learns_that_another_waits(self, net: Net) -> None:
        holder, other = net.empty_client(), net.empty_client(net.member(9))
        holder.lease(Acquire(KEY, ME, 60_000))
        cursor = holder.watch(0, ME, 0).cursor
        wanted: list[list[bytes]] = []
        waiting = threading.Thread(target=lambda: wanted.append(holder.watch(cursor, ME, 30).wanted))
        waiting.start()
        other.lease(Acquire(KEY, YOU, 60_000))
        waiting.join()
        assert wanted == [[KEY]]

    def test_a_link_cannot_hoard_leases(self, net: Net) -> None:
        client = net.empty_client()
        for number in range(256):
            client.lease(Acquire(block_id(number), ME, 60_000))
        with pytest.raises(StoreError, match="256 leases") as refused:
            client.lease(Acquire(block_id("one more"), ME, 60_000))
        assert refused.value.kind is Kind.LIMIT


class TestWatches:
    def test_many_waiting_clients_hold_no_worker(self, net: Net) -> None:
        """There are 8 workers; 40 long polls must not keep anybody else waiting."""
        client = net.empty_client()
        cursor = client.watch(0, ME, 0).cursor
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(len(client.watch(cursor, ME, 30).changes))) for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        must_commit(client, change(block_id("a"), 0))
        for thread in threads:
            thread.join()
        assert found == [1] * 40

    def test_who_commits_under_its_own_lease_is_told_with_what_others_do(
        self, net: Net, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, other = net.empty_client(), net.empty_client()
        held = mine.lease(Acquire(KEY, ME, 60_000))
        assert isinstance(held, LeaseHeld)
        cursor = mine.watch(0, ME, 0).cursor
        found: list[list[bytes]] = []
        waiting = threading.Thread(
            target=lambda: found.append([change.block for change in mine.watch(cursor, ME, 30).changes])
        )
        looked, watch = threading.Event(), net.unchecked.store.watch

        def look(cursor: int, holder: bytes, timeout: float) -> Events:
            try:
                return watch(cursor, holder, timeout)
            finally:
                looked.set()

        monkeypatch.setattr(net.unchecked.store, "watch", look)
        waiting.start()
        assert looked.wait(30)
        for name in ("a", "b"):
            committed = mine.commit(commit_of(change(block_id(name), 0), fences=[(KEY, held.fence)]))
            assert isinstance(committed, Committed)
        must_commit(other, change(block_id("c"), 0))
        waiting.join()
        assert found == [[block_id("a"), block_id("b"), block_id("c")]]

    def test_more_watches_than_a_link_may_have_are_refused(self, net: Net) -> None:
        client = net.empty_client()
        cursor = client.watch(0, ME, 0).cursor
        refused: list[StoreError] = []

        def watch() -> None:
            try:
                client.watch(cursor, ME, 30)
            except StoreError as error:
                refused.append(error)

        threads = [threading.Thread(target=watch) for _ in range(80)]
        for thread in threads:
            thread.start()
        while len(refused) < 16:
            time.sleep(0.001)
        must_commit(client, change(block_id("a"), 0))
        for thread in threads:
            thread.join()
        assert {error.kind for error in refused} == {Kind.LIMIT}

    def test_a_draining_server_answers_at_once(self, net: Net) -> None:
        client = net.store_client()
        cursor = client.watch(0, ME, 0).cursor
        net.stores.drain()
        assert client.watch(cursor, ME, 50).changes == []


def test_anybody_who_may_not_reach_the_service_is_refused(net: Net) -> None:
    with pytest.raises(StoreError) as refused:
        net.store_client(person(77)).status()
    assert refused.value.kind in (Kind.FORBIDDEN, Kind.UNAUTHENTICATED)


def test_leases_are_counted_and_released_when_the_service_ends(net: Net) -> None:
    one, two = net.store_client(), net.store_client(net.member(7))
    assert isinstance(one.lease(Acquire(KEY, ME, 60_000)), LeaseHeld)
    assert net.stores.figures()["leases"] == 1
    assert isinstance(two.lease(Acquire(KEY, YOU, 60_000)), LeaseBusy)
    net.stores.close()
    assert net.stores.figures() == {"leases": 0, "locked files": 0, "watches": 0}
    assert isinstance(two.lease(Acquire(KEY, YOU, 60_000)), LeaseHeld)


def test_a_store_that_is_observed_already_is_served_as_it_is(net: Net) -> None:
    observed = net.stores.store
    assert StoreServer(observed, lambda commit: None).store is observed


class _Failing(MemoryStore):
    """Applies a commit, and fails to say so."""

    fails = False

    def commit(self, commit: Commit) -> CommitAnswer:
        answer = super().commit(commit)
        if self.fails:
            raise StoreError(Kind.IO, "the disk failed")
        return answer


def test_who_follows_a_block_hears_of_its_commits_alone_before_they_are_answered() -> None:
    store = _Failing()
    observed = ObservedStore(store)
    heard: list[int] = []
    observed.listen_for(block_id(1), lambda: heard.append(store.mark().cursor))
    must_commit(observed, change(block_id(2), 0))
    assert heard == []
    must_commit(observed, change(block_id(2), 1), change(block_id(1), 0))
    assert heard == [store.mark().cursor]
    store.fails = True
    with pytest.raises(StoreError, match="disk failed"):
        observed.commit(commit_of(change(block_id(1), 1)))
    assert len(heard) == 2, "what failed may have taken effect"


def test_who_was_not_allowed_to_makes_and_deletes_no_snapshot(net: Net) -> None:
    client = net.store_client()
    for act in (lambda: client.create_snapshot("s", 1), lambda: client.delete_snapshot("s")):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.kind is Kind.FORBIDDEN
    assert client.snapshots() == []


class _Forgetful(MemoryStore):
    """`meanwhile` is done once, after what it is asked about snapshots next, and before it answers."""

    meanwhile: Callable[[], None] | None = None

    def create_snapshot(self, name: str, taken: int) -> Snapshot:
        return self._then(super().create_snapshot(name, taken))

    def delete_snapshot(self, name: str) -> None:
        self._then(super().delete_snapshot(name))

    def at(self, name: str) -> Past:
        return self._then(super().at(name))

    def _then(self, answer: T) -> T:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return answer


def test_a_snapshot_is_made_and_deleted_once_where_the_answer_is_lost(net: Net) -> None:
    store = _Forgetful()
    net.unchecked.store = ObservedStore(store)
    client = net.empty_client()

    def lose_the_link() -> None:
        client.dialer.link().close()

    store.meanwhile = lose_the_link
    made = client.create_snapshot("s", 1)
    assert (made.name, made.taken, len(client.snapshots())) == ("s", 1, 1)
    with pytest.raises(StoreError) as refused:
        client.create_snapshot("s", 1)
    assert refused.value.kind is Kind.EXISTS
    store.meanwhile = lose_the_link
    client.delete_snapshot("s")
    assert client.snapshots() == []
    with pytest.raises(StoreError) as refused:
        client.delete_snapshot("s")
    assert refused.value.kind is Kind.NOT_FOUND


def test_a_snapshot_that_is_deleted_while_it_is_looked_up_is_not_taken_for_the_next_of_its_name() -> None:
    store = _Forgetful()
    observed = ObservedStore(store)
    observed.create_snapshot("s", 1)
    store.meanwhile = lambda: observed.delete_snapshot("s")
    observed.at("s")
    must_commit(observed, change(block_id(1), 0))
    made = observed.create_snapshot("s", 2)
    assert observed.at("s").snapshot.cursor == made.cursor


def test_a_snapshot_that_is_made_anew_under_its_old_name_is_not_confused_with_it(net: Net) -> None:
    client = net.empty_client()
    block = block_id("renewed")
    must_commit(client, change(block, 0, run(0, 0, b"old")))
    client.create_snapshot("s", 1)
    assert records_of(client.at("s"), block, 0, 0, 1) == [b"old"]
    client.delete_snapshot("s")
    must_commit(client, change(block, 1, run(0, 0, b"new")))
    client.create_snapshot("s", 2)
    assert records_of(client.at("s"), block, 0, 0, 1) == [b"new"]
