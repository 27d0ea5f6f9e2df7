"""`DirectReads`: which reads of whose files compiled code may answer without asking here.

Whoever reads here and there in a file lets its pages fill up: a *page* is what lies under one Merkle node, its hashes
verified and its places looked up. From then on `btspeed.ReadTable` reads, verifies and opens single sectors of it by
itself. That goes only where nobody else changes the tree, and only while the file has no change that waits: `Core.mark`
takes it out at its first. Under the lock of the file system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from btlib.block import COMPILED, SECTOR_BITS
from btlib.errors import BlocktreeError
from btlib.labels import Label

from ..store import Places
from ._blocks import ReadRecords
from ._inode import Inode

if COMPILED:
    import btspeed
if TYPE_CHECKING:
    from btspeed import ReadTable

PAGE_BITS = 8  #: the sectors under one Merkle node
FILLED_AT = 16  #: single reads of a page that pay for looking up all its places
COUNTED = 4096  #: pages that are counted at once; more, and all counts begin anew


class DirectReads:
    """Only where `COMPILED`."""

    def __init__(self, places: Places) -> None:
        self.table: ReadTable = btspeed.ReadTable(SECTOR_BITS, Label.LEAF.value)
        self._places = places
        self._counts: dict[tuple[int, int], int] = {}
        places.on_move(self.table.clear)

    def note(self, inode: Inode, index: int, read_records: ReadRecords) -> None:
        """Somebody read this sector, and neither the one before nor the one behind."""
        counts, key = self._counts, (inode.number, index >> PAGE_BITS)
        count = counts.get(key, 0) + 1
        if count < FILLED_AT:
            counts[key] = count
            if len(counts) > COUNTED:
                counts.clear()
            return
        counts.pop(key, None)
        if inode.content is None and not inode.frozen and inode.links:
            try:
                self._fill(inode, key[1], read_records)
            except BlocktreeError:
                return  # whoever reads there is told

    def drop(self, inode: Inode) -> None:
        """Nothing of it is read so any more."""
        inode.direct = False
        self.table.drop(inode.number)

    def _fill(self, inode: Inode, page: int, read_records: ReadRecords) -> None:
        store, first = inode.store, page << PAGE_BITS
        hashes = store.page(page, read_records)
        found = self._places.stretches(store.block, first, first + (1 << PAGE_BITS)) if hashes else None
        if found is not None:
            inode.direct = True
            store.cipher.read_by(self.table, inode.number, inode.size)
            self.table.put(inode.number, page, hashes, found.runs, found.owners)
