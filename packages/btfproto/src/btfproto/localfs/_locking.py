"""Calls for byte-range locks and `flock`.

Among the users of this `LocalFs` they are kept in memory. Where others use the same tree, the store keeps them too
(`LockService`) and is asked first; what is in memory is then what this client believes to hold. Every answer of the
store says whether it still has that, and as long as there is anything, `keep_locks` asks every second. A store that has
lost it is asked for all of it again, before anything else: a lock that another client has got meanwhile is lost, and
the next `fsync` or `flush` of the file says so.

What a file is called among locks follows from its key. Where that is changed, here or by another client, its locks are
asked for under the new name; a lock counts only if the name is still right after the store gave it.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.labels import Label

from ..errors import FsError
from ..provider import Handle, Lock, LockKind
from ._blocks import StoredBlock
from ._group import Group
from ._handles import OpenFile
from ._inode import Inode
from ._locks import TO_THE_END, FileLocks, beyond
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
        self._renaming: dict[bytes, _Renaming] = {}  # by the new name, from before the commit until after it
        shared = self.options.shared and isinstance(self.store, LockService)
        self._service: LockService | None = self.store if shared else None  # type: ignore[assignment]

    def lock(self, handle: Handle, lock: Lock) -> None:
        if self._service is None:
            self._lock_here(handle, lock)
            return
        with self._locking:
            try:
                if lock.kind is LockKind.UNLOCK:
                    self._unlock(handle, lock)
                else:
                    self._settle(self._service)
                    self._lock_there(self._service, handle, lock)
            finally:
                with suppress(FsError):  # what is unlocked is unlocked, whether the store can be told now or later
                    self._settle(self._service)

    def test_lock(self, handle: Handle, lock: Lock) -> Lock | None:
        with self.mutex:
            inode = self.handles.get(handle).inode
            locks = self._locks.get(inode.number)
            conflict = None if locks is None else locks.conflict(lock)
            file = _name(inode)
        if conflict is not None or self._service is None:
            return conflict
        with self._locking:
            self._settle(self._service)
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
            with suppress(FsError), self._locking:
                self._settle(self._service)

    def keep_locks(self, now: float) -> None:
        """See to it that the store has what is believed to be held. Raises FsError."""
        service = self._service
        if service is None or now - self._kept < KEEP_SECONDS or not (self._locks or self._owed):
            return
        self._kept = now
        with self._locking:
            self._settle(service)
            for inode, locks in self._all_held()[:1]:  # the store has all of this client's locks, or none
                self._asked(service.test_file_lock, _name(inode), locks[0])
            self._settle(service)

    def release_locks(self) -> None:
        """All of this client's: it ends. The store forgets them by itself where it cannot be told."""
        if self._service is None or not (self._locks or self._owed):
            return
        try:
            self._service.drop_file_locks(self.holder)
        except BlocktreeError as error:
            log.debug("locks were not released: %s", error.message)

    def lock_renamed(self, group: Group) -> None:
        """Before a commit that gives files new keys: whoever sees the new name must find the locks under it."""
        if self._service is None:
            return
        for member in group.members:
            if member.renewed is not None and not member.removed:
                self._lock_anew(self._service, member.inode, member.renewed.key)

    def _lock_anew(self, service: LockService, inode: Inode, key: bytes) -> None:
        """Nobody else knows this name yet. What fails is done after the commit."""
        new = _name_under(inode.store.block, key)
        renaming = self._renaming.setdefault(new, _Renaming(_name(inode), []))
        with suppress(FsError), self._locking:
            for lock in self._held(inode):
                renaming.taken.append(lock)
                self._asked(service.set_file_lock, new, lock)

    def unlock_renamed(self, group: Group) -> None:
        """After it. Locks may have come and gone meanwhile, under the old name. Under the lock."""
        if not self._renaming:
            return
        for member in group.members:
            name = _name(member.inode)
            renaming = self._renaming.pop(name, None)
            if renaming is not None:
                held = self._held(member.inode)
                self._owed += [(renaming.old, _unlocking_all(lock)) for lock in renaming.taken + held]
                self._owed += [(name, _unlocking(lock)) for lock in beyond(renaming.taken, held)]
                self._again = self._again or bool(held)

    def renamed_by_others(self, inode: Inode, old: StoredBlock) -> None:
        """Another client's commit gave it a new key. Under the lock."""
        if inode.number in self._locks:
            self._owed += [(_name_under(old.block, old.key), _unlocking_all(lock)) for lock in self._held(inode)]
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
        while conflict is None:
            name = _name(inode)
            conflict = self._asked_for(service, inode, name, lock)
            with self.mutex:
                if conflict is None and _name(inode) == name:
                    self._take_here(handle, inode, name, lock)
                    return
            if conflict is None:
                self._owed.append((name, _unlocking(lock)))
        raise _locked(inode, conflict)

    def _asked_for(self, service: LockService, inode: Inode, name: bytes, lock: Lock) -> Lock | None:
        """What forbids a lock. Afterwards everything is known that others did before it was given. Raises FsError."""
        try:
            conflict, _ = self._asked(service.set_file_lock, name, lock)
            if conflict is None and not self.holds(inode.store.scope):
                self.heard_since(self.reloads)
        except FsError:
            self._disown(inode, name, lock)
            raise
        return conflict

    def _take_here(self, handle: Handle, inode: Inode, name: bytes, lock: Lock) -> None:
        try:
            self._lock_here(handle, lock)
        except FsError:  # it was closed meanwhile
            self._disown(inode, name, lock)
            raise

    def _disown(self, inode: Inode, name: bytes, lock: Lock) -> None:
        """The store may have given a lock that nobody has."""
        held = self._held(inode)
        self._owed += [(name, _unlocking(part)) for part in beyond([lock], held)]
        self._again = self._again or bool(held)  # it may have replaced another kind of lock

    def _unlock(self, handle: Handle, lock: Lock) -> None:
        with self.mutex:
            inode = self.handles.get(handle).inode
            locks = self._locks.get(inode.number)
            if locks is None or not locks.owned(lock.owner):
                return  # every close of a file comes here
            self._lock_here(handle, lock)
            self._owed.append((_name(inode), lock))

    def _settle(self, service: LockService) -> None:
        """Take again what the store has lost, and tell it what was unlocked: before it is asked for anything new.

        In this order: after a start of the server, the first request that asks for nothing *again* says that this
        client has all of its own. Raises FsError where the store is away.
        """
        while self._again or self._owed:
            if self._again:
                self._take_again(service)
            else:
                self._asked(service.set_file_lock, *self._owed[0])
                del self._owed[0]

    def _take_again(self, service: LockService) -> None:
        ask, knew = partial(service.set_file_lock, again=True), list[bool]()
        for inode, locks in self._all_held():
            answers = [self._asked(ask, _name(inode), lock) for lock in locks]
            if any(conflict for conflict, _ in answers):
                self._lose_locks(inode)
            knew += [known for _, known in answers]
        self._again = not all(knew[1:])  # it has lost them once more meanwhile

    def _held(self, inode: Inode) -> list[Lock]:
        with self.mutex:
            locks = self._locks.get(inode.number)
            return [] if locks is None else locks.all()

    def _all_held(self) -> list[tuple[Inode, list[Lock]]]:
        with self.mutex:
            found = [(self.table.get(number), locks.all()) for number, locks in self._locks.items()]
        return [(inode, locks) for inode, locks in found if inode is not None]

    def _lose_locks(self, inode: Inode) -> None:
        what = "its locks were lost while the server was away: another client has one"
        log.warning("%s: %s", inode.path, what)
        with self.mutex:
            lost = self._locks.pop(inode.number, FileLocks())
            self._owed += [(_name(inode), _unlocking(lock)) for lock in lost.all()]  # some may have been given
            inode.error = FsError(Kind.STALE, what, "close the file, and look at it again")

    def _asked(self, ask: _Ask, file: bytes, lock: Lock) -> Asked:
        """Raises FsError."""
        try:
            conflict, known = ask(file, self.holder, lock)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error
        self._again = self._again or not known
        return conflict, known


class _Renaming(NamedTuple):
    """A file's name from before, and what was locked under the new one already."""

    old: bytes
    taken: list[Lock]


class _Ask(Protocol):
    def __call__(self, file: bytes, holder: bytes, lock: Lock, /) -> Asked: ...


def _name(inode: Inode) -> bytes:
    """What a file is called where its locks are kept: who cannot read it cannot tell."""
    return _name_under(inode.store.block, inode.store.key)


def _name_under(block: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(Label.LOCK_NAME.value + block, key=key, digest_size=16).digest()


def _unlocking(lock: Lock) -> Lock:
    return Lock(kind=LockKind.UNLOCK, start=lock.start, end=lock.end, owner=lock.owner)


def _unlocking_all(lock: Lock) -> Lock:
    """Whatever the owner of a lock has."""
    return Lock(kind=LockKind.UNLOCK, start=0, end=TO_THE_END, owner=lock.owner)


def _locked(inode: Inode, conflict: Lock) -> FsError:
    return FsError(Kind.WOULD_BLOCK, f"{inode.path} is locked by process {conflict.process} from {conflict.start}")
