"""New keys for files whose directory was re-keyed without them, at the first change of their content.

Re-keying may leave files for later; who was revoked has their keys still. Such a file has an epoch below that of its
directory. Before its content or an extended attribute is changed it gets a fresh key with the directory's epoch: the
sectors that stay are put into the live layer, so that its next version is sealed anew as a whole, and its entry changes
in the same group. So either both are committed or neither, and every reader finds the key that opens what it reads.

Not renewed are files with several names (the other entries could not be told), files of which more stays than
`MAX_RENEWED`, and damaged ones.
"""

from __future__ import annotations

import logging

from btlib.block import KEY_SIZE
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import FileKind
from ._blocks import SECTOR_SIZE, RenewedKey
from ._changing import RoomNeededError
from ._content import Content, Layer
from ._heads import refused
from ._inode import Inode
from ._names import name_bytes
from ._reading import Reading

log = logging.getLogger("btfproto.localfs")

MAX_RENEWED = 24 << 20  #: bytes of one file that are sealed anew: as many as re-keying takes into a commit
#: Uncommitted bytes, counting what is sealed anew: with what else may collect (half of the dirty limit) they must fit
#: into one commit message (48 MiB), also where two groups became one.
RENEWED_ROOM = 32 << 20
BATCH = 64  #: sectors read at once


class Renewing(Reading):
    """Adds `renew_key` to what changes files."""

    def renew_key(self, inode: Inode, keep: int) -> None:
        """Called before a change that leaves the first `keep` bytes of what is there. Under the lock.

        Raises RoomNeededError; FsError: STALE where the key of its directory is not known here any more; as reading.
        """
        parent, store = inode.parent, inode.store
        if parent is None or inode.kind is FileKind.DIRECTORY or store.renewed is not None:
            return
        if parent.error is not None and parent.error.kind is Kind.STALE:
            raise FsError(Kind.STALE, f"{inode.path}: {parent.error.message}", parent.error.hint)
        if store.key_epoch < parent.store.key_epoch and self._is_named_once(inode, parent):
            self._give_key(inode, parent, keep)

    def _is_named_once(self, inode: Inode, parent: Inode) -> bool:
        return inode.links == 1 and parent.links > 0 and inode.store.scope == parent.store.scope

    def _give_key(self, inode: Inode, parent: Inode, keep: int) -> None:
        assert parent.directory is not None
        raw = name_bytes(inode.name)
        record = parent.directory.find(raw, inode.name)
        if record is None or record[2:18] != inode.store.block:
            return  # its name was another one
        try:
            staying = self._staying(inode, keep)
        except FsError as error:
            if error.kind is not Kind.INTEGRITY:
                raise
            log.warning("%s keeps its old key: %s", inode.path, error.message)
            return
        if staying is None:
            log.warning("%s keeps its old key: it is longer than %d MiB", inode.path, MAX_RENEWED >> 20)
            return
        renewed = RenewedKey(self.entropy.take(KEY_SIZE), parent.store.key_epoch)
        parent.directory.replace(raw, inode.name, inode.kind, inode.store.block, renewed.key)
        inode.store.renewed = renewed
        if staying:
            content = inode.content = inode.content or Content()
            size = sum(map(len, staying.values()))
            content.live.sectors.update(staying)
            content.live.size += size
            self.dirty_bytes += size
        self.mark(parent)
        self.mark(inode)

    def _staying(self, inode: Inode, keep: int) -> dict[int, bytes] | None:
        """The sectors below `keep` that the live layer does not have; None: too many."""
        end = -(-min(keep, inode.size) // SECTOR_SIZE)
        limit = MAX_RENEWED // SECTOR_SIZE
        if min(end, inode.stored) > limit:
            return None
        content = inode.content or Content()
        try:
            stored = self._stored_below(inode, end, limit)
        except BlocktreeError as error:
            raise refused(inode.path, error) from error
        frozen = content.frozen or Layer()
        stored = [index for index in stored if content.find(index) is None]
        held = {
            index: bytes(data)
            for index, data in frozen.sectors.items()
            if data and index < end and content.live.find(index) is None
        }
        if len(stored) + len(held) > limit:
            return None
        if self.dirty_bytes + self.frozen_bytes + (len(stored) + len(held)) * SECTOR_SIZE > RENEWED_ROOM:
            raise RoomNeededError
        for first in range(0, len(stored), BATCH):
            some = stored[first : first + BATCH]
            held |= {index: data for index, data in zip(some, self.fetch(inode, some), strict=True) if data}
        return held

    def _stored_below(self, inode: Inode, end: int, limit: int) -> list[int]:
        """The committed sectors before `end` that are no holes; some more than `limit` where there are too many."""
        store, found = inode.store, list[int]()
        index = store.next_stored(0, self.read_records)
        while index is not None and index < end and len(found) <= limit:
            hole = min(store.next_hole(index, self.read_records), end)
            found += range(index, min(hole, index + limit + 1))
            index = store.next_stored(hole, self.read_records)
        return found
