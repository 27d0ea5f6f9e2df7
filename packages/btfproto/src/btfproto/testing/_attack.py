"""What is attacked: `Implementation`, a reader of domains and file systems and a judge of commits; and evil stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.revocations import Revocations
from btlib.testing.attacks import Attack

from ..domain import NOTHING_SEEN, DomainReader, SeenList, compare_view, open_volume, read_view, shown_heads, take_view
from ..localfs import FsOptions, LocalFs, MemoryPins, Pins, empty_directory_attributes
from ..provider import FsProvider, Owner
from ..store import (
    Commit,
    CommitAnswer,
    HeadAnswer,
    HeadWant,
    Marked,
    MemoryStore,
    RecordRef,
    Records,
    Store,
    StoreMark,
)
from ..store.check import CommitChecker
from .domains import NOW, World

ME = Owner(1000, 100)
Judge = Callable[[Commit], None]
QUIET = FsOptions(commit_interval=None)  # commits only when told to


class Implementation(Protocol):
    """What is under attack."""

    def open(self, world: World, store: Store, pins: Pins) -> AbstractContextManager[FsProvider]:
        """The world's root directory as its machine sees it in a store that may lie. `pins` are what it saw before."""
        ...

    def judge(self, world: World, now: Callable[[], int], revocations: Callable[[], Revocations]) -> Judge:
        """What a server without keys asks before it applies a commit: raises a BlocktreeError where it does not."""
        ...

    def key(self, store: Store, who: Identity, path: BlockPath, now: int, seen: Revocations) -> bytes:
        """The key of a directory, as `who` opens it by its own grants and its groups'. Raises a BlocktreeError.

        `seen` is the newest revocation list that it knows, whatever the store shows.
        """
        ...

    def take_view(self, world: World, store: Store, who: Identity) -> bytes:
        """What the store shows to `who` now, revocation list included, signed for others to compare."""
        ...

    def forks(self, world: World, store: Store, view: bytes) -> bool:
        """Whether a view, taken before, and what this store shows now cannot both be honest.

        Raises a BlocktreeError where it is nobody's word: forged, of a stranger, of another domain.
        """
        ...


class Btfproto:
    """This package."""

    @contextmanager
    def open(self, world: World, store: Store, pins: Pins) -> Iterator[FsProvider]:
        fs = open_fs(world, store, pins)
        try:
            yield fs
        finally:
            fs.abandon()

    def judge(self, world: World, now: Callable[[], int], revocations: Callable[[], Revocations]) -> Judge:
        root = world.root.principal
        return CommitChecker(world.store, DomainReader(world.store, root), root, now, revocations)

    def key(self, store: Store, who: Identity, path: BlockPath, now: int, seen: Revocations) -> bytes:
        return open_volume(store, who, path, now, revocations=_Known(seen)).key

    def take_view(self, world: World, store: Store, who: Identity) -> bytes:
        reader = DomainReader(store, world.root.principal)
        return take_view(reader, who, _seen(reader), now=NOW)

    def forks(self, world: World, store: Store, view: bytes) -> bool:
        reader = DomainReader(store, world.root.principal)
        terms = read_view(view, world.root.principal, reader.revocations, now=NOW)
        return not compare_view(terms, shown_heads(reader), _seen(reader)).agrees


@dataclass(frozen=True)
class _Known:
    """A `RevocationSource` that learns nothing more."""

    current: Revocations


def _seen(reader: DomainReader) -> SeenList:
    return reader.revocation_list() or NOTHING_SEEN


BTFPROTO = Btfproto()

ATTACKS: dict[str, Attack[Implementation]] = {}  #: filled by `attack`, in order of definition


def attack(name: str, tries: str) -> Callable[[Callable[[Implementation], None]], Callable[[Implementation], None]]:
    """Enter a function into ATTACKS."""

    def enter(run: Callable[[Implementation], None]) -> Callable[[Implementation], None]:
        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name=name, tries=tries, run=run)
        return run

    return enter


def make_world(store: Store | None = None) -> World:
    return World.make(store, directory_attributes=empty_directory_attributes)


def open_fs(world: World, store: Store | None = None, pins: Pins | None = None) -> LocalFs:
    """The honest writer's file system: this package's."""
    store = store or world.store
    ticks = itertools.count(NOW * 10**9, 1000)
    return LocalFs(
        store,
        world.machine,
        open_volume(store, world.machine, world.path(), NOW),
        options=QUIET,
        pins=pins or MemoryPins(),
        clock=lambda: next(ticks),
    )


@contextmanager
def written(world: World) -> Iterator[LocalFs]:
    """A file system to write in; what was synced stays."""
    fs = open_fs(world)
    try:
        yield fs
    finally:
        fs.abandon()


def block_of(fs: LocalFs, name: str) -> bytes:
    """The block of a file in the root directory."""
    return fs.inode_of(fs.lookup(fs.root, name).inode).store.block


def refuse(use: Callable[[], object], *kinds: Kind) -> None:
    """Raise AssertionError unless `use` raises a BlocktreeError of one of these kinds (none named: of any)."""
    kind: Kind | None = None
    given: object = None
    try:
        given = use()
    except BlocktreeError as error:
        kind = error.kind
    assert kind is not None, f"it was taken: {given!r:.100}"
    assert not kinds or kind in kinds, f"it was refused as {kind.name}"


Lie = Callable[[Sequence[RecordRef], list[bytes | None]], list[bytes | None]]


class EvilStore:
    """Passes everything on, and lies about the records of one block, or about heads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.commit, self.scan, self.watch, self.lease = store.commit, store.scan, store.watch, store.lease
        self.status, self.close = store.status, store.close
        self.name = "that lies"
        self.older: StoreMark | None = None
        self.target = b""
        self.lie: Lie = lambda refs, records: records
        self.heads: dict[bytes, HeadAnswer] = {}

    def mark(self, at: int = 0) -> StoreMark:
        if self.older is not None:
            return self.older
        assert isinstance(self.store, Marked)
        return self.store.mark(at)

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        honest = self.store.read_heads(wants)
        return [self.heads.get(want.block, answer) for want, answer in zip(wants, honest, strict=True)]

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        honest = self.store.read_records(block, refs)
        if block != self.target:
            return honest
        records = [None if record is None else bytes(record) for record in honest.records]
        return Records(honest.version, list(self.lie(refs, records)))


class ForkingStore(MemoryStore):
    """A store that can begin to show somebody else another tree, which is the same until then."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Commit] = []

    def commit(self, commit: Commit) -> CommitAnswer:
        self.commits.append(commit)
        return super().commit(commit)

    def fork(self) -> ForkingStore:
        """Another one with all that is in this one now."""
        other = ForkingStore()
        for commit in self.commits:
            other.commit(commit)
        return other
