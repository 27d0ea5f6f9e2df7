"""`Names` and `Handles`: what a client remembers, so that it can go on with a server that has forgotten it.

A server that was started anew knows no sessions. The client then attaches again, looks the names of its inodes up again
when it needs them, and opens its files again. Not thread-safe; the client locks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from btlib.kinds import Kind

from btfproto.errors import FsError
from btfproto.provider import Handle, Inode, Lock, LockKind, OpenFlags

TO_THE_END = 1 << 63
KEPT_FLAGS = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.APPEND  #: those with which a file is opened again


class Names:
    """Where each inode was last seen: its parent and name there."""

    def __init__(self) -> None:
        self._places: dict[Inode, tuple[Inode, str]] = {}
        self._inodes: dict[tuple[Inode, str], Inode] = {}

    def __len__(self) -> int:
        return len(self._places)

    def learn(self, parent: Inode, name: str, inode: Inode) -> None:
        self._places[inode] = parent, name
        self._inodes[parent, name] = inode

    def forget(self, inode: Inode) -> None:
        place = self._places.pop(inode, None)
        if place is not None and self._inodes.get(place) == inode:
            del self._inodes[place]

    def gone(self, parent: Inode, name: str) -> None:
        """The name was removed; an open file behind it lives on, without a place."""
        inode = self._inodes.pop((parent, name), None)
        if inode is not None and self._places.get(inode) == (parent, name):
            del self._places[inode]

    def moved(self, parent: Inode, name: str, new_parent: Inode, new_name: str, *, exchange: bool) -> None:
        inode = self._inodes.get((parent, name))
        other = self._inodes.get((new_parent, new_name)) if exchange else None
        self.gone(parent, name)
        self.gone(new_parent, new_name)
        if inode is not None:
            self.learn(new_parent, new_name, inode)
        if other is not None:
            self.learn(parent, name, other)

    def inode(self, parent: Inode, name: str) -> Inode | None:
        return self._inodes.get((parent, name))

    def inodes(self) -> list[Inode]:
        return list(self._places)

    def place(self, inode: Inode) -> tuple[Inode, str] | None:
        return self._places.get(inode)


@dataclass(slots=True)
class OpenHandle:
    """One open file of the client, under a number of its own."""

    inode: Inode
    flags: OpenFlags
    remote: int  #: the server's handle, in the session of `generation`
    generation: int
    written: int = 0  #: how many writes were answered
    synced: int = 0  #: of these, how many were before an fsync
    lockers: set[int] = field(default_factory=set)  #: owners that may hold locks
    lost: bool = False  #: the server forgot it while it was dirty or locked; to be reported once

    @property
    def dirty(self) -> bool:
        """Written since the last fsync."""
        return self.written > self.synced

    def note_lock(self, lock: Lock) -> None:
        """A lock was taken or given back."""
        if lock.kind is not LockKind.UNLOCK:
            self.lockers.add(lock.owner)
        elif lock.start == 0 and lock.end >= TO_THE_END:
            self.lockers.discard(lock.owner)

    def reopened(self, remote: int, generation: int) -> None:
        """The server was started anew, and has it open again."""
        self.lost = self.lost or self.dirty or bool(self.lockers)
        self.remote, self.generation = remote, generation
        self.synced = self.written
        self.lockers.clear()


class Handles:
    """Open files by number."""

    def __init__(self) -> None:
        self._handles: dict[Handle, OpenHandle] = {}
        self._next = 1

    def add(self, handle: OpenHandle) -> Handle:
        number = self._next
        self._next += 1
        self._handles[number] = handle
        return number

    @property
    def any_dirty(self) -> bool:
        return any(handle.dirty for handle in list(self._handles.values()))

    def written(self) -> list[tuple[OpenHandle, int]]:
        """How many writes of each file were answered until now."""
        return [(handle, handle.written) for handle in list(self._handles.values())]

    def get(self, number: Handle) -> OpenHandle | None:
        return self._handles.get(number)

    def pop(self, number: Handle) -> OpenHandle | None:
        return self._handles.pop(number, None)


def bad_handle(handle: Handle) -> FsError:
    """The refusal of a handle that is not open."""
    return FsError(Kind.BAD_HANDLE, f"handle {handle} is not open")


def lost() -> FsError:
    """What a program is told whose writes may not have survived a restart of the server."""
    what = "what was written to this file since its last sync, and its locks"
    return FsError(Kind.IO, f"the server was started anew and may have lost {what}")
