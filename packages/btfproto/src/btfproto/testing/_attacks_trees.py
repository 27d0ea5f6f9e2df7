"""Attacks of writers on readers: names that leave the tree, directories in themselves, rights that are none."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from btlib.kinds import Kind
from btlib.process_keys import Certified

from ..domain import open_volume
from ..localfs import LocalFs, MemoryPins
from ..localfs._inode import Inode
from ..localfs._writers import Chosen
from ..provider import FileKind
from ._attack import ME, QUIET, Implementation, attack, make_world, refuse, written
from ._provider_tools import list_names, read_file, write_file
from .domains import NOW, person

NAMES = ("..", ".", "a/b", "/etc", "a\0b", "", "x" * 254 + "ö")  #: the last one ends within a character


@attack("impossible-name", "a directory, truly signed, has names that leave it or that no file system takes")
def impossible_name(under: Implementation) -> None:
    for name in NAMES:
        world = make_world()
        with written(world) as fs:
            tree = fs.inode_of(fs.root).directory
            assert tree is not None
            tree.insert(name.encode()[:255], name, 0, bytes(range(16)), bytes(32))
            fs.mark(fs.inode_of(fs.root))
            fs.sync()
        with under.open(world, world.store, MemoryPins()) as reader:
            refuse(partial(list_names, reader, reader.root), Kind.INTEGRITY)


@attack("cyclic-directory", "a directory, truly signed, contains itself, or what it lies in")
def cyclic_directory(under: Implementation) -> None:
    world = make_world()
    with written(world) as fs:
        outer = fs.mkdir(fs.root, "outer", 0o755, ME).inode
        inner = fs.mkdir(outer, "inner", 0o755, ME).inode
        for name, target in (("up", outer), ("self", inner), ("root", fs.root)):
            _plant(fs, inner, name, fs.inode_of(target))
        fs.sync()
    with under.open(world, world.store, MemoryPins()) as reader:
        place = reader.lookup(reader.lookup(reader.root, "outer").inode, "inner").inode
        for name in ("up", "self", "root"):
            refuse(partial(reader.lookup, place, name), Kind.INTEGRITY)


@attack("lying-kind", "a directory says of a file that it is a directory")
def lying_kind(under: Implementation) -> None:
    world = make_world()
    with written(world) as fs:
        write_file(fs, fs.root, "a", b"")
        file = fs.inode_of(fs.lookup(fs.root, "a").inode)
        tree = fs.inode_of(fs.root).directory
        assert tree is not None
        tree.insert(b"b", "b", FileKind.DIRECTORY, file.store.block, file.store.key)
        fs.mark(fs.inode_of(fs.root))
        fs.sync()
    with under.open(world, world.store, MemoryPins()) as reader:
        refuse(partial(reader.lookup, reader.root, "b"), Kind.INTEGRITY)


@attack("reader-who-writes", "one who holds a block's key, and no right, signs a version of it")
def reader_who_writes(under: Implementation) -> None:
    world = make_world()
    with written(world) as fs:
        write_file(fs, fs.root, "a", b"honest")
        fs.sync()
    with under.open(world, world.store, MemoryPins()) as reader:
        assert read_file(reader, reader.lookup(reader.root, "a").inode) == b"honest"
    stranger = person(77)
    volume = replace(open_volume(world.store, world.machine, world.path(), NOW), chain=world.created.chain)
    forger = LocalFs(world.store, stranger, volume, options=QUIET, clock=lambda: NOW * 10**9)
    stolen = Certified(signer=stranger.signer, chain=world.created.chain, issued=None)
    forger.writers._chosen[volume.scope] = Chosen(certified=stolen, chain=world.created.chain)
    write_file(forger, forger.root, "a", b"forged")
    forger.sync()
    forger.abandon()
    with under.open(world, world.store, MemoryPins()) as reader:
        refuse(partial(reader.lookup, reader.root, "a"), Kind.INTEGRITY)


def _plant(fs: LocalFs, parent: int, name: str, target: Inode) -> None:
    """Enter something in a directory, past every check."""
    inode = fs.inode_of(parent)
    assert inode.directory is not None
    inode.directory.insert(name.encode(), name, target.kind, target.store.block, target.store.key)
    fs.mark(inode)
