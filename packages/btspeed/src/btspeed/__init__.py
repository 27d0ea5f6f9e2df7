"""Compiled twins of Blocktree's hottest loops. Optional: who finds this package uses it, others their own loops.

    open_sectors    compare many stored sectors with their hashes, and open them
    open_joined     the same, as one piece
    seal_sectors    seal many sectors, and hash them

The Python that they stand for is the reference (`btlib.block`): same arguments, same bytes, same tests. They say only
*that* something is wrong; the reference says what. Nothing here has a state or reads a file.
"""

from __future__ import annotations

from ._sectors import open_joined, open_sectors, seal_sectors

__all__ = ["open_joined", "open_sectors", "seal_sectors"]
