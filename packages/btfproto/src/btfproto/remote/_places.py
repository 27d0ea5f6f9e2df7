"""`Places`: where a client's inodes are, and making them known to the server again when it does not know them.

A server knows an inode because this session was given it. After a restart it knows none; and of those it only listed,
or that another session just forgot, it may have lost one. Then the name is looked up again, which gives it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from btlib.kinds import Kind

from btfproto.errors import FsError
from btfproto.messages import files
from btfproto.provider import Inode

from ._link import FsSession, SessionLostError
from ._memory import Names


class Places:
    """Thread-safe."""

    def __init__(self, session: FsSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._names = Names()
        self._introduced: tuple[int, set[Inode]] = (0, set())  # the generation, and who was given in it

    def learn(self, parent: Inode, name: str, inode: Inode) -> None:
        """The server gave an inode under this name."""
        with self._lock:
            self._names.learn(parent, name, inode)
            if self._introduced[0]:
                self._introduced[1].add(inode)

    def listed(self, parent: Inode, names: Iterable[tuple[str, Inode]]) -> None:
        """The server listed these names."""
        with self._lock:
            for name, inode in names:
                self._names.learn(parent, name, inode)

    def forget(self, inode: Inode) -> None:
        with self._lock:
            self._names.forget(inode)
            self._introduced[1].discard(inode)

    def gone(self, parent: Inode, name: str) -> None:
        """The name was removed."""
        with self._lock:
            self._names.gone(parent, name)

    def moved(self, parent: Inode, name: str, new_parent: Inode, new_name: str, *, exchange: bool) -> None:
        with self._lock:
            self._names.moved(parent, name, new_parent, new_name, exchange=exchange)

    def inode(self, parent: Inode, name: str) -> Inode | None:
        """What was last seen under a name."""
        with self._lock:
            return self._names.inode(parent, name)

    def inodes(self) -> list[Inode]:
        """All that have a name."""
        with self._lock:
            return self._names.inodes()

    def introduce(self, inode: Inode, generation: int) -> None:
        """See to it that this session was given an inode. Only after a server's restart is there anything to do."""
        if generation == 0 or inode == self._session.attached.root.inode:
            return
        with self._lock:
            if self._introduced[0] != generation:
                self._introduced = generation, set()
            known = inode in self._introduced[1]
        if not known:
            self._look_up(inode, generation)

    def look_again(self, inodes: Iterable[Inode], generation: int) -> bool:
        """Look the names of some inodes up again; False where one is not there any more."""
        try:
            for inode in inodes:
                if inode != self._session.attached.root.inode:
                    self._look_up(inode, generation)
        except SessionLostError:
            raise
        except FsError:
            return False
        return True

    def _look_up(self, inode: Inode, generation: int) -> None:
        with self._lock:
            place = self._names.place(inode)
        if place is None:
            raise FsError(Kind.STALE, f"inode {inode} has no name any more, and the server does not know it")
        parent, name = place
        self.introduce(parent, generation)
        request = files.Lookup(parent=parent, name=name)
        found = self._session.call(request, files.Attributed, generation).attributes
        if found.inode != inode:
            raise FsError(Kind.STALE, f"{name!a} was replaced by another object")
        with self._lock:
            self._introduced[1].add(inode)
