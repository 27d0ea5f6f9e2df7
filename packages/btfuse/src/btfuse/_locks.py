"""File locks that the provider keeps, for mounts where other clients may hold them too.

Where a mount is the only client these requests never come: then the kernel keeps locks itself
(`Settings.remote_locks`).

A provider never waits. A request that may (F_SETLKW, `flock` without LOCK_NB) is tried again after every unlock of this
mount and, for the locks of others, on a timer; it is answered when it succeeds, fails otherwise, or is interrupted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from btfproto.errors import FsError
from btfproto.provider import Lock, LockKind
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ._context import Context, Handlers, Head
from ._errno import errno_of
from ._files import Files
from ._protocol import (
    BODY,
    FLUSH_IN,
    INTERRUPT_IN,
    LOCK_IN,
    LOCK_OUT,
    RELEASE_FLOCK_UNLOCK,
    RELEASE_IN,
    Opcode,
)

_EMPTY = b""
_KINDS = {fcntl.F_RDLCK: LockKind.READ, fcntl.F_WRLCK: LockKind.WRITE, fcntl.F_UNLCK: LockKind.UNLOCK}
_TYPES = {kind: number for number, kind in _KINDS.items()}
_LAST = (1 << 63) - 1  #: the kernel's "to the end", inclusive
#: How often a wait for another client's lock looks again: a compromise between its delay and the requests it costs.
RETRY_SECONDS = 0.1
_EARLY_LIMIT = 256  #: far more than there are threads; the numbers of requests are never used twice

#: Answers a request later: unique, error (0 or errno).
Answer = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    handle: int
    lock: Lock


class Locks:
    """Handlers of lock requests. `close` ends the timer thread; requests that still wait stay unanswered."""

    def __init__(self, context: Context, files: Files, answer: Answer) -> None:
        self._provider = context.provider
        self._files = files
        self._answer = answer
        self._waiting: dict[int, _Waiting] = {}
        self._early: dict[int, None] = {}  # interrupts of requests that did not wait when they came
        self._guard = threading.Lock()
        self._changed = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def handlers(self) -> Handlers:
        return {
            Opcode.GETLK: self.getlk,
            Opcode.SETLK: self.setlk,
            Opcode.SETLKW: self.setlkw,
            Opcode.INTERRUPT: self.interrupt,
            Opcode.FLUSH: self.flush,
            Opcode.RELEASE: self.release,
        }

    def getlk(self, _head: Head, buffer: memoryview) -> bytes:
        handle, lock = _read_lock(buffer)
        found = self._provider.test_lock(handle, lock)
        if found is None:
            return LOCK_OUT.pack(lock.start, _LAST, fcntl.F_UNLCK, 0)
        return LOCK_OUT.pack(found.start, min(found.end - 1, _LAST), _TYPES[found.kind], found.process)

    def setlk(self, _head: Head, buffer: memoryview) -> bytes:
        handle, lock = _read_lock(buffer)
        self._provider.lock(handle, lock)
        if lock.kind is LockKind.UNLOCK:
            self._changed.set()
        return _EMPTY

    def setlkw(self, head: Head, buffer: memoryview) -> bytes | None:
        handle, lock = _read_lock(buffer)
        try:
            self._provider.lock(handle, lock)
        except FsError as error:
            if error.kind is not Kind.WOULD_BLOCK:
                raise
        else:
            return _EMPTY
        self._wait(head[2], _Waiting(handle=handle, lock=lock))
        return None

    def flush(self, head: Head, buffer: memoryview) -> bytes:
        """Closing a descriptor gives back the record locks of its process: the kernel leaves that to us."""
        handle, _unused, _padding, owner = FLUSH_IN.unpack_from(buffer, BODY)
        self._unlock(handle, owner)
        return self._files.flush(head, buffer)

    def release(self, head: Head, buffer: memoryview) -> bytes:
        handle, _flags, release_flags, owner = RELEASE_IN.unpack_from(buffer, BODY)
        if release_flags & RELEASE_FLOCK_UNLOCK:
            self._unlock(handle, owner)
        return self._files.release(head, buffer)

    def _unlock(self, handle: int, owner: int) -> None:
        self._provider.lock(handle, Lock(kind=LockKind.UNLOCK, owner=owner))
        self._changed.set()

    def interrupt(self, _head: Head, buffer: memoryview) -> None:
        (unique,) = INTERRUPT_IN.unpack_from(buffer, BODY)
        with self._guard:
            found = self._waiting.pop(unique, None)
            if found is None:
                # Either it is being answered anyway, or another thread is just about to let it wait.
                if len(self._early) >= _EARLY_LIMIT:
                    del self._early[next(iter(self._early))]
                self._early[unique] = None
        if found is not None:
            self._answer(unique, errno.EINTR)

    def close(self) -> None:
        self._closed = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join()

    def _wait(self, unique: int, waiting: _Waiting) -> None:
        with self._guard:
            if unique in self._early:
                raise OSError(errno.EINTR, os.strerror(errno.EINTR))
            self._waiting[unique] = waiting
            if self._thread is None:
                self._thread = threading.Thread(target=self._retry_for_ever, name="btfuse-locks", daemon=True)
                self._thread.start()
        self._changed.set()

    def _retry_for_ever(self) -> None:
        while not self._closed:
            self._changed.wait(RETRY_SECONDS if self._waiting else None)
            self._changed.clear()
            self._retry()

    def _retry(self) -> None:
        for unique, waiting in list(self._waiting.items()):
            error = self._try(waiting)
            if error == errno.EAGAIN:
                continue
            with self._guard:
                mine = self._waiting.pop(unique, None)
            if mine is not None:
                self._answer(unique, error)

    def _try(self, waiting: _Waiting) -> int:
        try:
            self._provider.lock(waiting.handle, waiting.lock)
        except BlocktreeError as error:
            return errno_of(error.kind)
        return 0


def _read_lock(buffer: memoryview) -> tuple[int, Lock]:
    handle, owner, start, end, kind, process, _flags, _padding = LOCK_IN.unpack_from(buffer, BODY)
    if (ours := _KINDS.get(kind)) is None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return handle, Lock(kind=ours, start=start, end=min(end, _LAST) + 1, owner=owner, process=process)
