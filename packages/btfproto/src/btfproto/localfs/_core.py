"""`Core`: the state that all calls of a `LocalFs` share, and the few steps that most of them take.

One lock guards everything here. Calls hold it for microseconds; it is not held while a group is sealed and committed.
An object is reached by its number through `table`, and only what was verified ever gets there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import islice

from btlib.block import BLOCK_ID_SIZE, KEY_SIZE
from btlib.errors import BlocktreeError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind

from ..domain import DomainReader, HeldChains, Volume
from ..errors import FsError
from ..provider import FileKind, Owner
from ..store import HeadAnswer, RecordRef, Records, Store
from ._blocks import SECTOR_SIZE, StoredBlock
from ._cache import WeightedCache
from ._content import Buffer
from ._directory import DirectoryTree
from ._entropy import Entropy
from ._handles import Handles
from ._heads import Heads, refused
from ._inode import Inode, number_of
from ._names import ORDINAL_BITS, NameHasher
from ._node_table import Nodes
from ._nodes import Node, entry_block, entry_key, entry_kind, entry_raw_name
from ._pins import Pins
from ._room import Room
from ._store_pin import StorePin
from ._writers import Writers
from .options import FsOptions

Clock = Callable[[], int]
Random = Callable[[int], bytes]

DIRTY_INODE = 2048  #: what a changed inode counts towards the dirty limit: its header and entry, and their sealed forms
NODE_BYTES = 3 * 1024  #: what a changed directory node counts: a sector, most of it full
TRIM_BATCH = 4096  #: inodes looked at in one go: some hundred microseconds
NEIGHBOURS = 64  #: heads in one request when a directory is being walked
SET_GROUP_ID = 0o2000


class Core:
    """See the module. Everything without a leading underscore is for the modules of this package."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        volume: Volume,
        options: FsOptions,
        pins: Pins,
        clock: Clock,
        random: Random,
    ) -> None:
        self.mutex = threading.RLock()
        self.store = store
        self.identity = identity
        self.volume = volume
        self.options = options
        self.pins = pins
        self.store_pin = StorePin(store, pins)
        self.room = Room(store)
        self.clock = clock
        self.random = random
        self.entropy = Entropy(random)  # guarded by the lock
        reader = DomainReader(store, volume.root)
        self.heads = Heads(reader, pins)
        self.held = HeldChains(reader, identity, volume.lineage)
        self.writers = Writers(store, self.held, volume, self.heads)
        self.table: dict[int, Inode] = {}
        self.idle: dict[int, None] = {}  # those that nobody refers to, the longest forgotten first
        self.handles = Handles()
        self.sectors: WeightedCache[Buffer] = WeightedCache(options.cache_bytes)
        self.nodes: WeightedCache[Node] = WeightedCache(options.cached_entries)
        self.dirty: dict[int, Inode] = {}
        self.dirty_bytes = 0
        self.frozen_bytes = 0
        self.writable: dict[bytes, float] = {}  # scopes in which this identity may write, and the last second of that
        self.reloads = 0  # objects reloaded because others changed them
        self.live_group = 1  #: the number of the group that collects now
        self.closed = False
        self.attached: Inode  # the directory that was opened, once it was found

    # Objects

    def inode_of(self, number: int) -> Inode:
        """A known inode. Raises FsError (STALE)."""
        inode = self.table.get(number)
        if inode is None:
            raise self._unknown(number)
        return inode

    def directory_of(self, number: int) -> tuple[Inode, DirectoryTree]:
        """A known directory. Raises FsError (STALE, NOT_DIRECTORY)."""
        inode = self.table.get(number)
        if inode is None:
            raise self._unknown(number)
        tree = inode.directory
        if tree is None:
            raise FsError(Kind.NOT_DIRECTORY, f"{inode.path} is no directory")
        return inode, tree

    def _unknown(self, number: int) -> FsError:
        if self.closed:
            return FsError(Kind.STALE, "the file system was shut down")
        return FsError(Kind.STALE, f"inode {number} is not known here any more", "look its name up again")

    def new_inode(self, parent: Inode, name: str, kind: FileKind, mode: int, owner: Owner) -> Inode:
        """A fresh object of a directory, in memory only; the caller enters and marks it. Raises FsError (NO_SPACE)."""
        self.room.check(self.dirty_bytes + self.frozen_bytes, DIRTY_INODE)
        take = self.entropy.take
        block = take(BLOCK_ID_SIZE)
        while not number_of(block) or number_of(block) in self.table:
            block = take(BLOCK_ID_SIZE)
        store = StoredBlock(block, take(KEY_SIZE), parent.store.scope)
        store.key_epoch = parent.store.key_epoch  # so that it does not look as if its key were older than that
        inode = self.make_inode(store, kind, parent, name)
        inode.mode = mode & 0o7777
        inode.uid, inode.gid = owner.uid, owner.gid
        if parent.mode & SET_GROUP_ID:
            inode.gid = parent.gid
            if kind is FileKind.DIRECTORY:
                inode.mode |= SET_GROUP_ID
        inode.accessed = inode.modified = inode.changed = self.clock()
        self.table[inode.number] = inode
        return inode

    def make_inode(self, store: StoredBlock, kind: FileKind, parent: Inode | None, name: str) -> Inode:
        """An object without attributes yet."""
        inode = Inode(store, kind, parent, name)
        if kind is FileKind.DIRECTORY:
            hasher = NameHasher(store.key)
            nodes = inode.nodes = Nodes(
                self.nodes,
                hasher,
                lambda sector: self.fetch(inode, [sector])[0],
                lambda error: refused(inode.path, error),
            )
            inode.directory = DirectoryTree(nodes, hasher, SECTOR_SIZE)
        return inode

    def load_root(self) -> Inode:
        """The directory that the readcap opens. Raises FsError."""
        volume = self.volume
        name = "".join(f"/{part}" for part in volume.path.names)
        store = StoredBlock(volume.directory, volume.key, volume.scope)
        inode = self.make_inode(store, FileKind.DIRECTORY, None, name)
        self.adopt(inode, self.read_heads([(store.block, 0)])[0])
        self.table[inode.number] = inode
        return inode

    def child(self, parent: Inode, name: str, record: bytes) -> Inode:
        """The object of a directory entry, loaded and verified where it is not known yet. Raises FsError."""
        inode = self.table.get(number_of(record[2:10]))
        if inode is not None and inode.store.block == entry_block(record):
            return self._met(inode, parent, name, record)
        self._load_neighbours(parent, name, record)
        inode = self.table.get(number_of(record[2:10]))
        if inode is not None and inode.store.block == entry_block(record):
            return inode
        return self.load_children(parent, [(name, record)])[0]

    def _load_neighbours(self, parent: Inode, name: str, record: bytes) -> None:
        """Who looks names up one by one asks for more: all of a small directory, or the next in the listing's order.

        `parent.read_end` is the key of the last miss, `parent.streak` counts misses.
        """
        tree = parent.directory
        assert tree is not None
        before = parent.read_end
        parent.read_end = tree.hasher(entry_raw_name(record)) << ORDINAL_BITS | record[0]
        parent.streak += 1
        if parent.streak == 1:
            return
        if tree.entries <= NEIGHBOURS:
            around = tree.after(0, NEIGHBOURS)
        elif [entry[1] for entry in tree.after(before, 1)] == [name]:
            around = tree.after(before, NEIGHBOURS)
            parent.read_end = around[-1][0]
        else:
            return
        unknown = [(name, record) for _, name, record in around if number_of(record[2:10]) not in self.table]
        self.load_children(parent, unknown, lenient=True)

    def load_children(self, parent: Inode, entries: Sequence[tuple[str, bytes]], lenient: bool = False) -> list[Inode]:
        """The objects, each once, of entries that are not known yet, in one request. Raises FsError.

        `lenient`: what cannot be trusted is left out, so that one damaged block does not hide its neighbours.
        """
        fresh: dict[bytes, Inode] = {}
        for name, record in entries:
            block = entry_block(record)
            if block not in fresh:  # several names of one file stand here once
                store = StoredBlock(block, entry_key(record), parent.store.scope)
                fresh[block] = self.make_inode(store, FileKind(entry_kind(record)), parent, name)
        answers = self.read_heads([(block, 0) for block in fresh])
        loaded = []
        for inode, answer in zip(fresh.values(), answers, strict=True):
            try:
                self._enter(inode, answer)
            except FsError:
                if not lenient:
                    raise
            else:
                loaded.append(inode)
        self.trim()
        return loaded

    def _enter(self, inode: Inode, answer: HeadAnswer) -> None:
        if inode.number in self.table:
            raise refused(inode.path, IntegrityError("its inode number is that of another object"))
        self.adopt(inode, answer)
        self.table[inode.number] = inode

    def trim(self) -> None:
        """Forget some of the inodes met first, where there are too many. Whoever still asks is told STALE."""
        table = self.table
        if len(table) <= self.options.inode_limit:
            return
        enough = self.options.inode_limit * 7 // 8
        for number in [*islice(self.idle, TRIM_BATCH), *islice(table, TRIM_BATCH)]:
            self.drop(number)
            if len(table) <= enough:
                return

    def drop(self, number: int) -> None:
        """Forget an inode, unless something would be missed: then it counts as met last."""
        self.idle.pop(number, None)
        inode = self.table.pop(number, None)
        if inode is not None and not self.may_forget(inode):
            self.table[number] = inode

    def may_forget(self, inode: Inode) -> bool:
        """Whether nothing would be missed: it is not open, changed, or the way to something else."""
        return not (
            inode.kind is FileKind.DIRECTORY
            or inode.opens
            or inode.frozen
            or inode.number in self.dirty
            or not inode.links
        )

    def adopt(self, inode: Inode, answer: HeadAnswer) -> None:
        """Verify a head and let a fresh object take it over. Raises FsError naming the path."""
        try:
            header, attributes = self.heads.adopt(answer, inode.store, inode.kind)
            inode.load(attributes, header)
        except BlocktreeError as error:
            raise refused(inode.path, error) from error

    def _met(self, inode: Inode, parent: Inode, name: str, record: bytes) -> Inode:
        """A known object, met (again) under a name."""
        self.idle.pop(inode.number, None)
        if inode.parent is not parent or inode.name != name:
            self._check_place(inode, parent, name, record)
            inode.parent, inode.name = parent, name
        return inode

    def _check_place(self, inode: Inode, parent: Inode, name: str, record: bytes) -> None:
        """A directory has one place, and not below itself. Raises FsError (INTEGRITY)."""
        path = f"{parent.path.rstrip('/')}/{name}"
        if inode.kind != entry_kind(record):
            raise refused(
                path, IntegrityError(f"it says to be another kind of object than {inode.path}, and is the same")
            )
        if inode.kind is FileKind.DIRECTORY and inode.number != number_of(self.volume.directory):
            above: Inode | None = parent
            while above is not None and above is not inode:
                above = above.parent
            if above is None:
                return
        if inode.kind is FileKind.DIRECTORY:
            raise refused(path, IntegrityError("the directory would contain itself"))

    # The store

    def read_heads(self, wants: Sequence[tuple[bytes, int]]) -> list[HeadAnswer]:
        """Raises FsError."""
        try:
            answers = self.heads.fetch(wants)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error
        if len(answers) != len(wants):
            raise FsError(Kind.INTEGRITY, f"the store gave {len(answers)} heads instead of {len(wants)}")
        return answers

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        """Raises StoreError, IntegrityError."""
        answer = self.store.read_records(block, refs)
        if len(answer.records) != len(refs):
            raise IntegrityError(f"the store gave {len(answer.records)} records instead of {len(refs)}")
        return answer

    def fetch(self, inode: Inode, indexes: list[int]) -> list[bytes]:
        """The committed content of some sectors, verified; b"" for holes. Raises FsError naming the path."""
        try:
            return inode.store.read(indexes, self.read_records)
        except BlocktreeError as error:
            raise refused(inode.path, error) from error
        finally:
            if not inode.opens:
                inode.store.rest()

    # Changes

    def check_writable(self, inode: Inode) -> None:
        """Raises FsError (READ_ONLY) where this identity may not change an object, LeaseNeededError where not yet."""
        scope = inode.store.scope
        now = self.clock() // 10**9
        if now > self.writable.get(scope, -1):
            if self.options.read_only:
                raise FsError(Kind.READ_ONLY, f"{self.volume.attach_path} was opened read-only")
            self.writable[scope] = self.writers.require(scope, now)
        if self.options.shared:
            self.check_lease(scope)

    def check_lease(self, scope: bytes) -> None:
        """Raises LeaseNeededError. (`Lease` implements it.)"""

    def holds(self, scope: bytes) -> bool:
        """Whether nobody else can commit in a scope now. (`Lease` implements it.)"""
        return False

    def heard_since(self, reloads: int) -> bool:
        """Whether others changed anything since `self.reloads` was this; asks the store. Never with the lock held."""
        return False

    def acquire(self, scope: bytes) -> None:
        """Get the lease of a scope; without the lock. (`Lease` implements it.)"""

    def mark(self, inode: Inode) -> None:
        """An inode was changed: it belongs to the group that collects."""
        inode.shown = None
        if inode.direct:
            self.hide(inode)
        if inode.group != self.live_group:
            inode.group = self.live_group
            self.dirty_bytes += DIRTY_INODE
            if not self.dirty:
                self.wake()
            self.dirty[inode.number] = inode
        if inode.nodes is not None:
            self.dirty_bytes += inode.nodes.take_growth() * NODE_BYTES

    def wake(self) -> None:
        """The first change of a group: from now on the clock runs. (`Committer` overrides it.)"""

    def hide(self, inode: Inode) -> None:
        """From now on reads have to ask here again. (`Reading` overrides it.)"""

    def release(self, inode: Inode) -> None:
        """An object that nothing names or holds open is gone; the next group removes what was stored of it."""
        if inode.store.version or inode.frozen:
            self.mark(inode)
        if inode.content is not None:
            self.dirty_bytes -= inode.content.live.size
            inode.content = None
        self.table.pop(inode.number, None)
        if not (inode.store.version or inode.frozen) and self.dirty.pop(inode.number, None) is not None:
            self.dirty_bytes -= DIRTY_INODE
