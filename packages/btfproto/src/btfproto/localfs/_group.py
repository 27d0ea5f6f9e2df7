"""A group: everything dirty at one moment, on its way into the store as one commit.

    freeze   under the lock    live layers become frozen ones, attributes are copied: microseconds an inode
    seal     without the lock  sectors sealed and hashed, trees planned (briefly under the lock), headers signed
    settle   under the lock    the store has it: frozen layers become cache, versions advance
    revert   under the lock    the store refused it: frozen layers go back under the live ones, nothing is lost

An object that was made and removed within one group never gets here. One that is removed but still open stays in
memory, unless memory is short.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from btlib.block import HOLE, NONCE_SIZE, REMOVED, SECTOR_BITS, Header, SectorCipher, encode_signed_header, sign_commit

from ..provider import FileKind
from ..store import BlockChange, Commit
from ._attributes import SealedAttributes, encode_attributes
from ._blocks import SECTOR_SIZE, Plan
from ._cache import new_base
from ._chunks import CHUNK_BITS, CHUNKS
from ._content import NO_CUT, Layer
from ._core import Core
from ._entropy import Entropy
from ._inode import Inode
from ._node_table import Layer as NodeLayer

EMPTY_PLAN = Plan(HOLE, 0)
CROWDING = 2  #: what one file has in a group is not cached where it would take more than a quarter of the cache


class Member:
    """One inode's part in a group."""

    __slots__ = (
        "attributes",
        "inode",
        "layer",
        "nodes",
        "plan",
        "removed",
        "renewed",
        "sector_count",
        "version",
        "writer",
    )

    def __init__(self, inode: Inode, removed: bool) -> None:
        inode.frozen = True
        self.inode = inode
        self.removed = removed
        self.renewed = inode.store.renewed
        self.version = inode.store.version + 1
        self.attributes: SealedAttributes | None = None
        self.layer: Layer | None = None
        self.nodes: NodeLayer | None = None
        self.sector_count = 0
        self.plan = EMPTY_PLAN
        self.writer = b""


class Group:
    """A frozen group. `commit` is there once it was sealed; the same one is sent again where its fate is unknown."""

    __slots__ = ("commit", "in_doubt", "members", "number", "size")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size  #: what it counts towards the dirty limit
        self.members: list[Member] = []
        self.commit: Commit | None = None
        self.in_doubt = False  #: it was sent: an attempt may have taken effect


def freeze(core: Core, spill: bool) -> Group:
    """Take everything dirty. `spill`: also what is removed but open, because memory is short. Under the lock."""
    group = Group(core.live_group, core.dirty_bytes)
    dirty, core.dirty = core.dirty, {}
    core.live_group += 1
    core.dirty_bytes, core.frozen_bytes = 0, core.dirty_bytes
    for inode in dirty.values():
        if inode.links == 0 and inode.opens and not spill:
            _keep(core, group, inode)
        elif inode.links or inode.opens:
            group.members.append(_frozen(inode))
        elif inode.store.version:
            group.members.append(Member(inode, removed=True))
    return group


def _keep(core: Core, group: Group, inode: Inode) -> None:
    """An open file without a name waits for its last close."""
    inode.group = core.live_group
    core.dirty[inode.number] = inode
    size = inode.content.live.size if inode.content else 0
    core.dirty_bytes += size
    core.frozen_bytes -= size
    group.size -= size


def _frozen(inode: Inode) -> Member:
    member = Member(inode, removed=False)
    member.attributes = inode.seal()
    if inode.nodes is not None and inode.directory is not None:
        member.nodes = inode.nodes.freeze()
        member.sector_count = inode.directory.sectors
    elif inode.kind is FileKind.FILE:
        member.sector_count = -(-inode.size // SECTOR_SIZE)
        if inode.content is not None:
            member.layer = inode.content.freeze()
    return member


def seal(core: Core, group: Group, entropy: Entropy, now: int, fences: Iterable[tuple[bytes, int]]) -> Commit:
    """Make the commit of a frozen group. Raises FsError, IntegrityError, StoreError (then `revert`)."""
    headers = []
    for member in group.members:
        member.writer = core.writers.id(member.inode.store.scope, now)
        headers.append(_tombstone(member, now) if member.removed else _seal_member(core, member, entropy, now))
    signed = sign_commit(core.writers.signer(group.members[0].inode.store.scope, now), headers)
    changes = [
        BlockChange(
            block=header.block,
            expected=member.version - 1,
            version=member.version,
            signed=encode_signed_header(proof),
            removed=member.removed,
            holes=member.plan.holes,
            runs=member.plan.runs,
        )
        for member, header, proof in zip(group.members, headers, signed, strict=True)
    ]
    group.commit = Commit(request=entropy.take(16), changes=changes, fences=list(fences))
    return group.commit


def _tombstone(member: Member, now: int) -> Header:
    store = member.inode.store
    return Header(
        flags=REMOVED,
        block=store.block,
        scope=store.scope,
        version=member.version,
        key_epoch=store.key_epoch,
        sector_bits=SECTOR_BITS,
        chain=member.writer,
        written=now,
    )


def _seal_member(core: Core, member: Member, entropy: Entropy, now: int) -> Header:
    store = member.inode.store
    renewed, take = member.renewed, entropy.take
    cipher = store.cipher if renewed is None else SectorCipher(renewed.key, store.block, renewed.key_epoch)
    sectors = _plain_sectors(member)
    plain = {index: content for index, content in sectors.items() if content}
    leaves = {} if len(plain) == len(sectors) else {index: HOLE for index, content in sectors.items() if not content}
    indexes = list(plain)
    records, hashes = cipher.seal_all(indexes, list(plain.values()), take(NONCE_SIZE * len(indexes)))
    stored = dict(zip(indexes, records, strict=True))
    leaves.update(zip(indexes, hashes, strict=True))
    cut = NO_CUT if member.layer is None else member.layer.cut
    with core.mutex:
        plan = member.plan = store.plan(leaves, stored, cut, member.sector_count, core.read_records)
    attributes = member.attributes
    assert attributes is not None
    if attributes.kind is FileKind.FILE:
        attributes.stored = max(attributes.stored + plan.gained, 0)
    sealed = cipher.seal_attributes(member.version, encode_attributes(attributes), take(NONCE_SIZE))
    if not member.inode.opens or member.sector_count <= 1:
        store.rest()
    return Header(
        block=store.block,
        scope=store.scope,
        version=member.version,
        key_epoch=store.key_epoch if renewed is None else renewed.key_epoch,
        sector_bits=SECTOR_BITS,
        sector_count=plan.sector_count,
        root=plan.root,
        chain=member.writer,
        written=now,
        attributes=sealed,
    )


def _plain_sectors(member: Member) -> Mapping[int, bytes | bytearray]:
    """What the sectors become; b"" for a hole."""
    if member.nodes is not None:
        nodes = member.nodes.items()
        return {i: b"" if node is None else node.encode() for i, node in nodes if i < member.sector_count}
    layer = member.layer
    if layer is None or not layer.punched:
        return {} if layer is None else layer.sectors
    end = min(member.inode.store.sector_count, layer.cut)
    holes = (index for first, last in layer.punched for index in range(first, min(last, end)))
    return dict.fromkeys(holes, b"") | layer.sectors


def settle(core: Core, group: Group) -> None:
    """The store has it. Under the lock."""
    for member in group.members:
        inode, store = member.inode, member.inode.store
        inode.frozen = False
        if member.removed:
            store.version = member.version
            core.table.pop(inode.number, None)
            continue
        store.settle(member.plan, member.version, member.writer, member.renewed)
        assert member.attributes is not None
        inode.stored, inode.shown = member.attributes.stored, None
        inode.error = None
        if inode.nodes is not None:
            inode.nodes.settle()
        elif inode.content is not None and member.layer is not None:
            _cache_layer(core, inode, member.layer)
            inode.content.frozen = None
            if inode.content.live.empty:
                inode.content = None
    core.frozen_bytes = 0
    core.trim()


def _cache_layer(core: Core, inode: Inode, layer: Layer) -> None:
    """What was committed is the clean content now; what vanished must not be found in the cache any more."""
    if layer.cut != NO_CUT or layer.punched or not inode.cache_base:
        inode.cache_base = new_base()
    base, cache = inode.cache_base, core.sectors
    if inode.chunked:
        for number in {index >> CHUNK_BITS for index in layer.sectors}:
            cache.drop(base + CHUNKS + number)
    if layer.size > cache.limit >> CROWDING:  # it would push everything out, itself too
        cache.drop_all(base, layer.sectors)
        return
    for index, plain in layer.sectors.items():
        cache.put(base + index, plain, len(plain))


def revert(core: Core, group: Group) -> None:
    """The store refused it; everything is live again. Under the lock."""
    for member in group.members:
        inode = member.inode
        inode.frozen = False
        inode.store.revert()
        if inode.nodes is not None and not member.removed:
            inode.nodes.revert()
        elif inode.content is not None and member.layer is not None:
            inode.content.revert()
        inode.group = core.live_group
        core.dirty.setdefault(inode.number, inode)
    core.dirty_bytes += group.size
    core.frozen_bytes = 0
