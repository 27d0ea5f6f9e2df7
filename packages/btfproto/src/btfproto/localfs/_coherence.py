"""What others did: taking over newer heads, and giving up changes that were too late."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import FsError
from ..provider import Inode as InodeNumber
from ._blocks import StoredBlock
from ._inode import Inode
from ._metadata import Metadata


class Coherence(Metadata):
    """Keeps memory in step with the store."""

    def start_coherence(self) -> None:
        self._stale: dict[int, None] = {}

    def changes(self) -> Sequence[InodeNumber]:
        with self.mutex:
            found, self._stale = list(self._stale), {}
            return found

    def discard(self, error: FsError) -> None:
        dirty, self.dirty, self.dirty_bytes = self.dirty, {}, 0
        for inode in dirty.values():
            inode.error = error
            self.reload(inode)

    def reload(self, inode: Inode) -> None:
        """Drop what is known and take over what the store has now. Under the lock."""
        self._stale[inode.number] = None
        inode.content, inode.shown, inode.group, inode.cache_base = None, None, 0, 0
        old = inode.store
        if not old.version:
            self._forget_lost(inode)
            return
        above = inode.parent.store.scope if inode.parent is not None else self.volume.scope
        store = StoredBlock(old.block, old.key, above)
        fresh = self.make_inode(store, inode.kind, inode.parent, inode.name)
        try:
            self.adopt(fresh, self.read_heads([(old.block, 0)])[0])
        except FsError as error:
            inode.error = error
            self._forget_lost(inode)
            return
        inode.take_over(fresh)

    def _forget_lost(self, inode: Inode) -> None:
        """An object that does not exist (any more) for others; open handles on it fail."""
        inode.links = 0
        if inode is not self.attached:
            self.table.pop(inode.number, None)
