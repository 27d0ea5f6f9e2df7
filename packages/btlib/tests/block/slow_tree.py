"""The Merkle tree straight from its definition: slow, obvious, and sharing no code with `btlib.block`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from btlib.labels import Label

Nodes = dict[tuple[int, int], bytes]


def slow_tree(leaves: Mapping[int, bytes], count: int) -> tuple[bytes, Nodes]:
    """Root and nodes of a whole tree, straight from the definition; only what is not a hole is visited."""
    level, nodes, width = 0, {}, count
    hashes = {i: h for i, h in leaves.items() if i < count and h != bytes(32)}
    while width > 1:
        level += 1
        width = -(-width // 256)
        parents = {}
        for parent in sorted({i // 256 for i in hashes}):
            children = [hashes.get(parent * 256 + slot, bytes(32)) for slot in range(256)]
            while children[-1] == bytes(32):
                children.pop()
            node = nodes[level, parent] = b"".join(children)
            index = parent.to_bytes(8, "little")
            parents[parent] = hashlib.sha256(Label.NODE.value + bytes([level]) + index + node).digest()
        hashes = parents
    return hashes.get(0, bytes(32)), nodes
