"""The model: what a tree looks like after each operation, in a few obvious lines for each.

A `Tree` is one worker's directory. `apply` says which names look different afterwards, so that a long history can be
compared with a recovered tree state by state at the cost of what changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.operations import (
    Allocate,
    Append,
    Close,
    Exchange,
    Fsync,
    Link,
    Make,
    MakeDirectory,
    Operation,
    Read,
    RemoveDirectory,
    Rename,
    SetMode,
    SetXattr,
    Symlink,
    Truncate,
    Unlink,
    Write,
    below,
    content,
    parent,
)

FILE, DIRECTORY, SYMLINK = "file", "directory", "symlink"


@dataclass(frozen=True)
class Seen:
    """How one name looks to a program."""

    kind: str
    mode: int
    links: int
    data: bytes  #: of a file; the target of a symlink
    xattr: bytes

    def __str__(self) -> str:
        return f"{self.kind} {self.mode:o}, {self.links} links, {len(self.data)} bytes, xattr of {len(self.xattr)}"


@dataclass(eq=False)
class Node:
    kind: str
    mode: int
    data: bytearray = field(default_factory=bytearray)
    xattr: bytes = b""
    names: set[str] = field(default_factory=set)
    directories: int = 0  #: of a directory: how many it contains


class Tree:
    """What lies below (and is) one directory."""

    def __init__(self, top: str, mode: int = 0o755) -> None:
        self.top = top
        self.nodes: dict[str, Node] = {}
        self._enter(top, Node(DIRECTORY, mode))

    def see(self, path: str) -> Seen | None:
        node = self.nodes.get(path)
        if node is None:
            return None
        links = 2 + node.directories if node.kind == DIRECTORY else len(node.names)
        return Seen(node.kind, node.mode, links, bytes(node.data), node.xattr)

    def children(self, directory: str) -> list[str]:
        return [path for path in self.nodes if parent(path) == directory]

    def paths(self, kind: str) -> list[str]:
        return [path for path, node in self.nodes.items() if node.kind == kind]

    def apply(self, operation: Operation) -> set[str]:
        """Carry it out; the names that look different now."""
        match operation:
            case Make(path, mode):
                return self._enter(path, Node(FILE, mode))
            case MakeDirectory(path, mode):
                return self._enter(path, Node(DIRECTORY, mode))
            case Symlink(path, target):
                return self._enter(path, Node(SYMLINK, 0o777, bytearray(target.encode())))
            case Link(old, new):
                return self._enter(new, self.nodes[old]) | self.nodes[old].names
            case Unlink(path) | RemoveDirectory(path):
                return self._leave(path)
            case Rename(old, new):
                return self._rename(old, new)
            case Exchange(old, new):
                return self._exchange(old, new)
            case Fsync() | Close() | Read():
                return set()
            case _:
                return self._change(self.nodes[operation.path], operation)

    def _change(self, node: Node, operation: Write | Append | Truncate | Allocate | SetMode | SetXattr) -> set[str]:
        data = node.data
        match operation:
            case Write(_, offset, length, tag):
                data.extend(bytes(max(offset - len(data), 0)))
                data[offset : offset + length] = content(tag, length)
            case Append(_, length, tag):
                data += content(tag, length)
            case Truncate(_, size):
                del data[size:]
                data.extend(bytes(size - len(data)))
            case Allocate(_, size):
                data.extend(bytes(max(size - len(data), 0)))
            case SetMode(_, mode):
                node.mode = mode
            case SetXattr(_, length, tag):
                node.xattr = content(tag, length)
        return set(node.names)

    def _enter(self, path: str, node: Node) -> set[str]:
        self.nodes[path] = node
        node.names.add(path)
        return {path, *self._counted(path, node, 1)}

    def _leave(self, path: str) -> set[str]:
        node = self.nodes.pop(path)
        node.names.discard(path)
        return {path, *node.names, *self._counted(path, node, -1)}

    def _counted(self, path: str, node: Node, change: int) -> set[str]:
        above = self.nodes.get(parent(path))
        if node.kind != DIRECTORY or above is None:
            return set()
        above.directories += change
        return {parent(path)}

    def _rename(self, old: str, new: str) -> set[str]:
        if self.nodes[old] is self.nodes.get(new):
            return set()  # two names of one file: POSIX leaves both
        changed = self._leave(new) if new in self.nodes else set()
        return changed | self._move({old: new})

    def _exchange(self, old: str, new: str) -> set[str]:
        return self._move({old: new, new: old})

    def _move(self, moves: dict[str, str]) -> set[str]:
        """Take everything below the old names away, and put it below the new ones."""
        taken = {
            path: (goal + path[len(start) :], node)
            for start, goal in moves.items()
            for path, node in self.nodes.items()
            if below(path, start)
        }
        changed: set[str] = set()
        for path, (_, node) in taken.items():
            counted = self._counted(path, node, -1) if path in moves else set()
            del self.nodes[path]
            node.names.discard(path)
            changed |= {path, *counted, *node.names}
        for start, (path, node) in taken.items():
            self.nodes[path] = node
            node.names.add(path)
            counted = self._counted(path, node, 1) if start in moves else set()
            changed |= {path, *counted, *node.names}
        return changed
