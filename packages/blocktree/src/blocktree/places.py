"""Where a path of a domain lies, as the public records speak of it: the directories on the way, by their blocks."""

from __future__ import annotations

from btfproto.domain import Place
from btfproto.localfs import LocalFs
from btlib.paths import BlockPath

from .files.tree import Tree


def places_above(tree: Tree, provider: LocalFs, path: BlockPath) -> list[Place]:
    """From the highest directory that this machine may read down to the path, as far as that exists."""
    places = []
    for depth in range(len(tree.anchor.names), len(path.names) + 1):
        place = BlockPath(path.root, path.names[:depth])
        found = tree.maybe_find(place)
        if found is None:
            break
        stored = provider.inode_of(found.inode).store
        places.append(Place(path=place, block=stored.block, key_epoch=stored.key_epoch, scope=stored.scope))
    return places
