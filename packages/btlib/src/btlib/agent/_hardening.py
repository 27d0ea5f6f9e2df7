"""What keeps an agent's memory in the agent: no swap, no core dump, no debugger of the same user.

Each is tried; what the system does not allow is left out, and the status says whether memory is locked.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource

# From <sys/prctl.h> and <sys/mman.h> of Linux.
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE = 1, 2

#: With less allowed, locking all that comes later would fail unlocking itself: one guess at a passphrase takes 64 MiB.
_ENOUGH = 512 * 1024 * 1024


def harden() -> bool:
    """Do what can be done; gives whether all memory, also what comes later, is locked into RAM."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return _may_lock() and libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0


def _may_lock() -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard == resource.RLIM_INFINITY or hard >= _ENOUGH:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
            soft = hard
    return os.geteuid() == 0 or soft == resource.RLIM_INFINITY or soft >= _ENOUGH
