"""What is rescued of changes that could not be committed: new objects, and files with what was written to them. Pure.

A file that was changed is rescued as it was here: what was written lies over what the file holds in the store by now,
or over nothing where that cannot be read or is large. Names that were removed or moved, and attributes, are not
rescued: what they were before is still in the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..provider import FileKind, Owner
from ._blocks import SECTOR_SIZE
from ._content import SECTOR_SHIFT, Layer
from ._inode import Inode

RECOVERED = ".recovered"  #: the directory for them, at the top of the write scope or of what is attached
COPY_LIMIT = 64 << 20  #: bytes of a file of which the copy is whole; of a larger one it has what was written
PIECE = 1 << 20  #: bytes copied at once

Path = tuple[str, ...]
ReadBase = Callable[[int, int], bytes]


class Rescued:
    """One object, apart from the tree. `origin` is the inode whose content lies below what was written; 0: none."""

    __slots__ = ("device", "kind", "layer", "mode", "modified", "origin", "owner", "path", "size", "target", "xattrs")

    def __init__(self, inode: Inode, path: Path) -> None:
        self.path = path
        self.kind, self.mode, self.owner = inode.kind, inode.mode, Owner(inode.uid, inode.gid)
        self.size, self.modified, self.xattrs = inode.size, inode.modified, inode.xattrs
        self.target, self.device = inode.target, inode.device
        self.layer = written(inode)
        self.origin = inode.number if inode.store.version and 0 < inode.size <= COPY_LIMIT else 0

    def pieces(self, base: ReadBase | None) -> Iterator[tuple[int, bytes]]:
        """Positions and contents; all else is a hole. `base` reads the file that lies below."""
        if base is None:
            for index, content in sorted(self.layer.sectors.items()):
                start = index << SECTOR_SHIFT
                yield start, bytes(content[: max(self.size - start, 0)])
            return
        for start in range(0, self.size, PIECE):
            yield start, self._over(start, base(start, min(PIECE, self.size - start)))

    def _over(self, start: int, base: bytes) -> bytes:
        size = min(PIECE, self.size - start)
        whole = bytearray(base.ljust(size, b"\0"))
        for at in range(0, size, SECTOR_SIZE):
            found = self.layer.find((start + at) >> SECTOR_SHIFT)
            if found is not None:
                end = min(at + SECTOR_SIZE, size)
                whole[at:end] = bytes(found[: end - at]).ljust(end - at, b"\0")
        return bytes(whole)


class Rescue:
    """What is rescued below one directory, parents before what is in them."""

    def __init__(self, top: Inode) -> None:
        self.top = top
        self.place = top.path.rstrip("/")
        self.owner = Owner(top.uid, top.gid)
        self.count = 0  #: without the directories that only lead to them
        self._found: dict[Path, Rescued] = {}

    @property
    def objects(self) -> list[Rescued]:
        return sorted(self._found.values(), key=lambda found: (len(found.path), found.path))

    def add(self, inode: Inode, way: list[Inode]) -> None:
        """`way`: from the top, which is not in it, down to the object."""
        for depth, step in enumerate(way[:-1], 1):
            path = tuple(above.name for above in way[:depth])
            self._found.setdefault(path, Rescued(step, path))
        self.count += 1
        path = tuple(step.name for step in way)
        if path in self._found and inode.kind is not FileKind.DIRECTORY:  # two that were last seen in one place
            path = (*path[:-1], f"{inode.number:x}")
        self._found.setdefault(path, Rescued(inode, path))


def collect(changed: Iterable[Inode], attached: Inode, skip: set[str]) -> list[Rescue]:
    """What is worth rescuing, by the directory below which it can be put. `skip`: names in `RECOVERED` that are not."""
    found: dict[int, Rescue] = {}
    for inode in changed:
        if not inode.links or (inode.store.version and written(inode).empty):
            continue
        top, way = _way(inode, attached)
        if not way or (len(way) > 1 and way[0].name == RECOVERED and way[1].name in skip):
            continue
        found.setdefault(top.number, Rescue(top)).add(inode, way)
    return list(found.values())


def written(inode: Inode) -> Layer:
    """What was written to an inode since it was last committed for certain."""
    content = inode.content
    if content is None:
        return Layer()
    return content.live if content.frozen is None else content.frozen.under(content.live)


def _way(inode: Inode, attached: Inode) -> tuple[Inode, list[Inode]]:
    """The uppermost directory of the same write scope in what is attached, and the way from there down."""
    way: list[Inode] = []
    step = inode
    while step is not attached and step.parent is not None:
        if step.parent.store.scope != inode.store.scope:
            break
        way.insert(0, step)
        step = step.parent
    return step, way
