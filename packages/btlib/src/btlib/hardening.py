"""What keeps the memory of a process that holds keys in that process: no core dump, no debugger of its user, no swap.

    forbid_dumps()      every daemon, before it unlocks a key: btfsd, btfuse, the agent
    lock_memory()       the agent, which is small; the memory of the others is mostly what they cache

Each is tried, and what the system does not allow is left out. A child inherits both after a fork; a program that it
executes has the limit alone. It guards against other programs of the same user, and not against root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys

# From <sys/prctl.h> and <sys/mman.h> of Linux.
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE = 1, 2

#: With less allowed, locking all that comes later would fail unlocking itself: one guess at a passphrase takes 64 MiB.
_ENOUGH = 512 * 1024 * 1024


def forbid_dumps() -> None:
    """From now on this process makes no core dump, and nobody but root attaches to it or reads its memory.

    The limit alone would not do: where the system hands dumps to a program, it does so whatever the limit.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def lock_memory() -> bool:
    """Lock all memory, also what comes later, into RAM; gives whether that was allowed."""
    if not _may_lock():
        return False
    return bool(ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0)


def _may_lock() -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard == resource.RLIM_INFINITY or hard >= _ENOUGH:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
            soft = hard
    return os.geteuid() == 0 or soft == resource.RLIM_INFINITY or soft >= _ENOUGH
