"""What a process does to keep its memory to itself, in a process that ends."""

from __future__ import annotations

import ctypes
import os
import resource

from btlib.hardening import forbid_dumps

PR_GET_DUMPABLE = 3  # <sys/prctl.h>


def test_a_hardened_process_makes_no_core_and_cannot_be_debugged_by_its_user() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            libc = ctypes.CDLL(None)
            before = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
            forbid_dumps()
            after = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
            os.write(writer, repr((before, after, resource.getrlimit(resource.RLIMIT_CORE))).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        os.waitpid(child, 0)
        assert said.read() == b"(1, 0, (0, 0))"
