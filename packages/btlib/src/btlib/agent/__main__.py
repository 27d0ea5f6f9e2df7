"""The agent as a process: `python -P -m btlib.agent IDLE LONGEST LISTENER READY`, run by `start_agent` alone.

LISTENER is the descriptor of the listening socket; to READY a line is written when it is answered, and it is closed.
When keys had their time the process executes itself anew: their memory goes back to the system, the socket stays.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from ..hardening import forbid_dumps, lock_memory
from ._keeper import Keeper
from ._server import End, serve
from ._times import Times

ANSWERED = "-"  #: in place of READY's number, when the process has begun anew


def main(words: list[str]) -> None:
    """Serve until stopped."""
    idle, longest, descriptor, ready = words
    if ready != ANSWERED and os.fork():
        os._exit(0)  # so that whoever started us has no child to wait for
    forbid_dumps()
    memory_locked = lock_memory()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(fileno=int(descriptor))
    listener.set_inheritable(True)
    if ready != ANSWERED:
        os.write(int(ready), b"ready\n")
        os.close(int(ready))
    place = Path(listener.getsockname())
    inode = place.stat().st_ino
    keeper = Keeper(Times(idle=int(idle), longest=int(longest)))
    end = End.STOPPED
    try:
        end = serve(listener, keeper, os.environ, memory_locked=memory_locked, reachable=lambda: _is_ours(place, inode))
    finally:
        if end is End.STOPPED and _is_ours(place, inode):
            place.unlink()
    if end is End.LOCKED:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "btlib.agent", idle, longest, descriptor, ANSWERED])


def _is_ours(place: Path, inode: int) -> bool:
    """Whether our socket is still there, and no other agent's in its place."""
    try:
        return place.stat().st_ino == inode
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1:])
