"""A store that lies, and writers that abuse their right: every lie is noticed, named, and stays where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import pytest
from btfproto.domain import open_volume
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs, MemoryPins
from btfproto.localfs._inode import Inode
from btfproto.localfs._writers import Chosen
from btfproto.provider import FileKind, OpenFlags, Owner, Seek
from btfproto.store import Found, Head, HeadAnswer, HeadWant, RecordRef, Records, Store
from btfproto.testing.domains import NOW, World, person
from btfproto.testing.provider import list_names, read_file, write_file
from btlib.kinds import Kind
from btlib.process_keys import Certified

from .conftest import OpenFs

ME = Owner(1000, 100)
Lie = Callable[[Sequence[RecordRef], list[bytes | None]], list[bytes | None]]
CONTENT = b"".join(bytes([number]) * 16_384 for number in range(6))


class EvilStore:
    """Passes everything on, and lies about the records of one block, or about heads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.commit, self.scan, self.watch, self.lease = store.commit, store.scan, store.watch, store.lease
        self.status, self.close = store.status, store.close
        self.target = b""
        self.lie: Lie = lambda refs, records: records
        self.heads: dict[bytes, HeadAnswer] = {}

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        honest = self.store.read_heads(wants)
        return [self.heads.get(want.block, answer) for want, answer in zip(wants, honest, strict=True)]

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        honest = self.store.read_records(block, refs)
        if block != self.target:
            return honest
        records = [None if record is None else bytes(record) for record in honest.records]
        return Records(honest.version, list(self.lie(refs, records)))


def flip(record: bytes | None) -> bytes | None:
    return None if record is None else bytes([record[0] ^ 1]) + record[1:]


LIES: dict[str, Lie] = {
    "flipped first byte": lambda refs, records: [flip(record) for record in records],
    "flipped last byte": lambda refs, records: [
        record and record[:-1] + bytes([record[-1] ^ 128]) for record in records
    ],
    "cut off": lambda refs, records: [record and record[:-1] for record in records],
    "one byte": lambda refs, records: [record and record[:1] for record in records],
    "too long": lambda refs, records: [record and record + b"x" for record in records],
    "a megabyte": lambda refs, records: [record and record * 64 for record in records],
    "missing": lambda refs, records: [None for _ in records],
    "in another order": lambda refs, records: records[1:] + records[:1] if len(records) > 1 else [flip(records[0])],
    "too few": lambda refs, records: records[:-1],
    "too many": lambda refs, records: [*records, b"x"],
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("level", [0, 1])
def test_a_lie_about_records_is_refused_and_names_the_file(
    name: str, level: int, world: World, open_fs: OpenFs
) -> None:
    fs = open_fs()
    directory = fs.mkdir(fs.root, "docs", 0o755, ME)
    write_file(fs, directory.inode, "a.txt", CONTENT)
    write_file(fs, directory.inode, "b.txt", CONTENT)
    fs.sync()
    evil = EvilStore(world.store)
    evil.target = _block(fs, directory.inode, "a.txt")
    lie = LIES[name]
    evil.lie = lambda refs, records: lie(refs, records) if refs[0].level == level else records
    reader = open_fs(store=evil)
    docs = reader.lookup(reader.root, "docs").inode
    with pytest.raises(FsError) as error:
        read_file(reader, reader.lookup(docs, "a.txt").inode)
    assert error.value.kind is Kind.INTEGRITY
    assert str(error.value).startswith("/docs/a.txt: ")
    assert "the rest of the tree is unaffected" in str(error.value)
    assert read_file(reader, reader.lookup(docs, "b.txt").inode) == CONTENT


def test_a_damaged_node_is_refused_where_holes_are_looked_for(world: World, open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", CONTENT)
    fs.sync()
    evil = EvilStore(world.store)
    evil.target = _block(fs, fs.root, "a")
    evil.lie = LIES["flipped first byte"]
    reader = open_fs(store=evil)
    handle = reader.open(reader.lookup(reader.root, "a").inode, OpenFlags.READ)
    with pytest.raises(FsError, match=r"^/a: ") as error:
        reader.seek(handle, 0, Seek.HOLE)
    assert error.value.kind is Kind.INTEGRITY


def test_a_lie_about_a_directory_names_the_directory(world: World, open_fs: OpenFs) -> None:
    fs = open_fs()
    directory = fs.mkdir(fs.root, "docs", 0o755, ME).inode
    for number in range(1000):
        fs.mknod(directory, f"n{number}", FileKind.FIFO, 0o600, ME)
    fs.sync()
    evil = EvilStore(world.store)
    evil.target = _block(fs, fs.root, "docs")
    evil.lie = LIES["flipped first byte"]
    reader = open_fs(store=evil)
    with pytest.raises(FsError, match=r"^/docs: ") as error:
        reader.readdir(reader.lookup(reader.root, "docs").inode, 0, 10)
    assert error.value.kind is Kind.INTEGRITY


def test_old_sectors_are_refused(world: World, open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", CONTENT)
    fs.sync()
    block = _block(fs, fs.root, "a")
    old = world.store.read_records(block, [RecordRef(0, index) for index in range(-(-len(CONTENT) // 4096))])
    write_file(fs, fs.root, "a", CONTENT[::-1])
    fs.sync()
    evil = EvilStore(world.store)
    evil.target = block
    evil.lie = lambda refs, records: [
        bytes(old.records[ref.index] or b"") if not ref.level else record
        for ref, record in zip(refs, records, strict=True)
    ]
    reader = open_fs(store=evil)
    with pytest.raises(FsError, match=r"^/a: sector 0 ") as error:
        read_file(reader, reader.lookup(reader.root, "a").inode)
    assert error.value.kind is Kind.INTEGRITY


def test_an_older_head_than_one_seen_is_a_rollback(world: World, open_fs: OpenFs) -> None:
    pins = MemoryPins()
    fs = open_fs(pins=pins)
    write_file(fs, fs.root, "a", b"old")
    fs.sync()
    block = _block(fs, fs.root, "a")
    old = world.store.read_heads([HeadWant(block)])[0]
    write_file(fs, fs.root, "a", b"new")
    fs.sync()
    evil = EvilStore(world.store)
    evil.heads[block] = old
    reader = open_fs(store=evil, pins=pins)
    with pytest.raises(FsError, match=r"^/a: .*went back in time") as error:
        reader.lookup(reader.root, "a")
    assert error.value.kind is Kind.ROLLBACK
    newcomer = open_fs(store=evil)
    assert read_file(newcomer, newcomer.lookup(newcomer.root, "a").inode) == b"old"  # nobody can tell it


def test_a_missing_or_exchanged_head_is_refused(world: World, open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", b"a")
    write_file(fs, fs.root, "b", b"b")
    fs.sync()
    a, b = _block(fs, fs.root, "a"), _block(fs, fs.root, "b")
    other = world.store.read_heads([HeadWant(b)])[0]
    assert isinstance(other, Found)
    lies = [
        world.store.read_heads([HeadWant(bytes(16))])[0],
        other,
        Found(msgspec.structs.replace(other.head, block=a)),
        Found(msgspec.structs.replace(other.head, signed=b"")),
        Found(msgspec.structs.replace(other.head, signed=other.head.signed[:-1])),
        Found(Head(a, 1, bytes(1000))),
    ]
    for lie in lies:
        evil = EvilStore(world.store)
        evil.heads[a] = lie
        reader = open_fs(store=evil)
        with pytest.raises(FsError, match=r"^/a: ") as error:
            reader.lookup(reader.root, "a")
        assert error.value.kind is Kind.INTEGRITY
        assert read_file(reader, reader.lookup(reader.root, "b").inode) == b"b"


def test_every_flipped_byte_of_a_head_is_refused(world: World, open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", b"a")
    fs.sync()
    block = _block(fs, fs.root, "a")
    honest = world.store.read_heads([HeadWant(block)])[0]
    assert isinstance(honest, Found)
    evil = EvilStore(world.store)
    for position in range(0, len(honest.head.signed), 3):
        signed = bytearray(honest.head.signed)
        signed[position] ^= 1
        evil.heads[block] = Found(msgspec.structs.replace(honest.head, signed=bytes(signed)))
        reader = open_fs(store=evil)
        with pytest.raises(FsError) as error:
            reader.lookup(reader.root, "a")
        assert error.value.kind in (Kind.INTEGRITY, Kind.ROLLBACK)


def test_a_damaged_head_does_not_hide_its_neighbours(world: World, open_fs: OpenFs) -> None:
    fs = open_fs()
    names = [f"f{number}" for number in range(10)]
    for name in names:
        write_file(fs, fs.root, name, name.encode())
    fs.sync()
    evil = EvilStore(world.store)
    damaged = _block(fs, fs.root, "f3")
    evil.heads[damaged] = Found(Head(damaged, 1, bytes(1000)))
    reader = open_fs(store=evil)
    listed = {entry.name: entry.attributes for entry in reader.readdir(reader.root, 0, 100, plus=True)}
    assert [name for name, shown in listed.items() if shown is None] == ["f3"]
    assert sorted(listed) == names
    walker = open_fs(store=evil)
    for name in names:
        if name == "f3":
            with pytest.raises(FsError, match=r"^/f3: "):
                walker.lookup(walker.root, name)
            walker.unlink(walker.root, name)
            with pytest.raises(FsError, match="does not exist"):
                walker.lookup(walker.root, name)
        else:
            assert read_file(walker, walker.lookup(walker.root, name).inode) == name.encode()


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a\0b", "", "x" * 254 + "ö"])
def test_an_impossible_name_in_a_directory_is_refused(name: str, open_fs: OpenFs) -> None:
    fs = open_fs()
    tree = fs.inode_of(fs.root).directory
    assert tree is not None
    tree.insert(name.encode()[:255] or b"", name, 0, bytes(range(16)), bytes(32))
    fs.mark(fs.inode_of(fs.root))
    fs.sync()
    reader = open_fs()
    match = "not UTF-8" if len(name.encode()) > 255 else "impossible name"  # it ends within a character
    with pytest.raises(FsError, match=match) as error:
        list_names(reader, reader.root)
    assert error.value.kind is Kind.INTEGRITY


def test_a_directory_that_contains_itself_is_refused(open_fs: OpenFs) -> None:
    fs = open_fs()
    outer = fs.mkdir(fs.root, "outer", 0o755, ME).inode
    inner = fs.mkdir(outer, "inner", 0o755, ME).inode
    for name, target in (("up", outer), ("self", inner), ("root", fs.root)):
        _plant(fs, inner, name, fs.inode_of(target))
    fs.sync()
    reader = open_fs()
    place = reader.lookup(reader.lookup(reader.root, "outer").inode, "inner").inode
    for name in ("up", "self", "root"):
        with pytest.raises(FsError, match="contain itself") as error:
            reader.lookup(place, name)
        assert error.value.kind is Kind.INTEGRITY


def test_an_entry_that_lies_about_its_kind_is_refused(open_fs: OpenFs) -> None:
    fs = open_fs()
    write_file(fs, fs.root, "a", b"")
    file = fs.inode_of(fs.lookup(fs.root, "a").inode)
    tree = fs.inode_of(fs.root).directory
    assert tree is not None
    tree.insert(b"b", "b", FileKind.DIRECTORY, file.store.block, file.store.key)
    fs.mark(fs.inode_of(fs.root))
    fs.sync()
    reader = open_fs()
    with pytest.raises(FsError, match="directory says") as error:
        reader.lookup(reader.root, "b")
    assert error.value.kind is Kind.INTEGRITY
    reader.lookup(reader.root, "a")
    with pytest.raises(FsError):
        reader.lookup(reader.root, "b")


def test_a_reader_who_writes_is_refused(world: World, open_fs: OpenFs) -> None:
    """He holds the keys, and claims the right of somebody else."""
    fs = open_fs()
    write_file(fs, fs.root, "a", b"honest")
    fs.sync()
    stranger = person(77)
    volume = replace(open_volume(world.store, world.machine, world.path(), NOW), chain=world.created.chain)
    forger = LocalFs(world.store, stranger, volume, options=FsOptions(commit_interval=None), clock=lambda: NOW * 10**9)
    stolen = Certified(signer=stranger.signer, chain=world.created.chain, issued=None)
    forger.writers._chosen[volume.scope] = Chosen(certified=stolen, chain=world.created.chain)
    write_file(forger, forger.root, "a", b"forged")
    forger.sync()
    forger.abandon()
    reader = open_fs()
    with pytest.raises(FsError, match=r"^/a: .*without the right") as error:
        reader.lookup(reader.root, "a")
    assert error.value.kind is Kind.INTEGRITY


def test_who_may_only_read_is_told_what_to_ask_for(world: World) -> None:
    volume = replace(open_volume(world.store, world.machine, world.path(), NOW), chain=None, read_only_reason="no cap")
    stranger = person(77)
    with LocalFs(world.store, stranger, volume, options=FsOptions(commit_interval=None)) as fs:
        assert fs.statfs().read_only
        with pytest.raises(FsError, match=r"bt grant .* write") as error:
            fs.mkdir(fs.root, "d", 0o755, ME)
    assert error.value.kind is Kind.READ_ONLY


def _block(fs: LocalFs, parent: int, name: str) -> bytes:
    return fs.inode_of(fs.lookup(parent, name).inode).store.block


def _plant(fs: LocalFs, parent: int, name: str, target: Inode) -> None:
    """Enter something in a directory, past every check."""
    inode = fs.inode_of(parent)
    assert inode.directory is not None
    inode.directory.insert(name.encode(), name, target.kind, target.store.block, target.store.key)
    fs.mark(inode)
