"""What the C library does with memory that is given back: a mount moves mebibytes through it, again and again.

By default it returns them to the system at once, and the next ones come page by page, each with a fault that takes
longer than hashing what is put there. Every thread has a pool of its own, too, which keeps what it once had.
"""

from __future__ import annotations

import ctypes
import sys

# From <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

KEPT = 64 * 2**20  #: bytes at the end of the heap that are kept for the next use
LARGE = 32 * 2**20  #: from so many on a piece of memory is its own; more than that is not allowed


def keep_memory() -> None:
    """Keep what was used for the next use, in one pool. Before threads are started; elsewhere than glibc, nothing."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for what, value in ((_M_TRIM_THRESHOLD, KEPT), (_M_MMAP_THRESHOLD, LARGE), (_M_ARENA_MAX, 1)):
            mallopt(what, value)
