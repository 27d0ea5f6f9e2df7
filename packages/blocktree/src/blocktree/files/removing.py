"""Removing a whole directory tree, children before parents. Symbolic links are removed, never followed."""

from __future__ import annotations

from btfproto.provider import Attributes, FileKind

from .tree import Tree


def remove_tree(tree: Tree, parent: int, name: str, found: Attributes) -> int:
    """Remove what is called `name` in the directory `parent`, with everything below it; says how many things went."""
    pending = [(parent, name, found)]
    removed = 0
    while pending:
        place, name, attributes = pending[-1]
        if attributes.kind is not FileKind.DIRECTORY:
            tree.provider.unlink(place, name)
        elif children := [
            (attributes.inode, entry.name, tree.attributes(attributes, entry)) for entry in tree.entries(attributes)
        ]:
            pending += children
            continue
        else:
            tree.provider.rmdir(place, name)
        pending.pop()
        removed += 1
    return removed
