"""The keys of what lies in a tree, for sealing them to somebody else. Only where keys are at all: over a `LocalFs`."""

from __future__ import annotations

from collections.abc import Iterator

from btfproto.localfs import LocalFs
from btfproto.provider import Attributes, FileKind
from btlib.paths import BlockPath
from btlib.readcaps import ReadKey

from .tree import Tree


def read_key(provider: LocalFs, found: Attributes, path: BlockPath) -> ReadKey:
    """The key of something that was just found at this path."""
    block = provider.inode_of(found.inode).store
    return ReadKey(block=block.block, key_epoch=block.key_epoch, key=block.key, path=path)


def keys_above(tree: Tree, provider: LocalFs, path: BlockPath) -> Iterator[ReadKey]:
    """The keys of the directories on the way to a path, and of what is there; from the anchor, as far as it goes."""
    for depth in range(len(tree.anchor.names), len(path.names) + 1):
        place = BlockPath(path.root, path.names[:depth])
        found = tree.maybe_find(place)
        if found is None:
            return
        yield read_key(provider, found, place)


def keys_below(tree: Tree, provider: LocalFs, directory: Attributes, path: BlockPath) -> Iterator[ReadKey]:
    """The keys of everything below a directory, each block once however many names it has."""
    seen: set[bytes] = set()
    for found, place in _walk(tree, directory, path):
        key = read_key(provider, found, place)
        if key.block not in seen:
            seen.add(key.block)
            yield key


def _walk(tree: Tree, directory: Attributes, path: BlockPath) -> Iterator[tuple[Attributes, BlockPath]]:
    pending = [(directory, path)]
    while pending:
        parent, place = pending.pop()
        for entry in tree.entries(parent):
            found, below = tree.attributes(parent, entry), place.child(entry.name)
            yield found, below
            if found.kind is FileKind.DIRECTORY:
                pending.append((found, below))
