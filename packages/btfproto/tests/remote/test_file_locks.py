"""Locks of files between clients of any kind: who has one, when it ends, and what becomes of it when links are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.localfs import LocalFs
from btfproto.localfs._locking import _name
from btfproto.messages import encode_store_request, stores
from btfproto.provider import FsProvider, Handle, Lock, LockKind, OpenFlags
from btfproto.store import MemoryStore
from btfproto.store.remote import FileLockHolders, StoreServer
from btfproto.store.remote._locks import GRACE_SECONDS, HERE, MAX_HOLDERS, MAX_RANGES, LockTable
from btfproto.testing.domains import person
from btfproto.testing.provider import write_file
from btlib import BlockPath, Kind
from bttp import Request

from .conftest import accept_everything, peer_of
from .test_coherence_model import Net

FILE, ME, YOU = b"f" * 16, b"m" * 16, b"y" * 16
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE


def whole(kind: LockKind = LockKind.WRITE, owner: int = 1) -> Lock:
    return Lock(kind=kind, owner=owner, process=7)


class TestTable:
    @pytest.fixture
    def now(self) -> list[float]:
        return [100.0]

    @pytest.fixture
    def table(self, now: list[float]) -> LockTable:
        return LockTable(lambda: now[0])

    def test_owners_of_two_clients_are_two_although_their_numbers_are_one(self, table: LockTable) -> None:
        assert table.set(FILE, ME, whole())[0] is None
        conflict, _ = table.set(FILE, YOU, whole())
        assert conflict is not None
        assert (conflict.kind, conflict.process) == (LockKind.WRITE, 7)
        assert table.test(FILE, YOU, whole(LockKind.READ))[0] is not None
        assert table.set(FILE, ME, whole())[0] is None
        table.set(FILE, ME, whole(LockKind.UNLOCK))
        assert table.set(FILE, YOU, whole())[0] is None

    def test_readers_share_and_ranges_are_told_apart(self, table: LockTable) -> None:
        assert table.set(FILE, ME, whole(LockKind.READ))[0] is None
        assert table.set(FILE, YOU, whole(LockKind.READ))[0] is None
        assert table.set(FILE, YOU, Lock(kind=LockKind.WRITE, start=0, end=1, owner=1))[0] is not None
        table.drop(ME)
        assert table.set(FILE, YOU, Lock(kind=LockKind.WRITE, start=0, end=1, owner=1))[0] is None

    def test_a_holder_without_a_link_has_a_while_to_come_back(self, table: LockTable, now: list[float]) -> None:
        table.set(FILE, ME, whole(), link=5)
        table.link_closed(5)
        now[0] += GRACE_SECONDS - 1
        assert table.test(FILE, YOU, whole(), link=6)[0] is not None
        assert table.test(FILE, ME, whole(), link=7) == (None, True)
        now[0] += GRACE_SECONDS
        assert table.test(FILE, YOU, whole(), link=6)[0] is not None, "it has a link again"

    def test_and_afterwards_others_get_its_locks_and_it_is_told(self, table: LockTable, now: list[float]) -> None:
        table.set(FILE, ME, whole(), link=5)
        table.link_closed(5)
        now[0] += GRACE_SECONDS
        assert table.set(FILE, YOU, whole(), link=6)[0] is None
        conflict, known = table.set(FILE, ME, whole(), link=7)
        assert conflict is not None
        assert not known

    def test_after_a_crash_nobody_gets_a_lock_before_who_had_some_has_them_again(
        self, now: list[float], tmp_path: Path
    ) -> None:
        file = tmp_path / "data/holders"
        before = LockTable(lambda: now[0], FileLockHolders(file))
        before.set(FILE, ME, whole(), link=5)
        table = LockTable(lambda: now[0], FileLockHolders(file))
        for again in (False, True):
            with pytest.raises(StoreError, match="started anew") as refused:
                table.set(FILE, YOU, whole(), link=6, again=again)
            assert refused.value.kind is Kind.WOULD_BLOCK
        assert table.set(FILE, YOU, whole(LockKind.UNLOCK), link=6)[0] is None
        assert table.test(FILE, ME, whole(), link=7) == (None, False)
        assert table.set(FILE, ME, whole(), link=7, again=True) == (None, True)
        with pytest.raises(StoreError, match="started anew"):
            table.set(b"g" * 16, YOU, whole(), link=6)
        assert table.test(FILE, ME, whole(), link=7)[1], "it is done"
        assert table.set(b"g" * 16, YOU, whole(), link=6)[0] is None
        assert table.set(FILE, YOU, whole(), link=6)[0] is not None

    def test_who_does_not_come_back_is_waited_for_as_long_as_a_lease(self, now: list[float], tmp_path: Path) -> None:
        holders = FileLockHolders(tmp_path / "holders")
        LockTable(lambda: now[0], holders).set(FILE, ME, whole(), link=5)
        table = LockTable(lambda: now[0], holders)
        now[0] += GRACE_SECONDS
        assert table.set(FILE, YOU, whole(), link=6)[0] is None
        assert holders.load() == {YOU}

    def test_nobody_waits_for_who_ended_before_the_crash(self, now: list[float], tmp_path: Path) -> None:
        holders = FileLockHolders(tmp_path / "holders")
        before = LockTable(lambda: now[0], holders)
        before.set(FILE, ME, whole(), link=5)
        before.drop(ME)
        before.set(FILE, ME, whole(), link=HERE)
        assert LockTable(lambda: now[0], holders).set(FILE, YOU, whole(), link=6)[0] is None

    def test_what_nobody_holds_is_forgotten(self, table: LockTable) -> None:
        table.set(FILE, ME, whole())
        table.set(FILE, ME, whole(LockKind.UNLOCK))
        table.set(b"g" * 16, YOU, whole(LockKind.UNLOCK))
        assert len(table) == 0

    def test_a_flood_is_refused(self, table: LockTable) -> None:
        for number in range(MAX_RANGES):
            table.set(FILE, ME, Lock(kind=LockKind.WRITE, start=2 * number, end=2 * number + 1, owner=number))
        with pytest.raises(StoreError, match="locked ranges") as refused:
            table.set(b"g" * 16, ME, whole())
        assert refused.value.kind is Kind.LIMIT
        for number in range(MAX_HOLDERS):
            table.test(FILE, number.to_bytes(16, "big"), whole(), link=9)
        with pytest.raises(StoreError, match="lock holders"):
            table.test(FILE, b"z" * 16, whole(), link=9)


class EndedLink:
    """One that was lost before its request was looked at."""

    id = 5
    peer = peer_of(person(50))

    def on_close(self, callback: Callable[[], None]) -> None:
        callback()


def test_who_asked_with_its_last_breath_holds_its_lock_no_longer_than_others_without_a_link() -> None:
    now = [100.0]
    server = StoreServer(MemoryStore(), accept_everything, linger=0.0)
    server.store.locks = table = LockTable(lambda: now[0])
    body = b"".join(encode_store_request(stores.SetFileLock(FILE, ME, whole(), False)))
    path = BlockPath(person(50).principal, ("store",))
    server.handle(Request(path=path, body=memoryview(body), peer=EndedLink.peer, link=EndedLink()))
    assert table.test(FILE, YOU, whole())[0] is not None
    now[0] += GRACE_SECONDS
    assert table.test(FILE, YOU, whole())[0] is None


@pytest.fixture
def net() -> Iterator[Net]:
    with ExitStack() as stack:
        yield Net(stack)


def opened(fs: FsProvider) -> Handle:
    return fs.open(fs.lookup(fs.root, "file").inode, READ_WRITE)


def is_locked(fs: FsProvider, handle: Handle) -> bool:
    try:
        fs.lock(handle, whole())
    except FsError as error:
        assert error.kind is Kind.WOULD_BLOCK  # noqa: PT017 - the other outcome is a success
        return True
    fs.lock(handle, whole(LockKind.UNLOCK))
    return False


@pytest.fixture
def handles(net: Net) -> list[Handle]:
    """Of one file, in each of the clients: two end-to-end, one thin."""
    first = net.clients[0]
    write_file(first, first.root, "file", b"content")
    first.sync()
    return [opened(fs) for fs in net.clients]


@pytest.mark.parametrize("one", range(3))
@pytest.mark.parametrize("other", range(3))
def test_clients_of_any_kind_exclude_each_other(net: Net, handles: list[Handle], one: int, other: int) -> None:
    if one == other:
        return
    net.clients[one].lock(handles[one], whole())
    assert is_locked(net.clients[other], handles[other])
    found = net.clients[other].test_lock(handles[other], whole(LockKind.READ))
    assert found is not None
    assert found.kind is LockKind.WRITE
    net.clients[one].lock(handles[one], whole(LockKind.UNLOCK))
    assert not is_locked(net.clients[other], handles[other])


def test_a_closed_file_and_a_client_that_ends_hold_nothing(net: Net, handles: list[Handle]) -> None:
    one, other, _ = net.clients
    one.lock(handles[0], whole())
    one.close(handles[0])
    assert not is_locked(other, handles[1])
    one.lock(opened(one), whole())
    assert is_locked(other, handles[1])
    one.shutdown()
    assert not is_locked(other, handles[1])


def test_a_lock_outlives_its_link(net: Net, handles: list[Handle]) -> None:
    net.clients[0].lock(handles[0], whole())
    net.lose_link(0)
    assert is_locked(net.clients[1], handles[1])
    local(net, 0).keep_locks(float("inf"))
    assert is_locked(net.clients[1], handles[1])


def test_locks_that_the_server_forgot_are_taken_again(net: Net, handles: list[Handle]) -> None:
    net.clients[0].lock(handles[0], whole())
    forget(net)
    local(net, 0).keep_locks(float("inf"))
    assert is_locked(net.clients[1], handles[1])


def test_and_where_another_was_quicker_the_loss_is_reported_once(net: Net, handles: list[Handle]) -> None:
    one = net.clients[0]
    one.lock(handles[0], whole())
    anew = LockTable()
    anew.set(_name(local(net, 0).table[one.lookup(one.root, "file").inode]), YOU, whole())
    net.stores.store.locks = anew
    local(net, 0).keep_locks(float("inf"))
    with pytest.raises(FsError, match="locks were lost") as lost:
        one.fsync(handles[0])
    assert lost.value.kind is Kind.STALE
    one.fsync(handles[0])
    net.stores.store.locks.drop(YOU)
    assert not is_locked(one, handles[0])


def test_what_was_unlocked_without_the_server_is_free_when_it_is_back(net: Net, handles: list[Handle]) -> None:
    one, other, _ = net.clients
    one.lock(handles[0], whole())
    net.cut_off(0)
    one.lock(handles[0], whole(LockKind.UNLOCK))
    assert is_locked(other, handles[1])
    net.heal(0)
    local(net, 0).keep_locks(float("inf"))
    assert not is_locked(other, handles[1])


def local(net: Net, number: int) -> LocalFs:
    found = net.clients[number]
    assert isinstance(found, LocalFs)
    return found


def forget(net: Net) -> None:
    """A server that was started anew knows no locks."""
    net.stores.store.locks = LockTable()
