"""The objects that the kernel holds references to, and where it last saw them.

The kernel's node number is the provider's inode number, except for the root, which is node 1 to the kernel. Every
answer that gives the kernel a node adds a reference; FORGET takes them back, and the last one tells the provider.

Places (parent and name) serve log lines and the containment of symlinks. An object with several hard links has the one
through which it was last reached, which for a symlink is the one that is being followed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ._protocol import ROOT_NODE


class Nodes:
    def __init__(self, root: int, forgotten: Callable[[int], None]) -> None:
        self.root = root
        self._forgotten = forgotten
        self._guard = threading.Lock()  # of the counts: several threads may serve one mount
        self._references: dict[int, int] = {}
        self._places: dict[int, tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._references)

    def inode(self, node: int) -> int:
        return self.root if node == ROOT_NODE else node

    def hold(self, inode: int, parent: int, name: str) -> None:
        """The kernel is given this inode, found as `name` in `parent`."""
        references = self._references
        with self._guard:
            references[inode] = references.get(inode, 0) + 1
        self._places[inode] = (parent, name)

    def move(self, inode: int, parent: int, name: str) -> None:
        """A rename put the inode there."""
        if inode in self._places:
            self._places[inode] = (parent, name)

    def drop(self, inode: int, count: int) -> None:
        """The kernel gives references back."""
        with self._guard:
            left = self._references.get(inode, 0) - count
            if left > 0:
                self._references[inode] = left
                return
            self._references.pop(inode, None)
            self._places.pop(inode, None)
        self._forgotten(inode)

    def parent(self, inode: int) -> int:
        """The directory an inode was last reached through; of the root, and of what is not known, the root."""
        place = self._places.get(inode)
        return self.root if place is None else place[0]

    def place(self, inode: int) -> tuple[int, str] | None:
        """Parent and name under which an inode was last reached; None for the root and what is not held."""
        return self._places.get(inode)

    def path(self, inode: int) -> tuple[str, ...]:
        """The names from the root to an inode, as last seen."""
        names: list[str] = []
        seen: set[int] = set()
        while inode != self.root and inode not in seen and (place := self._places.get(inode)) is not None:
            seen.add(inode)
            inode, name = place
            names.append(name)
        return tuple(reversed(names))

    def describe(self, inode: int) -> str:
        """For a log line."""
        return "/" + "/".join(self.path(inode)) if inode == self.root or inode in self._places else f"inode {inode}"
