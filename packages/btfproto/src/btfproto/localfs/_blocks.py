"""`StoredBlock`: the committed side of an inode. Its newest verified header, its Merkle tree, its cipher.

It knows what every record in the store must hash to, reads sectors through that, and plans the next version. A plan is
*staged* while its commit is under way: the tree is then already the new one (what the commit changes is served from
memory meanwhile, the rest is the same in both), and nodes not yet in the store are served from the plan. `settle`
makes it the committed version, `revert` forgets it. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from btlib.block import DIGEST_SIZE, FANOUT, HOLE, SECTOR_BITS, Header, SectorCipher, SectorTree
from btlib.errors import IntegrityError

from ..store import Places, RecordHole, RecordRef, RecordRun, Records

SECTOR_SIZE = 1 << SECTOR_BITS
SECTOR_MASK = SECTOR_SIZE - 1
PAGES = 16  #: Merkle nodes read at once for who reads in sequence: 128 KiB, for the next 16 MiB of the file
MAX_COUNTED = 1 << 18  #: sectors looked at when a file is cut: 1 GiB, some 50 ms

ReadRecords = Callable[[bytes, Sequence[RecordRef]], Records]


class Plan:
    """The records of a block's next version."""

    __slots__ = ("gained", "holes", "nodes", "root", "runs", "sector_count")

    def __init__(self, root: bytes, sector_count: int) -> None:
        self.root = root
        self.sector_count = sector_count
        self.runs: list[RecordRun] = []
        self.holes: list[RecordHole] = []
        self.nodes: dict[tuple[int, int], bytes | None] = {}
        self.gained = 0  #: sectors that were holes and are none any more, minus those that became holes


class RenewedKey(NamedTuple):
    """A key that takes another's place in the next version of a block, all of which is sealed under it."""

    key: bytes
    key_epoch: int


class SectorRequest:
    """Some sectors of one version of a block, before they are read. Immutable."""

    __slots__ = ("_cipher", "_hashes", "_indexes", "_small")

    def __init__(self, cipher: SectorCipher, indexes: list[int], hashes: list[bytes], small: bytes | None) -> None:
        self._cipher = cipher
        self._indexes = indexes
        self._hashes = hashes
        self._small = small

    def load(self, read_records: ReadRecords) -> list[bytes]:
        """Read, verify and open them; b"" for a hole. Raises IntegrityError, StoreError."""
        indexes, hashes = self._indexes, self._hashes
        if HOLE not in hashes:
            return self._cipher.open_all(indexes, self._read(indexes, read_records), hashes, SECTOR_SIZE)
        wanted = [index for index, expected in zip(indexes, hashes, strict=True) if expected != HOLE]
        kept = [expected for expected in hashes if expected != HOLE]
        found = iter(self._cipher.open_all(wanted, self._read(wanted, read_records), kept, SECTOR_SIZE))
        return [b"" if expected == HOLE else next(found) for expected in hashes]

    def load_joined(self, read_records: ReadRecords) -> bytes:
        """The same as one piece, whole sectors all of them. Raises IntegrityError, StoreError."""
        indexes, hashes = self._indexes, self._hashes
        if HOLE not in hashes:
            return self._cipher.open_joined(indexes, self._read(indexes, read_records), hashes, SECTOR_SIZE)
        return b"".join(plain.ljust(SECTOR_SIZE, b"\0") for plain in self.load(read_records))

    def _read(self, indexes: list[int], read_records: ReadRecords) -> Sequence[bytes | memoryview | None]:
        if self._small is not None and indexes == [0]:
            return [self._small]
        return read_records(self._cipher.block, [RecordRef(0, index) for index in indexes]).records if indexes else []


class ChunkRequest:
    """The same for consecutive sectors, which are wanted as one piece."""

    __slots__ = ("_cipher", "_first", "_hashes", "_small")

    def __init__(self, cipher: SectorCipher, first: int, hashes: bytes, small: bytes | None) -> None:
        self._cipher = cipher
        self._first = first
        self._hashes = hashes
        self._small = small

    def load(self, read_records: ReadRecords, places: Places | None) -> bytes:
        """Filled up with zeros, holes too; from the files where they lie, if `places` knows them.

        Raises IntegrityError, StoreError.
        """
        cipher, first, hashes = self._cipher, self._first, self._hashes
        end = first + len(hashes) // DIGEST_SIZE
        if places is not None and (found := places.stretches(cipher.block, first, end)) is not None:
            joined = cipher.open_stretches(first, hashes, found.runs, SECTOR_SIZE)
            if joined is not None:
                return joined
        each = [hashes[at : at + DIGEST_SIZE] for at in range(0, len(hashes), DIGEST_SIZE)]
        return SectorRequest(cipher, list(range(first, end)), each, self._small).load_joined(read_records)


class SingleRequest:
    """The same for one sector, quicker."""

    __slots__ = ("_cipher", "_expected", "_index", "_small")

    def __init__(self, cipher: SectorCipher, index: int, expected: bytes, small: bytes | None) -> None:
        self._cipher = cipher
        self._index = index
        self._expected = expected
        self._small = small

    def load(self, read_records: ReadRecords, places: Places | None) -> bytes:
        """From the file where it lies, if `places` knows it; else as above. Raises IntegrityError, StoreError."""
        cipher, index, expected = self._cipher, self._index, self._expected
        if places is not None and expected != HOLE and (place := places.place(cipher.block, index)) is not None:
            descriptor, offset, length, _owner = place
            plain = cipher.open_at(descriptor, offset, length, index, expected, SECTOR_SIZE)
            if plain is not None:
                return plain
        return SectorRequest(cipher, [index], [expected], self._small).load(read_records)[0]


class StoredBlock:
    """One block as the store has it; version 0: not yet."""

    __slots__ = (
        "_cipher",
        "_staged",
        "_tree",
        "block",
        "chain",
        "key",
        "key_epoch",
        "renewed",
        "root",
        "scope",
        "sector_count",
        "small",
        "version",
    )

    def __init__(self, block: bytes, key: bytes, scope: bytes) -> None:
        self.block = block
        self.key = key
        self.scope = scope
        self.chain = b""
        self.key_epoch = 0
        self.version = 0
        self.root = HOLE
        self.sector_count = 0
        self.renewed: RenewedKey | None = None  #: what its next version is sealed under, where that is another key
        self.small: bytes | None = None  #: the stored sector 0, where it came along with the head
        self._cipher: SectorCipher | None = None
        self._tree: SectorTree | None = None
        self._staged: Plan | None = None

    def adopt(self, header: Header, small: bytes | None) -> None:
        """Take over a verified header."""
        self.scope, self.chain = header.scope, header.chain
        if header.key_epoch != self.key_epoch:
            self.key_epoch, self._cipher = header.key_epoch, None
        self.version, self.root, self.sector_count = header.version, header.root, header.sector_count
        self.small = small
        self._tree = self._staged = None

    @property
    def cipher(self) -> SectorCipher:
        if self._cipher is None:
            self._cipher = SectorCipher(self.key, self.block, self.key_epoch)
        return self._cipher

    @property
    def next_key(self) -> bytes:
        """What has to stand in an entry that is committed together with its next version."""
        return self.key if self.renewed is None else self.renewed.key

    def rest(self) -> None:
        """Give back what is quickly made again: a cipher takes 4 kB."""
        self._cipher = None

    def drop_tree(self) -> None:
        """Give back the tree, unless a commit is under way."""
        if self._staged is None:
            self._tree = None

    def read(self, indexes: list[int], read_records: ReadRecords) -> list[bytes]:
        """The content of some sectors, each verified and opened; b"" for a hole. Raises IntegrityError, StoreError."""
        return self.request(indexes, read_records).load(read_records)

    def request(self, indexes: list[int], read_records: ReadRecords) -> SectorRequest:
        """What it takes to read some sectors, for a caller who does not want to hold a lock meanwhile."""
        return SectorRequest(self.cipher, indexes, self._expected(indexes, read_records), self.small)

    def request_one(self, index: int, read_records: ReadRecords) -> SingleRequest:
        """The same for one sector, quicker. Raises IntegrityError, StoreError."""
        if self._tree is None and self.sector_count <= 1:
            expected = self.root if index == 0 else HOLE
        else:
            expected = self._loaded_tree(read_records).leaf(index)
        return SingleRequest(self.cipher, index, expected, self.small)

    def request_chunk(self, first: int, end: int, read_records: ReadRecords) -> ChunkRequest:
        """The same for sectors from `first` to `end` under one Merkle node. Raises IntegrityError, StoreError."""
        page, within = divmod(first, FANOUT)
        self._load_pages(page, read_records)
        hashes = self.page(page, read_records)[within * DIGEST_SIZE :]
        if not hashes:
            hashes = b"".join(self._expected(range(first, end), read_records))
        size = (end - first) * DIGEST_SIZE
        return ChunkRequest(self.cipher, first, hashes[:size].ljust(size, b"\0"), self.small)

    def _load_pages(self, page: int, read_records: ReadRecords) -> None:
        """Where a Merkle node is not in memory, it and those behind it in one request. Raises StoreError."""
        if self.sector_count <= FANOUT or self._staged is not None:
            return
        tree = self._loaded_tree(read_records)
        if not tree.missing([page * FANOUT]):
            return
        pages = range(page, min(page + PAGES, -(-self.sector_count // FANOUT)))
        with suppress(IntegrityError):  # whoever reads there is told
            self._load_nodes(tree, [page * FANOUT for page in pages], read_records)
            for page in pages:
                tree.node(page)  # holes have none in the store, and are known from now on

    def page(self, page: int, read_records: ReadRecords) -> bytes:
        """The hashes under one Merkle node; empty where there is none. Raises IntegrityError, StoreError."""
        return self._loaded_tree(read_records).node(page) if self.sector_count > 1 and self._staged is None else b""

    def next_stored(self, first: int, read_records: ReadRecords) -> int | None:
        """The first sector from one on that is no hole. Raises IntegrityError, StoreError."""
        if self._tree is None and self.sector_count <= 1:
            return 0 if first == 0 and self.root != HOLE else None
        return self._loaded_tree(read_records).next_stored(first)

    def next_hole(self, first: int, read_records: ReadRecords) -> int:
        """The first sector from one on that is a hole, or lies behind the end. Raises IntegrityError, StoreError."""
        if self._tree is None and self.sector_count <= 1:
            return first if first or self.root == HOLE else 1
        return self._loaded_tree(read_records).next_hole(first)

    def present(self, first: int, count: int, read_records: ReadRecords) -> list[bool]:
        """Which of some consecutive sectors are no holes."""
        return [expected != HOLE for expected in self._expected(range(first, first + count), read_records)]

    def plan(
        self,
        leaves: Mapping[int, bytes],
        stored: Mapping[int, bytes],
        cut: int,
        sector_count: int,
        read_records: ReadRecords,
    ) -> Plan:
        """Stage the next version: sectors from `cut` on vanish, then `leaves` (hashes; HOLE to punch) take effect.

        `stored` are the sealed sectors behind those of `leaves` that are no holes.
        """
        cut = min(cut, sector_count)
        gained = len(stored) - self._replaced(leaves, cut, read_records) - self._vanishing(cut, read_records)
        if self._tree is None and max(self.sector_count, sector_count) <= 1:
            plan = self._plan_small(leaves, cut, sector_count)
        else:
            try:
                plan = self._plan_tree(leaves, cut, sector_count, read_records)
            except BaseException:
                self._tree = None  # it may be half way to the new version
                raise
        plan.gained = gained
        plan.runs = [*_runs(0, stored), *_node_runs(plan.nodes)]
        self._staged = plan
        return plan

    def settle(self, plan: Plan, version: int, chain: bytes, renewed: RenewedKey | None) -> None:
        """The staged version was committed, `renewed`: under this key."""
        if renewed is not None:
            self.key, self.key_epoch = renewed.key, renewed.key_epoch
            self._cipher = self.renewed = None
        self.version, self.chain = version, chain
        self.root, self.sector_count = plan.root, plan.sector_count
        self._staged = self.small = None

    def revert(self) -> None:
        """The staged version was not committed."""
        if self._staged is not None:
            self._staged = self._tree = None

    def _plan_small(self, leaves: Mapping[int, bytes], cut: int, sector_count: int) -> Plan:
        """At most one sector before and after: the root is its hash."""
        root = leaves.get(0)
        if root is None or not sector_count:
            root = self.root if cut and sector_count else HOLE
        plan = Plan(root, sector_count)
        if self.root != HOLE and root == HOLE:
            plan.holes.append(RecordHole(0, 0, 1))
        return plan

    def _plan_tree(self, leaves: Mapping[int, bytes], cut: int, sector_count: int, read_records: ReadRecords) -> Plan:
        tree = self._loaded_tree(read_records)
        nodes: dict[tuple[int, int], bytes | None] = {}
        holes: list[RecordHole] = []
        updates = [(leaves, sector_count)]
        if cut < tree.sector_count:
            updates.insert(0, ({}, cut))
        for changes, count in updates:
            update = tree.update(changes, count)
            tree.apply(update)
            holes += [RecordHole(d.level, d.first, d.count) for d in update.dropped]
            for drop in update.dropped:
                for key in [k for k in nodes if k[0] == drop.level and drop.first <= k[1] < drop.first + drop.count]:
                    del nodes[key]
            nodes.update(update.nodes)
        holes += [RecordHole(level, index, 1) for (level, index), node in nodes.items() if node is None]
        holes += _holes(index for index, leaf in leaves.items() if leaf == HOLE and index < cut)
        plan = Plan(tree.root, sector_count)
        plan.nodes, plan.holes = nodes, holes
        return plan

    def _replaced(self, leaves: Mapping[int, bytes], cut: int, read_records: ReadRecords) -> int:
        """How many of the sectors to be written are there already."""
        end = min(cut, self.sector_count)
        indexes = [index for index in leaves if index < end]
        return sum(digest != HOLE for digest in self._expected(indexes, read_records)) if indexes else 0

    def _vanishing(self, cut: int, read_records: ReadRecords) -> int:
        """How many sectors are there from `cut` on. Counted up to a bound: `st_blocks` is no promise."""
        end = min(self.sector_count, cut + MAX_COUNTED)
        step = 256
        return sum(sum(self.present(first, min(step, end - first), read_records)) for first in range(cut, end, step))

    def _expected(self, indexes: Sequence[int], read_records: ReadRecords) -> list[bytes]:
        """The hashes that some sectors must have, in order."""
        if self._tree is None and self.sector_count <= 1:
            return [self.root if index == 0 else HOLE for index in indexes]
        tree = self._loaded_tree(read_records)
        if len(indexes) > 1:
            self._load_nodes(tree, indexes, read_records)
        return tree.leaves(indexes)

    def _loaded_tree(self, read_records: ReadRecords) -> SectorTree:
        if self._tree is None:

            def fetch(level: int, index: int) -> bytes | memoryview | None:
                staged = self._staged
                if staged is not None and staged.nodes.get((level, index)) is not None:
                    return staged.nodes[level, index]
                return read_records(self.block, [RecordRef(level, index)]).records[0]

            self._tree = SectorTree(self.root, self.sector_count, fetch)
        return self._tree

    def _load_nodes(self, tree: SectorTree, indexes: Sequence[int], read_records: ReadRecords) -> None:
        """The nodes above some sectors in one request."""
        missing = tree.missing(indexes)
        if len(missing) < 2 or self._staged is not None:
            return
        found = read_records(self.block, [RecordRef(*key) for key in missing]).records
        tree.supply({key: node for key, node in zip(missing, found, strict=True) if node is not None})


def _holes(indexes: Iterable[int]) -> Iterable[RecordHole]:
    """Sectors to drop, as ranges."""
    first = end = -1
    for index in sorted(indexes):
        if index != end:
            if end > first:
                yield RecordHole(0, first, end - first)
            first = index
        end = index + 1
    if end > first:
        yield RecordHole(0, first, end - first)


def _runs(level: int, records: Mapping[int, bytes]) -> Iterable[RecordRun]:
    """Records by number, as runs of consecutive ones."""
    if records and max(records) - min(records) == len(records) - 1:
        yield RecordRun(level, min(records), [records[index] for index in sorted(records)])
        return
    run: list[bytes | memoryview] = []
    first = before = -1
    for index in sorted(records):
        if run and index == before + 1:
            run.append(records[index])
        else:
            if run:
                yield RecordRun(level, first, run)
            first, run = index, [records[index]]
        before = index
    if run:
        yield RecordRun(level, first, run)


def _node_runs(nodes: Mapping[tuple[int, int], bytes | None]) -> Iterable[RecordRun]:
    levels: dict[int, dict[int, bytes]] = {}
    for (level, index), node in nodes.items():
        if node is not None:
            levels.setdefault(level, {})[index] = node
    for level, records in levels.items():
        yield from _runs(level, records)
