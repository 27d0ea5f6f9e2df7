"""Calls for byte-range locks and `flock`: in memory, among the users of this `LocalFs`."""

from __future__ import annotations

from btlib.kinds import Kind

from ..errors import FsError
from ..provider import Handle, Lock, LockKind
from ._handles import OpenFile
from ._locks import FileLocks
from ._namespace import Namespace


class Locking(Namespace):
    """See `FsProvider` for what each call promises."""

    def start_locks(self) -> None:
        self._locks: dict[int, FileLocks] = {}

    def lock(self, handle: Handle, lock: Lock) -> None:
        with self.mutex:
            opened = self.handles.get(handle)
            locks = self._locks.setdefault(opened.inode.number, FileLocks())
            conflict = locks.set(lock, handle)
            if not locks:
                del self._locks[opened.inode.number]
            if conflict is not None:
                raise FsError(
                    Kind.WOULD_BLOCK,
                    f"{opened.inode.path} is locked by process {conflict.process} from {conflict.start}",
                )
            opened.locked = opened.locked or lock.kind is not LockKind.UNLOCK

    def test_lock(self, handle: Handle, lock: Lock) -> Lock | None:
        with self.mutex:
            opened = self.handles.get(handle)
            locks = self._locks.get(opened.inode.number)
            return None if locks is None else locks.conflict(lock)

    def drop_locks(self, handle: Handle, opened: OpenFile) -> None:
        """The handle is closed: what was locked through it is free. Under the lock."""
        locks = self._locks.get(opened.inode.number) if opened.locked else None
        if locks is not None:
            locks.drop_handle(handle)
            if not locks:
                del self._locks[opened.inode.number]
