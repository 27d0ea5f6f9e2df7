"""Attacks of a store on its readers: bytes that were changed, moved, cut, taken from before; heads of others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
from btlib.block import NONCE_SIZE, decode_header, decode_signed_header
from btlib.kinds import Kind

from ..errors import StoreError
from ..localfs import MemoryPins
from ..provider import FsProvider, OpenFlags
from ..store import Commit, CommitAnswer, Found, Head, HeadWant, MemoryStore, RecordRef, StoreMark
from ._attack import EvilStore, Implementation, Lie, attack, block_of, make_world, refuse, written
from ._provider_tools import read_file, write_file
from .domains import World

CONTENT = b"".join(bytes([number]) * 16_384 for number in range(6))


def _flip(record: bytes | None) -> bytes | None:
    return None if record is None else bytes([record[0] ^ 1]) + record[1:]


def _read(fs: FsProvider, name: str) -> bytes:
    return read_file(fs, fs.lookup(fs.root, name).inode)


def _world() -> tuple[World, bytes, bytes]:
    """A world with two files, and their blocks."""
    world = make_world()
    with written(world) as fs:
        write_file(fs, fs.root, "a", CONTENT)
        write_file(fs, fs.root, "b", CONTENT[::-1])
        fs.sync()
        return world, block_of(fs, "a"), block_of(fs, "b")


def _at_level(lie: Lie, level: int, refs: Sequence[RecordRef], records: list[bytes | None]) -> list[bytes | None]:
    return lie(refs, records) if refs[0].level == level else records


def _lied_to(under: Implementation, *lies: Lie) -> None:
    """A lie about the records of a file, of its sectors and of its nodes: refused, and the other file reads on."""
    world, block, _ = _world()
    for level in (0, 1):
        for lie in lies:
            evil = EvilStore(world.store)
            evil.target = block
            evil.lie = partial(_at_level, lie, level)
            with under.open(world, evil, MemoryPins()) as fs:
                refuse(partial(_read, fs, "a"), Kind.INTEGRITY)
                assert _read(fs, "b") == CONTENT[::-1], "a lie about one file hides another"
    with under.open(world, world.store, MemoryPins()) as fs:
        assert _read(fs, "a") == CONTENT


@attack("flipped-record", "a bit of a sector or node is flipped")
def flipped_record(under: Implementation) -> None:
    _lied_to(
        under,
        lambda refs, records: [_flip(record) for record in records],
        lambda refs, records: [record and record[:-1] + bytes([record[-1] ^ 128]) for record in records],
    )


@attack("truncated-record", "a sector or node is cut off")
def truncated_record(under: Implementation) -> None:
    _lied_to(
        under,
        lambda refs, records: [record and record[:-1] for record in records],
        lambda refs, records: [record and record[:1] for record in records],
        lambda refs, records: [record and b"" for record in records],
    )


@attack("longer-record", "a sector or node is longer, or many times as long")
def longer_record(under: Implementation) -> None:
    _lied_to(
        under,
        lambda refs, records: [record and record + b"x" for record in records],
        lambda refs, records: [record and record * 64 for record in records],
    )


@attack("missing-record", "a sector or node is not there any more, or fewer or more come than were asked for")
def missing_record(under: Implementation) -> None:
    _lied_to(
        under,
        lambda refs, records: [None for _ in records],
        lambda refs, records: records[:-1],
        lambda refs, records: [*records, b"x"],
    )


@attack("reordered-records", "sectors come in another order")
def reordered_records(under: Implementation) -> None:
    _lied_to(
        under,
        lambda refs, records: records[1:] + records[:1] if len(records) > 1 else [_flip(records[0])],
        lambda refs, records: [records[0]] * len(records) if len(records) > 1 else [_flip(records[0])],
    )


@attack("swapped-records", "the sectors of another file, truly written, stand in a file's place")
def swapped_records(under: Implementation) -> None:
    world, block, other = _world()
    evil = EvilStore(world.store)
    evil.target = block
    evil.lie = lambda refs, _records: [
        None if record is None else bytes(record) for record in world.store.read_records(other, list(refs)).records
    ]
    with under.open(world, evil, MemoryPins()) as fs:
        refuse(lambda: _read(fs, "a"), Kind.INTEGRITY)
        assert _read(fs, "b") == CONTENT[::-1]


@attack("replayed-records", "the sectors of an older version, truly written, stand under a newer head")
def replayed_records(under: Implementation) -> None:
    world, block, _ = _world()
    sectors = [RecordRef(0, index) for index in range(len(CONTENT) // 4096)]
    old = world.store.read_records(block, sectors).records
    with written(world) as fs:
        write_file(fs, fs.root, "a", CONTENT[::-1])
        fs.sync()
    evil = EvilStore(world.store)
    evil.target = block
    evil.lie = lambda refs, records: [
        bytes(old[ref.index] or b"") if not ref.level else record for ref, record in zip(refs, records, strict=True)
    ]
    with under.open(world, evil, MemoryPins()) as reader:
        refuse(lambda: _read(reader, "a"), Kind.INTEGRITY)


@attack("rolled-back-head", "a file is shown as it was before, to one who saw it newer, also after a restart")
def rolled_back_head(under: Implementation) -> None:
    world, block, _ = _world()
    old = world.store.read_heads([HeadWant(block)])[0]
    with written(world) as fs:
        write_file(fs, fs.root, "a", b"new")
        fs.sync()
    evil, pins = EvilStore(world.store), MemoryPins()
    with under.open(world, world.store, pins) as before:
        assert _read(before, "a") == b"new"
        before.sync()
    evil.heads[block] = old
    with under.open(world, evil, pins) as after:
        refuse(lambda: _read(after, "a"), Kind.ROLLBACK)
        assert _read(after, "b") == CONTENT[::-1]


@attack("store-put-back", "the whole store is as it was before, to one who saw it later and read nothing that changed")
def store_put_back(under: Implementation) -> None:
    """What changed since was never read by who opens it, so that no version of a block tells."""
    world, _, _ = _world()
    evil, pins = EvilStore(world.store), MemoryPins()
    old = evil.mark()
    with written(world) as fs:
        number = fs.lookup(fs.root, "b").inode
        handle = fs.open(number, OpenFlags.WRITE)
        fs.write(handle, 0, b"later")
        fs.close(handle)
        fs.sync()
    with under.open(world, evil, pins) as before:
        before.sync()
    evil.older = old
    refuse(lambda: _opened(under, world, evil, pins), Kind.ROLLBACK)
    evil.older = StoreMark(bytes(16), 1)
    _opened(under, world, evil, pins)  # another store, of which nothing was seen; its blocks are compared
    evil.older = None
    _opened(under, world, evil, pins)


def _opened(under: Implementation, world: World, store: EvilStore, pins: MemoryPins) -> None:
    with under.open(world, store, pins) as fs:
        _read(fs, "a")


@attack("exchanged-head", "the head of another file, or one that says it is this file's, or none")
def exchanged_head(under: Implementation) -> None:
    world, a, b = _world()
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
        with under.open(world, evil, MemoryPins()) as fs:
            refuse(partial(_read, fs, "a"), Kind.INTEGRITY)
            assert _read(fs, "b") == CONTENT[::-1]


@attack("flipped-head", "any byte of a signed header is changed")
def flipped_head(under: Implementation) -> None:
    world, block, _ = _world()
    honest = world.store.read_heads([HeadWant(block)])[0]
    assert isinstance(honest, Found)
    for position in range(0, len(honest.head.signed), 7):
        signed = bytearray(honest.head.signed)
        signed[position] ^= 1
        evil = EvilStore(world.store)
        evil.heads[block] = Found(msgspec.structs.replace(honest.head, signed=bytes(signed)))
        with under.open(world, evil, MemoryPins()) as fs:
            refuse(partial(_read, fs, "a"), Kind.INTEGRITY, Kind.ROLLBACK)


class _Keeping(MemoryStore):
    """Keeps every commit that it was shown, and fails at some."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Commit] = []
        self.taken: list[Commit] = []
        self.fails = False

    def commit(self, commit: Commit) -> CommitAnswer:
        self.shown.append(commit)
        if self.fails:
            raise StoreError(Kind.IO, "the disk failed")
        self.taken.append(commit)
        return super().commit(commit)


@attack("nonce-reuse", "commits fail and the store goes back, so that other contents are sealed for the same place")
def nonce_reuse(under: Implementation) -> None:
    """Of one key no nonce may occur before two different texts. The writer is the implementation itself."""
    store = _Keeping()
    world = make_world(store)
    with under.open(world, store, MemoryPins()) as fs:
        for content in (CONTENT, CONTENT[::-1]):
            write_file(fs, fs.root, "a", content)
            store.fails = True
            for changed in (content[:5000] + b"x" * 9000, content[:5000] + b"y" * 9000):
                write_file(fs, fs.root, "a", changed)
                refuse(fs.sync, Kind.IO)
            store.fails = False
            fs.sync()
    older = _Keeping()  # the store without its last commit, from which another process goes on
    for commit in store.taken[:-1]:
        older.commit(commit)
    for state in (older, store):
        with under.open(world, state, MemoryPins()) as again:
            write_file(again, again.root, "a", b"z" * 20_000)
            again.sync()
    seen: dict[tuple[bytes, int, bytes], bytes] = {}
    for block, epoch, text in _sealed(store.shown + older.shown):
        nonce = bytes(text[:NONCE_SIZE])
        assert seen.setdefault((block, epoch, nonce), text) == text, "one nonce stands before two texts"
    assert len(seen) > 20


def _sealed(commits: list[Commit]) -> list[tuple[bytes, int, bytes]]:
    """Block, key epoch and text of whatever was sealed."""
    out = []
    for change in (change for commit in commits for change in commit.changes):
        header = decode_header(decode_signed_header(change.signed).header)
        if not header.public:
            out += [
                (change.block, header.key_epoch, bytes(record))
                for run in change.runs
                if not run.level
                for record in run.records
            ]
            out += [(change.block, header.key_epoch, header.attributes)] if header.attributes else []
    return out
