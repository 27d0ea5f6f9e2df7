"""`ChangeFeed`: a thread that waits at the server for what others changed, so that asking never waits.

It starts with the first question. What it cannot learn (the server is away) it does not replace: the kernel's caches
expire by themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from btlib.kinds import Kind

from btfproto.errors import FsError
from btfproto.provider import Inode

from ._link import FsSession, SessionLostError

WAIT_SECONDS = 30.0  #: one long poll: shorter than what middle boxes cut
PAUSE_SECONDS = 2.0  #: after a failure, and the least time between a poll that brought nothing and the next
MAX_CHANGED = 65_536  #: inodes kept until somebody asks; beyond it the oldest news is dropped


class ChangeFeed:
    """Thread-safe."""

    def __init__(self, session: FsSession, known: Callable[[], list[Inode]]) -> None:
        """`known` are all inodes of the client, for when the server lost track of which changed."""
        self._session = session
        self._known = known
        self._lock = threading.Lock()
        self._changed: dict[Inode, None] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> Sequence[Inode]:
        """Inodes changed by others since the last call."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="btfproto-changes", daemon=True)
                self._thread.start()
            changed, self._changed = self._changed, {}
        return list(changed)

    def stop(self) -> None:
        """End the thread as soon as its poll returns, at the latest with the link."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread, once the link is closed."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                changed = self._session.wait_changes(WAIT_SECONDS)
            except SessionLostError:
                self._stop.wait(PAUSE_SECONDS)
                continue
            except FsError as error:
                if error.kind in (Kind.FORBIDDEN, Kind.PROTOCOL):
                    return
                self._stop.wait(PAUSE_SECONDS)
                continue
            inodes = self._known() if changed.lost else changed.inodes
            self._keep(inodes)
            if not inodes:
                self._stop.wait(PAUSE_SECONDS)

    def _keep(self, inodes: Sequence[Inode]) -> None:
        with self._lock:
            for inode in inodes:
                self._changed[inode] = None
            while len(self._changed) > MAX_CHANGED:
                del self._changed[next(iter(self._changed))]
