"""`bt ls`, `cat`, `mkdir`, `rm`: files without a mount."""

from __future__ import annotations

import base64
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from btfproto.errors import FsError
from btfproto.provider import Attributes, FileKind
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ..errors import CommandError
from ..files.removing import remove_tree
from ..files.tree import Tree
from ..options import Json, PassphraseFile, TreePath, TreePaths
from ..output import Json as Document
from ..output import give, human_size, human_time, iso_time, say, visible
from ..session import Session, own

NANOSECONDS = 1_000_000_000
_TYPE_BITS = {
    FileKind.FILE: stat.S_IFREG,
    FileKind.DIRECTORY: stat.S_IFDIR,
    FileKind.SYMLINK: stat.S_IFLNK,
    FileKind.FIFO: stat.S_IFIFO,
    FileKind.SOCKET: stat.S_IFSOCK,
    FileKind.CHARACTER_DEVICE: stat.S_IFCHR,
    FileKind.BLOCK_DEVICE: stat.S_IFBLK,
}
_MARKS = {FileKind.DIRECTORY: "/", FileKind.SYMLINK: "@", FileKind.FIFO: "|", FileKind.SOCKET: "="}


def ls(
    path: TreePath,
    long: Annotated[bool, typer.Option("-l", "--long", help="Mode, size and time of change too.")] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """List a directory, or show one file.

    Example: bt ls -l home:/photos
    """
    session = Session(passphrase_file)
    domain, place = session.home.resolve(path)
    with session.attach(domain, [place]) as tree:
        found = tree.find(place)
        listing = sorted(_listing(tree, found, place), key=lambda pair: pair[0])
    if json:
        give([_document(name, attributes) for name, attributes in listing])
        return
    for name, attributes in listing:
        say(_long_line(name, attributes) if long else _marked(name, attributes))


def cat(paths: TreePaths, json: Json = False, passphrase_file: PassphraseFile = None) -> None:
    """Write files to standard output, one after the other.

    Every byte was authenticated before it is written. With --json, the content is base64.

    Example: bt cat home:/notes/today.txt
    """
    with _attached(paths, passphrase_file) as (tree, places):
        if json:
            give([{"path": tree.shown(place), "base64": _read_base64(tree, place)} for place in places])
            return
        for place in places:
            for piece in _pieces(tree, place):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def mkdir(
    paths: TreePaths,
    parents: Annotated[
        bool, typer.Option("-p", "--parents", help="Make missing parents too; fine where it exists.")
    ] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make directories.

    Example: bt mkdir -p home:/photos/2026/spring
    """
    mode = 0o777 & ~_umask()
    with _attached(paths, passphrase_file) as (tree, places):
        for place in places:
            _make_directory(tree, place, mode, parents=parents)
    if json:
        give({"made": [str(place) for place in places]})


def rm(
    paths: TreePaths,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Remove directories with all below.")] = False,
    force: Annotated[bool, typer.Option("-f", "--force", help="Be content where there is nothing.")] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Remove files and links; with -r whole directories too.

    Example: bt rm -r home:/photos/2019
    """
    removed = 0
    with _attached(paths, passphrase_file) as (tree, places):
        for place in places:
            removed += _remove(tree, place, recursive=recursive, force=force)
    if json:
        give({"removed": removed})


def one_domain(session: Session, paths: Sequence[str]) -> tuple[Domain, list[BlockPath]]:
    """All paths, which must lie in one domain."""
    resolved = [session.home.resolve(path) for path in paths]
    if len({domain.petname for domain, _ in resolved}) > 1:
        raise CommandError("these paths lie in several domains", hint="use one command for each")
    return resolved[0][0], [place for _, place in resolved]


@contextmanager
def _attached(paths: Sequence[str], passphrase_file: PassphraseFile) -> Iterator[tuple[Tree, list[BlockPath]]]:
    session = Session(passphrase_file)
    domain, places = one_domain(session, paths)
    with session.attach(domain, places) as tree:
        yield tree, places


def _listing(tree: Tree, found: Attributes, place: BlockPath) -> Iterator[tuple[str, Attributes]]:
    if found.kind is not FileKind.DIRECTORY:
        yield place.name, found
        return
    for entry in tree.entries(found):
        yield entry.name, tree.attributes(found, entry)


def _document(name: str, attributes: Attributes) -> dict[str, Document]:
    return {
        "name": name,
        "kind": attributes.kind.name.lower(),
        "mode": f"{attributes.mode:04o}",
        "size": attributes.size,
        "modified": iso_time(attributes.modified / NANOSECONDS),
        "uid": attributes.uid,
        "gid": attributes.gid,
        "links": attributes.links,
        "inode": attributes.inode,
    }


def _long_line(name: str, attributes: Attributes) -> str:
    mode = stat.filemode(_TYPE_BITS[attributes.kind] | attributes.mode)
    changed = human_time(attributes.modified / NANOSECONDS)
    return f"{mode} {human_size(attributes.size):>10} {changed} {_marked(name, attributes)}"


def _marked(name: str, attributes: Attributes) -> str:
    return visible(name) + _MARKS.get(attributes.kind, "")


def _pieces(tree: Tree, place: BlockPath) -> Iterator[bytes]:
    found = tree.find(place)
    if found.kind is FileKind.DIRECTORY:
        raise FsError(Kind.IS_DIRECTORY, f"{tree.shown(place)} is a directory", hint=f"use: bt ls {tree.shown(place)}")
    if found.kind is not FileKind.FILE:
        raise FsError(Kind.NOT_SUPPORTED, f"{tree.shown(place)} is a {found.kind.name.lower()} and has no content")
    return tree.pieces(found.inode, found.size)


def _read_base64(tree: Tree, place: BlockPath) -> str:
    return base64.b64encode(b"".join(_pieces(tree, place))).decode()


def _make_directory(tree: Tree, place: BlockPath, mode: int, *, parents: bool) -> None:
    if parents:
        tree.make_directories(place, mode, own())
        return
    if place == tree.anchor or place.parent is None:
        raise FsError(Kind.EXISTS, f"{tree.shown(place)} exists")
    parent = tree.directory(place.parent)
    tree.provider.mkdir(parent.inode, place.name, mode, own())


def _remove(tree: Tree, place: BlockPath, *, recursive: bool, force: bool) -> int:
    if place.parent is None:
        raise FsError(Kind.BUSY, f"{tree.shown(place)} is the root of the domain and cannot be removed")
    found = tree.maybe_find(place, follow=False) if force else tree.find(place, follow=False)
    if found is None:
        return 0
    if found.kind is FileKind.DIRECTORY and not recursive:
        raise FsError(
            Kind.IS_DIRECTORY, f"{tree.shown(place)} is a directory", hint=f"use: bt rm -r {tree.shown(place)}"
        )
    return remove_tree(tree, tree.directory(place.parent).inode, place.name, found)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
