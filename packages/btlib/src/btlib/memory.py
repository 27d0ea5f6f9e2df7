"""How a daemon that moves mebibytes treats its memory: it keeps what it had, and looks for cycles seldom.

    keep_memory()       before threads are started; elsewhere than glibc, nothing
    collect_seldom()    at any time

By default the C library returns memory to the system at once, and the next piece comes page by page, each with a fault
that takes longer than hashing what is put there. Every thread has a pool of its own, too, which keeps what it once had.
"""

from __future__ import annotations

import ctypes
import gc
import sys

# From <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

KEPT = 64 * 2**20  #: bytes at the end of the heap that are kept for the next use
LARGE = 32 * 2**20  #: from so many on a piece of memory is its own; more than that is not allowed

#: What file systems and stores keep in memory hardly ever holds itself in a cycle. With Python's own thresholds the
#: collector walks over all of it for every few hundred files or records, which is a tenth of their cost.
_COLLECT = (20_000, 20, 20)


def keep_memory() -> None:
    """Keep what was used for the next use, in one pool."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for what, value in ((_M_TRIM_THRESHOLD, KEPT), (_M_MMAP_THRESHOLD, LARGE), (_M_ARENA_MAX, 1)):
            mallopt(what, value)


def collect_seldom() -> None:
    """Let more come together before the collector looks at it."""
    gc.set_threshold(*_COLLECT)
