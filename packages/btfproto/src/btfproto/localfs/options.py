"""`FsOptions`: what a user of `LocalFs` may choose, and the bounds of its memory.

A group that collects and one that is being committed may each hold half of `dirty_limit`; the sealed copy of the latter
adds as much again, so uncommitted data takes 1.5 times `dirty_limit` at the most (and one call's data). The caches add
`cache_bytes`, and about 300 bytes for each of `cached_entries`; four chunks (1 MiB each) may be on their way there.
"""

from __future__ import annotations

import msgspec

COMMIT_INTERVAL = 3.0  #: seconds of work that a crash may cost where nobody calls fsync; Linux itself allows 5 to 30
DIRTY_LIMIT = 24 * 2**20  #: two groups that failed and became one must still fit into a commit message (48 MiB)
CACHE_BYTES = 16 * 2**20
CACHED_ENTRIES = 200_000  #: decoded directory entries, about 60 MB
INODE_LIMIT = 200_000  #: inodes in memory that could be loaded again, about 100 MB
IDLE_INODES = 16_384  #: of these, as many as nobody refers to any more, about 10 MB
FRESH_SECONDS = 0.05  #: how old what a shared tree shows may be at a look-up that finds a name; open and misses ask


class FsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a `LocalFs` behaves."""

    shared: bool = False  #: others may change this tree meanwhile: take leases, look for changes
    read_only: bool = False
    commit_interval: float | None = COMMIT_INTERVAL  #: None: commit only when asked or full; no thread of our own
    dirty_limit: int = DIRTY_LIMIT
    cache_bytes: int = CACHE_BYTES
    cached_entries: int = CACHED_ENTRIES
    inode_limit: int = INODE_LIMIT
    idle_inodes: int = IDLE_INODES
    fresh_seconds: float = FRESH_SECONDS
    patience: float | None = None  #: seconds for which calls wait for a server that is away (`opening`)
