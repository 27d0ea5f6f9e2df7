"""A `Tree` as a source and a target of copies. A place is an inode; a target's places are directories."""

from __future__ import annotations

from collections.abc import Iterator

from btfproto.errors import FsError
from btfproto.provider import AttributeChanges, Attributes, Entry, FileKind, OpenFlags, Owner
from btlib.errors import PathError
from btlib.kinds import Kind
from btlib.paths import BlockPath, check_name

from .copying import Item
from .tree import Tree

MODE = 0o7777  #: the bits that a tree keeps


def tree_item(tree: Tree, path: BlockPath) -> Item[int]:
    """What has this path in the tree; raises FsError where nothing has."""
    return _item(tree.shown(path), path.name, tree.find(path))


class TreeSource:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def children(self, directory: Item[int]) -> Iterator[Item[int]]:
        attributes = self._tree.provider.getattr(directory.place)
        for entry in self._tree.entries(attributes):
            yield self._child(directory, attributes, entry)

    def pieces(self, file: Item[int]) -> Iterator[bytes]:
        return self._tree.pieces(file.place, file.size)

    def link_target(self, link: Item[int]) -> str:
        return self._tree.provider.readlink(link.place)

    def _child(self, directory: Item[int], attributes: Attributes, entry: Entry) -> Item[int]:
        return _item(f"{directory.path.rstrip('/')}/{entry.name}", entry.name, self._tree.attributes(attributes, entry))


class TreeTarget:
    def __init__(self, tree: Tree, owner: Owner) -> None:
        self._provider = tree.provider
        self._owner = owner

    def enter(self, parent: int, item: Item[object]) -> int:
        name = _name(item)
        try:
            return self._provider.mkdir(parent, name, item.mode & MODE, self._owner).inode
        except FsError as error:
            if error.kind is not Kind.EXISTS:
                raise
        found = self._provider.lookup(parent, name)
        if found.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, f"{item.path}: what has this name in the target is not a directory")
        return found.inode

    def write(self, parent: int, item: Item[object], pieces: Iterator[bytes]) -> None:
        flags = OpenFlags.WRITE | OpenFlags.TRUNCATE
        attributes, handle = self._provider.create(parent, _name(item), item.mode & MODE, self._owner, flags)
        try:
            offset = 0
            for piece in pieces:
                offset += self._provider.write(handle, offset, piece)
            self._provider.setattr(attributes.inode, _kept(item))
        finally:
            self._provider.close(handle)

    def link(self, parent: int, item: Item[object], target: str) -> None:
        name = _name(item)
        try:
            made = self._provider.symlink(parent, name, target, self._owner)
        except FsError as error:
            if error.kind is not Kind.EXISTS or self._provider.lookup(parent, name).kind is not FileKind.SYMLINK:
                raise
            self._provider.unlink(parent, name)
            made = self._provider.symlink(parent, name, target, self._owner)
        self._provider.setattr(made.inode, AttributeChanges(modified=item.modified))

    def finish(self, directory: int, item: Item[object]) -> None:
        self._provider.setattr(directory, _kept(item))

    def sync(self) -> None:
        self._provider.sync()


def _item(path: str, name: str, attributes: Attributes) -> Item[int]:
    return Item(
        path=path,
        name=name,
        kind=attributes.kind,
        mode=attributes.mode,
        size=attributes.size,
        modified=attributes.modified,
        place=attributes.inode,
    )


def _kept(item: Item[object]) -> AttributeChanges:
    return AttributeChanges(mode=item.mode & MODE, modified=item.modified)


def _name(item: Item[object]) -> str:
    try:
        return check_name(item.name)
    except PathError as error:
        raise FsError(Kind.INVALID, f"{item.path!a}: {error.message}") from error
