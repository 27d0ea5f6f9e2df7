"""Calls for byte-range locks and `flock`.

Among the users of this `LocalFs` they are kept in memory. Where others use the same tree, the store keeps them too
(`LockService`) and is asked first; what is in memory is then what this client believes to hold. As long as that is
anything, `keep_locks` looks every second whether the store still has it, and asks for it again where not: a lock that
another client has got meanwhile is lost, and the next `fsync` or `flush` of the file says so.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import Protocol, runtime_checkable

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.labels import Label

from ..errors import FsError
from ..provider import Handle, Lock, LockKind
from ._group import Group
from ._handles import OpenFile
from ._inode import Inode
from ._locks import FileLocks
from ._namespace import Namespace

log = logging.getLogger("btfproto.localfs")

KEEP_SECONDS = 1.0  #: how often held locks are looked after: well below the time for which a server keeps them

Asked = tuple[Lock | None, bool]


@runtime_checkable
class LockService(Protocol):
    """A store that keeps the locks of its clients. What forbids a lock, and whether the holder's earlier are known."""

    def set_file_lock(self, file: bytes, holder: bytes, lock: Lock, *, again: bool = False) -> Asked: ...
    def test_file_lock(self, file: bytes, holder: bytes, lock: Lock) -> Asked: ...
    def drop_file_locks(self, holder: bytes) -> None: ...


class Locking(Namespace):
    """See `FsProvider` for what each call promises."""

    holder: bytes

    def start_locks(self) -> None:
        self._locks: dict[int, FileLocks] = {}
        self._locking = threading.Lock()  # taken before the core's lock, never after: one question to the store at once
        self._owed: list[tuple[bytes, Lock]] = []  # unlocked here, and the store was not told yet
        self._kept = 0.0
        self._again = False  # the store has lost this client's locks, and does not have all of them again
        shared = self.options.shared and isinstance(self.store, LockService)
        self._service: LockService | None = self.store if shared else None  # type: ignore[assignment]

    def lock(self, handle: Handle, lock: Lock) -> None:
        if self._service is None:
            self._lock_here(handle, lock)
            return
        with self._locking:
            if lock.kind is LockKind.UNLOCK:
                self._unlock(self._service, handle, lock)
            else:
                self._lock_there(self._service, handle, lock)

    def test_lock(self, handle: Handle, lock: Lock) -> Lock | None:
        with self.mutex:
            inode = self.handles.get(handle).inode
            locks = self._locks.get(inode.number)
            conflict = None if locks is None else locks.conflict(lock)
            file = _name(inode)
        if conflict is not None or self._service is None:
            return conflict
        with self._locking:
            return self._asked(self._service.test_file_lock, file, lock)[0]

    def drop_locks(self, handle: Handle, opened: OpenFile) -> None:
        """The handle is closed: what was locked through it is free. Under the lock; `settle_locks` tells the store."""
        locks = self._locks.get(opened.inode.number) if opened.locked else None
        if locks is None:
            return
        if self._service is not None:
            file = _name(opened.inode)
            self._owed += [(file, _unlocking(lock)) for lock in locks.of_handle(handle)]
        locks.drop_handle(handle)
        if not locks:
            del self._locks[opened.inode.number]

    def settle_locks(self) -> None:
        """Tell the store what was unlocked without it. Never with the lock held; it may be away."""
        if self._owed and self._service is not None:
            with self._locking:
                self._pay(self._service)

    def keep_locks(self, now: float) -> None:
        """See to it that the store has what is believed to be held. Raises FsError."""
        service = self._service
        if service is None or now - self._kept < KEEP_SECONDS or not (self._locks or self._owed):
            return
        self._kept = now
        with self._locking:
            self._pay(service)
            with self.mutex:
                held = [(self.table.get(number), locks.all()) for number, locks in self._locks.items()]
            for inode, locks in held:
                if inode is not None and locks:
                    _, known = self._asked(service.test_file_lock, _name(inode), locks[0])
                    if not known or self._again:
                        self._take_again(service)
                        return

    def release_locks(self) -> None:
        """All of this client's: it ends. The store forgets them by itself where it cannot be told."""
        if self._service is None or not (self._locks or self._owed):
            return
        try:
            self._service.drop_file_locks(self.holder)
        except BlocktreeError as error:
            log.debug("locks were not released: %s", error.message)

    def lock_renamed(self, group: Group) -> list[tuple[bytes, Lock]]:
        """A file's name among locks follows from its key. Whoever sees the new one must find the locks under it."""
        service, renamed = self._service, list[tuple[bytes, Lock]]()
        if service is None or not self._locks:
            return renamed
        for member in group.members:
            if member.renewed is None:
                continue
            store = member.inode.store
            with self.mutex:
                locks = self._locks.get(member.inode.number)
                held = [] if locks is None else locks.all()
            renamed += [(_name(member.inode), lock) for lock in held]
            self._lock_anew(service, _name_under(store.block, member.renewed.key), held)
        return renamed

    def _lock_anew(self, service: LockService, file: bytes, held: list[Lock]) -> None:
        """Nobody else knows this name yet. What fails is done later by `keep_locks`."""
        with suppress(FsError), self._locking:
            for lock in held:
                self._asked(service.set_file_lock, file, lock)

    def unlock_renamed(self, renamed: list[tuple[bytes, Lock]]) -> None:
        self._owed += [(file, _unlocking(lock)) for file, lock in renamed]
        self._again = self._again or bool(renamed)  # somebody may have locked more, under the old name, meanwhile

    def renamed_by_others(self, inode: Inode) -> None:
        """Another client's commit gave it a new key. Under the lock."""
        if inode.number in self._locks:
            self._again, self._kept = True, 0.0

    def _lock_here(self, handle: Handle, lock: Lock) -> None:
        with self.mutex:
            opened = self.handles.get(handle)
            locks = self._locks.setdefault(opened.inode.number, FileLocks())
            conflict = locks.set(lock, handle)
            if not locks:
                del self._locks[opened.inode.number]
            if conflict is not None:
                raise _locked(opened.inode, conflict)
            opened.locked = opened.locked or lock.kind is not LockKind.UNLOCK

    def _lock_there(self, service: LockService, handle: Handle, lock: Lock) -> None:
        with self.mutex:
            inode = self.handles.get(handle).inode
            locks = self._locks.get(inode.number)
            conflict = None if locks is None else locks.conflict(lock)
        if conflict is None:
            conflict, known = self._asked(service.set_file_lock, _name(inode), lock)
            if self._locks and (self._again or not known):
                self._take_again(service)
        if conflict is not None:
            raise _locked(inode, conflict)
        self._lock_here(handle, lock)

    def _unlock(self, service: LockService, handle: Handle, lock: Lock) -> None:
        with self.mutex:
            inode = self.handles.get(handle).inode
            locks = self._locks.get(inode.number)
            if locks is None or not locks.owned(lock.owner):
                return  # every close of a file comes here
        self._lock_here(handle, lock)
        self._owed.append((_name(inode), lock))
        self._pay(service)

    def _pay(self, service: LockService) -> None:
        """What is unlocked here is unlocked, whether the store can be told now or later."""
        while self._owed:
            try:
                self._asked(service.set_file_lock, *self._owed[0])
            except FsError:
                return
            del self._owed[0]

    def _take_again(self, service: LockService) -> None:
        """The store has lost this client's locks. Raises FsError where it is away."""
        self._again = True
        ask = partial(service.set_file_lock, again=True)
        with self.mutex:
            held = [(self.table.get(number), locks.all()) for number, locks in self._locks.items()]
        for inode, locks in held:
            if inode is not None and any(self._asked(ask, _name(inode), lock)[0] for lock in locks):
                self._lose_locks(inode)
        self._again = False

    def _lose_locks(self, inode: Inode) -> None:
        what = "its locks were lost while the server was away: another client has one"
        log.warning("%s: %s", inode.path, what)
        with self.mutex:
            self._locks.pop(inode.number, None)
            inode.error = FsError(Kind.STALE, what, "close the file, and look at it again")

    def _asked(self, ask: _Ask, file: bytes, lock: Lock) -> Asked:
        try:
            return ask(file, self.holder, lock)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error


class _Ask(Protocol):
    def __call__(self, file: bytes, holder: bytes, lock: Lock, /) -> Asked: ...


def _name(inode: Inode) -> bytes:
    """What a file is called where its locks are kept: who cannot read it cannot tell."""
    return _name_under(inode.store.block, inode.store.key)


def _name_under(block: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(Label.LOCK_NAME.value + block, key=key, digest_size=16).digest()


def _unlocking(lock: Lock) -> Lock:
    return Lock(kind=LockKind.UNLOCK, start=lock.start, end=lock.end, owner=lock.owner)


def _locked(inode: Inode, conflict: Lock) -> FsError:
    return FsError(Kind.WOULD_BLOCK, f"{inode.path} is locked by process {conflict.process} from {conflict.start}")
