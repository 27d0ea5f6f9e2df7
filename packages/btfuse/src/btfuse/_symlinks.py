"""Whether a symlink leads out of the mount. Pure: text and a depth in, a decision out.

A target is *contained* where following it from its directory can reach only names below the mount:

- it is relative, and begins with at most as many `..` as its directory lies deep; or
- it is absolute, names the mount point or something below it, and has no `..`.

`..` after a name is never contained: the name may be a symlink itself, and then `..` means another directory than the
text says. Programs that make links (`ln -r`, git, tar, package tools) write none.
"""

from __future__ import annotations


def is_contained(target: str, depth: int, mountpoint: str) -> bool:
    """`depth` counts the directories between the mount's root and the link: 0 for a link in the root itself."""
    names = [name for name in target.split("/") if name not in ("", ".")]
    if target.startswith("/"):
        base = [name for name in mountpoint.split("/") if name]
        return ".." not in names and names[: len(base)] == base
    ups = 0
    while ups < len(names) and names[ups] == "..":
        ups += 1
    return ups <= depth and ".." not in names[ups:]
