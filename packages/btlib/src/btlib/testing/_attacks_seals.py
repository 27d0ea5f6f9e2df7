"""Attacks on seals, sectors and trees: for another, for another place, of another shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import msgspec
from btserde import U32, Fixed, encode

from ..block import HOLE, SectorCipher, SectorTree, leaf_hash, node_hash
from ..labels import Label
from ..paths import BlockPath
from ..principals import Principal
from ..public_keys import Suite
from ..readcaps import Readcap, seal_readcap
from ._attack import Judge, attack, refuse
from ._identities import make_keys

ROOT = BlockPath(make_keys("root").public.principal)
BLOCK, OTHER_BLOCK, KEY = bytes(range(16)), bytes(range(16, 32)), bytes(range(32))
NONCE = bytes(12)


@attack("wrong-recipient-readcap", "a readcap is opened by another, or made over to another")
def wrong_recipient(judge: Judge) -> None:
    for suite in Suite:
        alice, eve = make_keys("alice", suite), make_keys("eve", suite)
        readcap = seal_readcap(alice.public, block=BLOCK, key_epoch=1, key=KEY, path=ROOT)
        assert judge.open_readcap(alice, encode(readcap)) == KEY
        moved = msgspec.structs.replace(readcap, subject=eve.public.principal)
        for other in (readcap, moved):
            refuse(partial(judge.open_readcap, eve, encode(other)), "another's readcap")


@attack("key-substitution-readcap", "a readcap names another block or key epoch than was sealed, or was changed")
def substituted(judge: Judge) -> None:
    for suite in Suite:
        alice = make_keys("alice", suite)
        readcap = seal_readcap(alice.public, block=BLOCK, key_epoch=1, key=KEY, path=ROOT)
        assert judge.open_readcap(alice, encode(readcap)) == KEY
        others = [
            msgspec.structs.replace(readcap, block=OTHER_BLOCK),
            msgspec.structs.replace(readcap, key_epoch=2),
            msgspec.structs.replace(readcap, sealed=readcap.sealed[:-1]),
            msgspec.structs.replace(readcap, sealed=readcap.sealed[:-1] + bytes((readcap.sealed[-1] ^ 1,))),
            msgspec.structs.replace(readcap, sealed=bytes((readcap.sealed[0] ^ 1,)) + readcap.sealed[1:]),
        ]
        for other in others:
            refuse(_opening(judge, suite, other), "a readcap that was changed")


@attack("padded-readcap", "a readcap of which not every byte is accounted for")
def padded(judge: Judge) -> None:
    alice = make_keys("alice")
    good = seal_readcap(alice.public, block=BLOCK, key_epoch=1, key=KEY, path=ROOT)
    assert judge.open_readcap(alice, encode(good)) == KEY
    info = encode(_Info(alice.public.principal, BLOCK, 1))
    plain = KEY + encode(str(ROOT))
    whole = plain + bytes(-len(plain) % 256)
    for text in (plain, whole + bytes(256), whole[:-1] + b"x", KEY + bytes(224), b"", whole[:255]):
        sealed = alice.public.seal(Label.READCAP, info, text)
        other = msgspec.structs.replace(good, sealed=sealed)
        refuse(_opening(judge, Suite.ED25519_X25519, other), f"a readcap of {len(text)} bytes")


class _Info(msgspec.Struct, frozen=True):
    """What a readcap is sealed for, as the specification has it."""

    subject: Principal
    block: Annotated[bytes, Fixed[16]]
    key_epoch: U32


def _opening(judge: Judge, suite: Suite, readcap: Readcap) -> Callable[[], bytes]:
    keys = make_keys("alice", suite)
    return lambda: judge.open_readcap(keys, encode(readcap))


@attack("moved-sector", "a sector is shown at another index, block or key epoch, or as attributes")
def moved_sector(judge: Judge) -> None:
    cipher = SectorCipher(KEY, BLOCK, 1)
    stored = cipher.seal(3, b"content", NONCE)
    assert judge.open_sector(KEY, BLOCK, 1, 3, stored) == b"content"
    for block, epoch, index in ((BLOCK, 1, 2), (BLOCK, 1, 3 + 2**32), (BLOCK, 2, 3), (OTHER_BLOCK, 1, 3)):
        refuse(partial(judge.open_sector, KEY, block, epoch, index, stored), "a sector elsewhere")
    attributes = cipher.seal_attributes(3, b"content", NONCE)
    refuse(lambda: judge.open_sector(KEY, BLOCK, 1, 3, attributes), "attributes as a sector")


@attack("changed-sector", "a sector with a bit flipped, cut off, or longer")
def changed_sector(judge: Judge) -> None:
    stored = SectorCipher(KEY, BLOCK, 1).seal(3, b"content", NONCE)
    assert judge.open_sector(KEY, BLOCK, 1, 3, stored) == b"content"
    flipped = [stored[:i] + bytes((stored[i] ^ 1,)) + stored[i + 1 :] for i in range(len(stored))]
    for other in [*flipped, *(stored[:size] for size in range(len(stored))), stored + b"\0", b"\0" + stored]:
        refuse(partial(judge.open_sector, KEY, BLOCK, 1, 3, other), "a changed sector")


# Trees. A tree of 300 sectors has two nodes under its root.

COUNT = 300
LEAVES = {index: leaf_hash(index, f"sector {index}".encode()) for index in range(COUNT)}
_UPDATE = SectorTree(HOLE, 0, lambda _level, _index: None).update(LEAVES, COUNT)
Nodes = dict[tuple[int, int], bytes]
NODES: Nodes = {key: node for key, node in _UPDATE.nodes.items() if node is not None}


def _leaf(
    judge: Judge, index: int, nodes: dict[tuple[int, int], bytes], count: int = COUNT, root: bytes = b""
) -> bytes:
    return judge.leaf(root or _UPDATE.root, count, index, lambda level, i: nodes.get((level, i)))


def _honest(judge: Judge) -> None:
    for index in (0, 255, 256, COUNT - 1):
        assert _leaf(judge, index, NODES) == LEAVES[index]


@attack("merkle-swapped-nodes", "nodes of a tree are exchanged, flipped, cut off, missing")
def swapped_nodes(judge: Judge) -> None:
    _honest(judge)
    first, second = NODES[1, 0], NODES[1, 1]
    for other in ({(1, 0): second}, {(1, 0): first[32:] + first[:32]}, {(1, 0): first[:-32]}, {(1, 0): b""},
                  {(1, 0): bytes((first[0] ^ 1,)) + first[1:]}, {(2, 0): first}):  # fmt: skip
        refuse(partial(_leaf, judge, 0, NODES | other), "another node")
    missing = {key: node for key, node in NODES.items() if key != (1, 0)}
    refuse(lambda: _leaf(judge, 0, missing), "no node")


@attack("merkle-leaf-node-confusion", "a node is passed off as a sector, or a sector as a node")
def leaf_node(judge: Judge) -> None:
    _honest(judge)
    assert leaf_hash(0, NODES[1, 0]) != node_hash(1, 0, NODES[1, 0])
    assert _leaf(judge, 0, {(1, 0): LEAVES[0] + LEAVES[1]}, 2, node_hash(1, 0, LEAVES[0] + LEAVES[1])) == LEAVES[0]
    refuse(lambda: _leaf(judge, 0, {(1, 0): LEAVES[0]}, 2, leaf_hash(0, LEAVES[0])), "a sector as a node")
    refuse(lambda: _leaf(judge, 0, {(2, 0): NODES[1, 0]}, COUNT, node_hash(1, 0, NODES[1, 0])), "a node one level up")
    refuse(lambda: _leaf(judge, 0, {(1, 0): NODES[2, 0]}, 256, _UPDATE.root), "a tree shown one level lower")


@attack("merkle-second-shape", "one root is shown as a tree of another size, or a node is filled up with holes")
def second_shape(judge: Judge) -> None:
    _honest(judge)
    last = NODES[1, 1] + HOLE
    top = NODES[2, 0][:32] + node_hash(1, 1, last)
    longer = {**NODES, (1, 1): last, (2, 0): top}
    refuse(lambda: _leaf(judge, COUNT - 1, longer, COUNT, node_hash(2, 0, top)), "a node that ends in a hole")
    two = LEAVES[0] + LEAVES[1]
    refuse(lambda: _leaf(judge, 0, {(1, 0): two + LEAVES[2]}, 2, node_hash(1, 0, two + LEAVES[2])), "too many children")
    refuse(lambda: _leaf(judge, 0, {(1, 0): two + b"x"}, 2, node_hash(1, 0, two + b"x")), "half a child")
    for count in (0, 1, 256, 65_537):
        refuse(partial(_gives, judge, COUNT - 1, count), "a tree of another size")


def _gives(judge: Judge, index: int, count: int) -> bool:
    """Whether the tree gives its sector too when its root is shown with another count (it may give a hole)."""
    return _leaf(judge, index, NODES, count) == LEAVES[index]


@attack("merkle-length-extension", "a hash is carried on from where it ended, with more children behind the node")
def length_extension(judge: Judge) -> None:
    _honest(judge)
    node = NODES[1, 1]
    size = len(Label.NODE.value) + 9 + len(node)
    padding = b"\x80" + bytes(-(size + 9) % 64) + (8 * size).to_bytes(8)
    extended = {**NODES, (1, 1): node + padding + LEAVES[0]}
    refuse(lambda: _leaf(judge, 256, extended), "a node that was carried on")
