"""`FsOptions`: what a user of `LocalFs` may choose, and the bounds of its memory.

At the most `dirty_limit` bytes wait for a commit; while a group is being committed, its sealed copy adds up to as much
again. The two caches add `cache_bytes`, and about 300 bytes for each of `cached_entries`.
"""

from __future__ import annotations

import msgspec

COMMIT_INTERVAL = 3.0  #: seconds of work that a crash may cost where nobody calls fsync; Linux itself allows 5 to 30
DIRTY_LIMIT = 64 * 2**20
CACHE_BYTES = 64 * 2**20
CACHED_ENTRIES = 200_000  #: decoded directory entries, about 60 MB
INODE_LIMIT = 200_000  #: inodes kept although nobody uses them, about 100 MB
READ_AHEAD = 64  #: sectors (1 MiB), so that a sequential reader pays one request to the store a mebibyte


class FsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a `LocalFs` behaves."""

    shared: bool = False  #: others may change this tree meanwhile: take leases, look for changes
    read_only: bool = False
    commit_interval: float | None = COMMIT_INTERVAL  #: None: commit only when asked or full; no thread of our own
    dirty_limit: int = DIRTY_LIMIT
    cache_bytes: int = CACHE_BYTES
    cached_entries: int = CACHED_ENTRIES
    inode_limit: int = INODE_LIMIT
    read_ahead: int = READ_AHEAD
