"""Re-keying: new keys for a directory and all below it, so that who was revoked reads nothing that is written later.

Each block keeps its id and gets a random key and a new key epoch; everything of it is sealed anew, and with it, in the
same commit, its entry in the directory above and the readcaps that were granted for it. From the top down, so that no
new key ever stands in a directory that the revoked one can still read. Each commit leaves a whole tree. What was begun
is gone on with (`resume`): a block waits as long as its epoch is below that of the top.

Lazily, only directories are re-keyed, and files for which readcaps were granted: what is made from then on, anywhere
below, has keys of its own that the revoked one cannot find, and names are hidden from it. Files that exist wait, with
their old keys, until they are written (`Renewing`) or it is gone on with.

Nobody else should write there meanwhile: who does makes a commit fail (CONFLICT), and it is gone on with. What stays as
it was is reported: files that are too long for a commit, and files with several names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec
from btlib.block import KEY_SIZE, NONCE_SIZE, SectorCipher
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import Readcap, ReadKey, seal_readcap
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from ..domain import Content, DomainReader, Draft, commit_draft, grants_block, survey_records, unverified_header
from ..errors import FsError
from ..provider import FileKind
from ..store import Head, Store
from ._attributes import SealedAttributes, encode_attributes
from ._blocks import SECTOR_SIZE
from ._content import NO_CUT
from ._directory import DirectoryTree
from ._names import NameHasher
from ._nodes import entry_block, entry_key, entry_kind
from ._opened import MemoryNodes, OpenedBlock, entries_of

MAX_BLOCK_BYTES = 24 * 2**20  #: of one block: it has to fit a commit message (48 MiB) together with its neighbours
BATCH_BYTES = 16 * 2**20  #: of one commit, but for the last block in it
REQUEST_SIZE = 16
BATCH = 256  #: blocks of one commit

KeysOf = Callable[[Principal], PublicKeys | None]
Progress = Callable[[BlockPath, int], None]


@dataclass(kw_only=True)
class Rekeyed:
    """What was done. `kept`: what has its old key still, and why. `unread`: who lost a readcap, its keys unknown.
    `waiting`: how many files have their old key still because they were left for later."""

    epoch: int = 0
    blocks: int = 0
    size: int = 0
    waiting: int = 0
    kept: list[tuple[BlockPath, str]] = field(default_factory=list)
    unread: set[Principal] = field(default_factory=set)


@dataclass(kw_only=True)
class Rekeying:
    """Who re-keys what. `above` is the directory that names `top` (None: it is the root directory of the domain).
    `lazily`: directories alone."""

    store: Store
    identity: Identity
    reader: DomainReader
    top: ReadKey
    above: ReadKey | None
    keys_of: KeysOf
    now: int
    random: Callable[[int], bytes]
    progress: Progress = lambda _path, _size: None
    lazily: bool = False
    chain: Chain = field(init=False)
    done: Rekeyed = field(default_factory=Rekeyed)
    holders: dict[bytes, set[tuple[bytes, Principal]]] = field(
        default_factory=dict
    )  # block → grants records that name it
    allowed: set[bytes] = field(default_factory=set)  # scopes in which the chain may write


def rekey_tree(work: Rekeying, *, resume: bool = False) -> Rekeyed:
    """Re-key `top` and all below. `resume`: only what still waits since an interrupted one.

    Raises FsError: FORBIDDEN (not allowed to write at `above` or where readcaps are recorded), CONFLICT (somebody wrote
    there; resume), INTEGRITY; StoreError.
    """
    try:
        return _rekey(work, resume)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error


def _rekey(work: Rekeying, resume: bool) -> Rekeyed:
    top = _opened(work, work.top)
    place = work.above or work.top
    work.chain = work.identity.chain_for(
        work.reader.root,
        Rights.WRITE,
        work.now,
        path=place.path,
        lineage=work.reader.lineage(top.header.scope),
        revocations=work.reader.revocations,
    )
    survey = survey_records(work.reader)
    for found in survey.grants:
        for readcap in found.grants.readcaps:
            work.holders.setdefault(readcap.block, set()).add((found.header.scope, found.grants.principal))
    # Higher than any: a part that was re-keyed before must not seem to be done.
    work.done.epoch = top.header.key_epoch if resume else survey.key_epoch + 1
    if not resume:
        work.top = _rekey_top(work, top)
    waiting = [work.top]
    while waiting:
        waiting += _rekey_children(work, waiting.pop())
    return work.done


def _opened(work: Rekeying, key: ReadKey) -> OpenedBlock:
    return OpenedBlock(work.reader, key, work.reader.head(key.block))


def _rekey_top(work: Rekeying, top: OpenedBlock) -> ReadKey:
    parent = None if work.above is None else _Parent(work, work.above)
    batch = _Batch(work, parent)
    fresh = batch.add(top, work.top.path.names[-1] if work.top.path.names else "")
    batch.commit()
    return fresh


def _rekey_children(work: Rekeying, key: ReadKey) -> list[ReadKey]:
    """Re-key what a directory names, if it waits; the directories among it, with their keys."""
    parent = _Parent(work, key)
    directories: list[ReadKey] = []
    entries = iter(list(entries_of(parent.tree)))
    while some := list(islice(entries, BATCH)):
        batch = _Batch(work, parent)
        heads = work.reader.heads([entry_block(record) for _, record in some])
        for (name, record), head in zip(some, heads, strict=True):
            child = ReadKey(block=entry_block(record), key_epoch=0, key=entry_key(record), path=key.path.child(name))
            is_directory = entry_kind(record) == FileKind.DIRECTORY
            if work.lazily and not is_directory and child.block not in work.holders:
                work.done.waiting += _epoch(head) < work.done.epoch
                continue
            fresh = _rekey_child(work, batch, name, child, head)
            if fresh is not None and is_directory:
                directories.append(fresh)
            if batch.size >= BATCH_BYTES:
                batch.commit()
                batch = _Batch(work, parent)
        batch.commit()
    return directories


def _rekey_child(work: Rekeying, batch: _Batch, name: str, child: ReadKey, head: Head | None) -> ReadKey | None:
    """Its key from now on; None where it keeps the old one and that is reported."""
    found = OpenedBlock(work.reader, child, head)
    if found.header.key_epoch >= work.done.epoch:
        return replace(child, key_epoch=found.header.key_epoch)
    fault = _fault(found)
    if fault is not None:
        work.done.kept.append((child.path, fault))
        return None
    return batch.add(found, name)


def _epoch(head: Head | None) -> int:
    """Unverified: it is only counted by."""
    return 0 if head is None else unverified_header(head).key_epoch


def _fault(found: OpenedBlock) -> str | None:
    attributes = found.attributes
    if attributes.kind is not FileKind.DIRECTORY and attributes.links > 1:
        return f"it has {attributes.links} names, and another could not be told of a new key"
    if attributes.stored * SECTOR_SIZE > MAX_BLOCK_BYTES or found.header.sector_count * SECTOR_SIZE > 2**36:
        return f"it is longer than the {MAX_BLOCK_BYTES >> 20} MiB that one commit can carry"
    return None


class _Parent:
    """The directory whose entries change. Its tree stays open over several commits."""

    def __init__(self, work: Rekeying, key: ReadKey) -> None:
        self.opened = _opened(work, key)
        self.tree, self.nodes = self.opened.directory()

    def put(self, work: Rekeying, draft: Draft) -> None:
        """Its changed sectors, and its attributes for the next version."""
        nodes = self.nodes
        changed = {sector: nodes.nodes[sector].encode() for sector in sorted(nodes.changed)}
        nodes.changed.clear()
        header = self.opened.header
        put_sealed(work, draft, self.opened, changed, NO_CUT, header.sector_count, self.opened.store.cipher)

    def committed(self, draft: Draft) -> None:
        header = next(header for header in draft.headers if header.block == self.opened.key.block)
        self.opened.header = header
        self.opened.store.adopt(header, None)


class _Batch:
    """Blocks that get new keys in one commit."""

    def __init__(self, work: Rekeying, parent: _Parent | None) -> None:
        self.size = 0
        self._work = work
        self._parent = parent
        self._draft = Draft(work.identity.signer, work.chain, now=work.now)
        self._readcaps: list[ReadKey] = []
        self._paths: list[tuple[BlockPath, int]] = []

    def add(self, found: OpenedBlock, name: str) -> ReadKey:
        """Re-key one block; its key from now on."""
        work, old = self._work, found.key
        fresh = ReadKey(block=old.block, key_epoch=work.done.epoch, key=work.random(KEY_SIZE), path=old.path)
        sectors, count = _content(found, fresh.key)
        cipher = SectorCipher(fresh.key, fresh.block, fresh.key_epoch)
        put_sealed(work, self._draft, found, sectors, 0, count, cipher, key_epoch=fresh.key_epoch)
        if self._parent is not None:
            raw = name.encode()
            self._parent.tree.replace(raw, name, found.attributes.kind, fresh.block, fresh.key)
        self._readcaps.append(fresh)
        size = sum(map(len, sectors.values()))
        self.size += size
        self._paths.append((fresh.path, size))
        return fresh

    def commit(self) -> None:
        """Nothing where nothing was added."""
        work, draft = self._work, self._draft
        if not len(draft):
            return
        if self._parent is not None:
            self._parent.put(work, draft)
        _put_grants(work, draft, self._readcaps)
        for header in draft.headers:
            _require_write(work, header.scope)
        commit_draft(work.store, draft, draft.headers[0].scope, work.random(REQUEST_SIZE))
        if self._parent is not None:
            self._parent.committed(draft)
        for path, size in self._paths:
            work.done.blocks, work.done.size = work.done.blocks + 1, work.done.size + size
            work.progress(path, size)


def put_sealed(
    work: Rekeying,
    draft: Draft,
    found: OpenedBlock,
    sectors: dict[int, bytes],
    cut: int,
    count: int,
    cipher: SectorCipher,
    *,
    key_epoch: int | None = None,
) -> None:
    """The next version of a block: those from `cut` on go, these sectors come; the attributes are sealed anew."""
    header, indexes = found.header, list(sectors)
    stored, hashes = cipher.seal_all(indexes, list(sectors.values()), work.random(NONCE_SIZE * len(indexes)))
    plan = found.store.plan(
        dict(zip(indexes, hashes, strict=True)),
        dict(zip(indexes, stored, strict=True)),
        cut,
        count,
        work.store.read_records,
    )
    plain = encode_attributes(found.attributes)
    draft.put(
        block=header.block,
        scope=header.scope,
        content=Content(root=plan.root, sector_count=plan.sector_count, runs=tuple(plan.runs), holes=tuple(plan.holes)),
        key_epoch=header.key_epoch if key_epoch is None else key_epoch,
        sector_bits=header.sector_bits,
        attributes=cipher.seal_attributes(header.version + 1, plain, work.random(NONCE_SIZE)),
        previous=header,
    )


def _content(found: OpenedBlock, key: bytes) -> tuple[dict[int, bytes], int]:
    """What the sectors hold, and how many there are. A directory's names are hashed under its key: so a new tree."""
    if found.attributes.kind is not FileKind.DIRECTORY:
        return found.sectors(), found.header.sector_count
    old, _ = found.directory()
    hasher = NameHasher(key)
    nodes = MemoryNodes(hasher)
    tree = DirectoryTree(nodes, hasher, SECTOR_SIZE)
    for name, record in entries_of(old):
        tree.insert(name.encode(), name, entry_kind(record), entry_block(record), entry_key(record))
    attributes: SealedAttributes = found.attributes
    attributes.entries, attributes.free = tree.entries, tree.free
    return {sector: nodes.nodes[sector].encode() for sector in sorted(nodes.changed)}, tree.sectors


def _put_grants(work: Rekeying, draft: Draft, keys: Sequence[ReadKey]) -> None:
    """The readcaps of these blocks, made anew for all who may go on reading."""
    concerned = sorted({holder for key in keys for holder in work.holders.get(key.block, ())}, key=_by_scope)
    for scope, principal in concerned:
        header, grants = work.reader.grants(scope, principal)
        fresh = {key.block: key for key in keys}
        kept = tuple(readcap for readcap in grants.readcaps if readcap.block not in fresh)
        named = [fresh[readcap.block] for readcap in grants.readcaps if readcap.block in fresh]
        readcaps = (*kept, *_seal_for(work, principal, named))
        record = msgspec.structs.replace(grants, readcaps=readcaps)
        draft.put_public(grants_block(scope, principal), scope, record, previous=header)


def _by_scope(holder: tuple[bytes, Principal]) -> tuple[bytes, str]:
    return holder[0], str(holder[1])


def _seal_for(work: Rekeying, principal: Principal, keys: Iterable[ReadKey]) -> Iterator[Readcap]:
    if work.reader.revocations.revoked(principal, work.now) is not None:
        return
    public = work.keys_of(principal)
    if public is None:
        work.done.unread.add(principal)
        return
    for key in keys:
        yield seal_readcap(public, block=key.block, key_epoch=key.key_epoch, key=key.key, path=key.path)


def _require_write(work: Rekeying, scope: bytes) -> None:
    """A store in this process checks nothing; so it is checked here. Raises CapabilityError."""
    if scope in work.allowed:
        return
    verify_chain(
        work.chain,
        root=work.reader.root,
        subject=work.identity.principal,
        right=Rights.WRITE,
        now=work.now,
        lineage=work.reader.lineage(scope),
        revocations=work.reader.revocations,
    ).require()
    work.allowed.add(scope)
