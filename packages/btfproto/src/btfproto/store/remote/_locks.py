"""`LockTable`: the file locks of all clients of one store, end-to-end and thin.

A file is known here by 16 bytes that only those can compute who may read it; so nobody locks what he cannot read. A
*holder* is one client's file system. It keeps its locks for `GRACE_SECONDS` after its link was lost, and goes on with
them when it comes back on another. Whoever is not known here any more (it stayed away for too long, or the server was
started anew) is told so with the next answer, and asks for its locks again.

The locks are not durable, but who had any is (`_lock_holders`). After a start of the server nobody gets a new lock
before all of these have asked for theirs again, or `GRACE_SECONDS` are over. Holders in this process end with it, and
are not waited for.

Time is an argument.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

import msgspec
from btlib.kinds import Kind

from btfproto.errors import StoreError
from btfproto.localfs._locks import FileLocks
from btfproto.provider import Lock, LockKind

from ._lock_holders import LockHolders, NoLockHolders

GRACE_SECONDS = 10.0  #: as long as a lease: how long a dead client can hold others up
MAX_RANGES = 1024  #: locked ranges of one holder
MAX_HOLDERS = 16  #: holders that came over one link; a client is one
HERE = 0  #: the link of a holder in this process


class _Holder:
    __slots__ = ("files", "left", "link", "number")

    def __init__(self, number: int, link: int) -> None:
        self.number = number
        self.link = link
        self.left: float | None = None  #: when its link was lost
        self.files: set[bytes] = set()


class LockTable:
    """Thread-safe."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        remembered: LockHolders = NoLockHolders(),  # noqa: B008 - it has no state
    ) -> None:
        self._clock = clock
        self._remembered = remembered
        self._saved = remembered.load()
        self._awaited = set(self._saved)  # whoever had locks before this start, and has not got them again yet
        self._begun = clock()
        self._lock = threading.Lock()
        self._files: dict[bytes, FileLocks] = {}
        self._holders: dict[bytes, _Holder] = {}
        self._numbers = 0

    def __len__(self) -> int:
        """How many files are locked."""
        return len(self._files)

    def set(
        self, file: bytes, holder: bytes, lock: Lock, link: int = HERE, *, again: bool = False
    ) -> tuple[Lock | None, bool]:
        """Take or release a range; `again`: the holder had it before the server lost it.

        The lock that forbids it, and whether the holder was known. Raises StoreError: WOULD_BLOCK while holders of
        before are waited for.
        """
        with self._lock:
            taking = lock.kind is not LockKind.UNLOCK
            if taking:
                self._check_grace(holder, again)
            held, known = self._enter(holder, link, again)
            locks = self._files.setdefault(file, FileLocks())
            if taking:
                self._check_room(held)
            conflict = locks.set(_bound(lock, holder), held.number)
            held.files.add(file)
            self._tidy(file, held)
            if taking and conflict is None and link != HERE and holder not in self._saved:
                self._save(self._saved | {holder})
            return conflict, known

    def test(self, file: bytes, holder: bytes, lock: Lock, link: int = HERE) -> tuple[Lock | None, bool]:
        """The same without taking anything. Raises StoreError."""
        with self._lock:
            _, known = self._enter(holder, link)
            locks = self._files.get(file)
            return (None if locks is None else locks.conflict(_bound(lock, holder))), known

    def drop(self, holder: bytes) -> None:
        """A holder ends, and its locks with it."""
        with self._lock:
            self._end(holder)

    def link_closed(self, link: int) -> None:
        """Its holders have to come back soon."""
        with self._lock:
            for held in self._holders.values():
                if held.link == link:
                    held.left = self._clock()

    def _check_grace(self, holder: bytes, again: bool) -> None:
        left = self._begun + GRACE_SECONDS - self._clock()
        if self._awaited and left <= 0:
            self._save(self._saved - self._awaited)
            self._awaited.clear()
        known = holder in self._holders  # then it has its own again
        if self._awaited - ({holder} if known else set()) and not (again and holder in self._awaited):
            raise StoreError(
                Kind.WOULD_BLOCK,
                f"the server was started anew, and {len(self._awaited)} of its clients may ask for their locks again",
                f"try again, in {left:.0f} seconds at the latest",
            )

    def _enter(self, holder: bytes, link: int, again: bool = False) -> tuple[_Holder, bool]:
        self._expire()
        held = self._holders.get(holder)
        if held is not None:
            held.link, held.left = link, None
            if not again:
                self._awaited.discard(holder)
            return held, True
        if link != HERE and sum(other.link == link for other in self._holders.values()) >= MAX_HOLDERS:
            raise StoreError(Kind.LIMIT, f"a connection has at most {MAX_HOLDERS} lock holders", "use one")
        self._numbers += 1
        held = self._holders[holder] = _Holder(self._numbers, link)
        return held, False

    def _expire(self) -> None:
        end = self._clock() - GRACE_SECONDS
        for name, held in list(self._holders.items()):
            if held.left is not None and held.left <= end:
                self._end(name)

    def _end(self, name: bytes) -> None:
        held = self._holders.pop(name, None)
        self._awaited.discard(name)
        if held is not None:
            self._release(held)
        if name in self._saved:
            self._save(self._saved - {name})

    def _save(self, holders: frozenset[bytes]) -> None:
        self._saved = holders
        self._remembered.save(holders)

    def _release(self, held: _Holder) -> None:
        for file in list(held.files):
            self._files[file].drop_handle(held.number)
            self._tidy(file, held)

    def _tidy(self, file: bytes, held: _Holder) -> None:
        locks = self._files[file]
        if not locks.count(held.number):
            held.files.discard(file)
        if not locks:
            del self._files[file]

    def _check_room(self, held: _Holder) -> None:
        if sum(self._files[file].count(held.number) for file in held.files) >= MAX_RANGES:
            raise StoreError(Kind.LIMIT, f"a client holds at most {MAX_RANGES} locked ranges", "release some")


def _bound(lock: Lock, holder: bytes) -> Lock:
    """The lock of an owner that is no other client's."""
    digest = hashlib.blake2b(lock.owner.to_bytes(8, "little"), key=holder, digest_size=8).digest()
    return msgspec.structs.replace(lock, owner=int.from_bytes(digest, "little"))
