"""Locks that others share: none is lost or given twice, whatever is done while the store is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.localfs import LocalFs, _locking
from btfproto.localfs._locking import Asked
from btfproto.provider import Handle, Lock, LockKind, OpenFlags
from btfproto.store import Commit, CommitAnswer, Events, Store
from btfproto.store.remote._locks import LockTable
from btlib import Kind

from .test_rekeying import FaultyStore, shared
from .test_renewing import Revoked, photos_of

NEVER = float("inf")


class Locked(FaultyStore):
    """With a server's locks. `meanwhile` is done once, after the next answer about a lock; `within` within a commit.

    Nobody hears of others' commits before he asks.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.forget()
        self.meanwhile: Callable[[], None] | None = None
        self.within: Callable[[], None] | None = None
        self.is_away = False
        self.over = threading.Event()
        self._events = store.watch
        self.watch = self._heard_when_asked

    def forget(self) -> None:
        """As a server that was started anew."""
        self._table = LockTable(lambda: 0.0)

    def set_file_lock(self, file: bytes, holder: bytes, lock: Lock, *, again: bool = False) -> Asked:
        if self.is_away:
            raise StoreError(Kind.UNREACHABLE, "the test took it away")
        answer = self._table.set(file, holder, lock, again=again)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return answer

    def test_file_lock(self, file: bytes, holder: bytes, lock: Lock) -> Asked:
        return self._table.test(file, holder, lock)

    def drop_file_locks(self, holder: bytes) -> None:
        self._table.drop(holder)

    def commit(self, commit: Commit) -> CommitAnswer:
        act, self.within = self.within, None
        if act is not None:
            act()
        return super().commit(commit)

    def _heard_when_asked(self, cursor: int, holder: bytes, timeout: float) -> Events:
        if timeout and cursor:
            self.over.wait(timeout)
            return Events(cursor, [], [])
        return self._events(cursor, holder, 0.0)


class Two:
    """Two clients that have `large` open: its key is older than that of its directory, so a write renews it."""

    def __init__(self, tree: Revoked) -> None:
        self.store = tree.store = Locked(tree.store)
        self.mine, self.yours = (shared(tree, tree.world.machine) for _ in range(2))
        self.handles = {fs: opened(fs, "large") for fs in (self.mine, self.yours)}

    def lock(self, fs: LocalFs, start: int = 0, end: int = 1 << 63, kind: LockKind = LockKind.WRITE) -> None:
        fs.lock(self.handles[fs], lock_of(start, end, kind))

    def unlock(self, fs: LocalFs, start: int = 0, end: int = 1 << 63) -> None:
        self.lock(fs, start, end, LockKind.UNLOCK)

    def is_locked(self, fs: LocalFs, start: int = 0, end: int = 1 << 63) -> bool:
        """For this one."""
        return fs.test_lock(self.handles[fs], lock_of(start, end)) is not None

    def write(self) -> None:
        handle = self.mine.open(self.mine.lookup(photos_of(self.mine), "large").inode, OpenFlags.WRITE)
        self.mine.write(handle, 0, b"X")
        self.mine.close(handle)


def lock_of(start: int, end: int, kind: LockKind = LockKind.WRITE) -> Lock:
    return Lock(kind=kind, start=start, end=end, owner=1, process=7)


@contextmanager
def shutting_down(two: Two) -> Iterator[Two]:
    try:
        yield two
    finally:
        two.store.over.set()
        for fs in two.handles:
            fs.shutdown()


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    monkeypatch.setattr(_locking, "KEEP_SECONDS", NEVER)  # looked after when the test says so
    with shutting_down(Two(Revoked())) as made:
        yield made


def opened(fs: LocalFs, name: str) -> Handle:
    """To be read: who only locks takes no lease, which it would not hear that others want."""
    return fs.open(fs.lookup(photos_of(fs), name).inode, OpenFlags.READ)


@pytest.mark.parametrize("what", ["keep", "unlock", "test", "lock", "close"])
def test_all_locks_that_the_store_lost_are_taken_again_whatever_it_is_asked_first(two: Two, what: str) -> None:
    other = opened(two.mine, "small")
    two.mine.lock(other, lock_of(0, 1))
    two.lock(two.mine, 0, 1)
    two.lock(two.mine, 5, 6)
    two.store.forget()
    if what == "unlock":
        two.unlock(two.mine, 5, 6)
    elif what == "test":
        assert not two.is_locked(two.mine, 7, 8)
    elif what == "lock":
        two.lock(two.mine, 7, 8)
    elif what == "close":
        two.mine.close(other)
    two.mine.keep_locks(NEVER)
    assert two.is_locked(two.yours, 0, 1)
    assert two.is_locked(two.yours, 5, 6) == (what != "unlock")


def test_a_lock_is_not_ended_by_an_unlocking_from_before_it(two: Two) -> None:
    two.lock(two.mine)
    two.store.is_away = True
    two.unlock(two.mine)
    two.store.is_away = False
    two.lock(two.mine)
    two.mine.keep_locks(NEVER)
    assert two.is_locked(two.yours)


def test_nothing_is_locked_while_the_store_does_not_know_what_was_unlocked(two: Two) -> None:
    two.lock(two.mine)
    two.store.is_away = True
    two.unlock(two.mine)
    with pytest.raises(FsError, match="took it away"):
        two.lock(two.mine)
    two.store.is_away = False
    two.mine.keep_locks(NEVER)
    assert not two.is_locked(two.yours)


def test_who_lost_one_range_of_a_file_holds_none_of_it(two: Two) -> None:
    two.lock(two.mine, 0, 1)
    two.lock(two.mine, 5, 6)
    two.store.forget()
    two.lock(two.yours, 5, 6)
    two.mine.keep_locks(NEVER)
    assert not two.is_locked(two.yours, 0, 1)
    with pytest.raises(FsError, match="locks were lost"):
        two.mine.fsync(two.handles[two.mine])


def test_a_lock_of_a_file_that_was_closed_while_it_was_asked_for_is_nobodys(two: Two) -> None:
    other = opened(two.mine, "small")
    two.store.meanwhile = lambda: two.mine.close(other)
    with pytest.raises(FsError) as refused:
        two.mine.lock(other, lock_of(0, 1))
    assert refused.value.kind is Kind.BAD_HANDLE
    assert two.yours.test_lock(opened(two.yours, "small"), lock_of(0, 1)) is None


def lose_the_answer(store: Locked) -> None:
    def lose() -> None:
        raise StoreError(Kind.UNREACHABLE, "the answer was lost")

    store.meanwhile = lose


def test_a_lock_whose_answer_was_lost_is_nobodys(two: Two) -> None:
    lose_the_answer(two.store)
    with pytest.raises(FsError, match="answer was lost"):
        two.lock(two.mine)
    assert not two.is_locked(two.yours)


def test_and_what_the_owner_held_of_it_before_is_held_as_it_was(two: Two) -> None:
    two.lock(two.mine, 0, 10, LockKind.READ)
    lose_the_answer(two.store)
    with pytest.raises(FsError, match="answer was lost"):
        two.lock(two.mine, 5, 20)
    two.lock(two.yours, 0, 10, LockKind.READ)
    assert two.is_locked(two.yours, 0, 10)
    assert not two.is_locked(two.yours, 10, 20)


class TestNewNames:
    """A file's name among locks changes with its key, in the commit of who writes it."""

    def test_what_was_locked_while_the_commit_was_under_way_is_locked_under_the_new_name(self, two: Two) -> None:
        two.write()
        two.store.within = lambda: two.lock(two.mine)
        two.mine.sync()
        two.mine.keep_locks(NEVER)
        two.yours.refresh()
        assert two.is_locked(two.yours)

    def test_what_was_unlocked_meanwhile_is_free_under_it(self, two: Two) -> None:
        two.lock(two.mine)
        two.write()
        two.store.within = lambda: two.unlock(two.mine, 5, 6)
        two.mine.sync()
        two.mine.keep_locks(NEVER)
        two.yours.refresh()
        assert not two.is_locked(two.yours, 5, 6)
        assert two.is_locked(two.yours, 0, 5)
        assert two.is_locked(two.yours, 6, 7)

    def test_who_has_not_heard_of_it_gets_no_lock_under_the_old_one(self, two: Two) -> None:
        two.write()
        two.mine.sync()
        two.lock(two.mine)
        with pytest.raises(FsError) as refused:
            two.lock(two.yours)
        assert refused.value.kind is Kind.WOULD_BLOCK

    def test_nor_keeps_one_there(self, two: Two) -> None:
        two.write()
        two.mine.sync()
        two.lock(two.yours)
        assert two.is_locked(two.mine)
        two.unlock(two.yours)
        assert not two.is_locked(two.mine)

    def test_what_was_held_under_the_old_name_is_given_back_there(self, two: Two) -> None:
        two.lock(two.mine)
        two.write()
        two.mine.sync()
        two.unlock(two.mine)
        assert not two.is_locked(two.yours)
