"""The vectors of `docs/spec/block.md`: each does what it says, and is what the program makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from btlib import BlocktreeError, KeyPair, Label, Suite
from btlib.block import (
    HOLE,
    Header,
    SectorCipher,
    SectorTree,
    VerifiedRoots,
    decode_header,
    decode_signed_header,
    decode_writer,
    derive_block_id,
    encode_header,
    leaf_hash,
    node_hash,
    verify_signed_header,
)

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))

Vector = dict[str, Any]


def raw(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector[name])


def cipher_of(vector: Vector) -> SectorCipher:
    return SectorCipher(raw(vector, "key"), raw(vector, "block"), vector["key_epoch"])


def check_sector(vector: Vector) -> None:
    assert cipher_of(vector).open(vector["index"], raw(vector, "stored")) == raw(vector, "plain")


def check_attributes(vector: Vector) -> None:
    assert cipher_of(vector).open_attributes(vector["version"], raw(vector, "sealed")) == raw(vector, "plain")


def check_tree(vector: Vector) -> None:
    nodes = {tuple(map(int, key.split("/"))): bytes.fromhex(node) for key, node in vector["nodes"].items()}
    leaves = {int(i): leaf_hash(int(i), bytes.fromhex(sector)) for i, sector in vector["sectors"].items()}
    count = vector["sector_count"]
    update = SectorTree(HOLE, 0, lambda level, index: None).update(leaves, count)
    assert (update.root.hex(), update.nodes) == (vector["root"], nodes)
    tree = SectorTree(update.root, count, lambda level, index: nodes.get((level, index)))
    assert {index: tree.leaf(index) for index in leaves} == leaves


def check_node(vector: Vector) -> None:
    node = raw(vector, "node")
    SectorTree(node_hash(1, 0, node), 2, lambda level, index: node).leaf(0)


def check_header(vector: Vector) -> None:
    header = decode_header(raw(vector, "encoding"))
    fields: Vector = {k: bytes.fromhex(v) if isinstance(v, str) else v for k, v in vector["fields"].items()}
    assert header == Header(**fields)
    assert encode_header(header) == raw(vector, "encoding")


def check_commit(vector: Vector) -> None:
    public, verified = KeyPair.from_seed(Suite.ED25519_X25519, raw(vector, "seed")).public, VerifiedRoots()
    for signed in vector["signed"]:
        verify_signed_header(decode_signed_header(bytes.fromhex(signed)), public, verified)
    assert len(verified) == 1


def check_writer(vector: Vector) -> None:
    record = decode_writer(raw(vector, "encoding"), raw(vector, "id"))
    assert record.public == KeyPair.from_seed(Suite.ED25519_X25519, raw(vector, "seed")).public
    assert record.block == raw(vector, "block")


def check_derived(vector: Vector) -> None:
    parts = [bytes.fromhex(part) for part in vector["parts"]]
    assert derive_block_id(Label[vector["label"]], *parts) == raw(vector, "block")


CHECKS = {
    "sector": check_sector,
    "attributes": check_attributes,
    "tree": check_tree,
    "node": check_node,
    "header": check_header,
    "commit": check_commit,
    "writer": check_writer,
    "derived": check_derived,
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_vector(file: Path) -> None:
    vector: Vector = json.loads(file.read_text())
    if vector["expect"] == "accept":
        CHECKS[vector["kind"]](vector)
    else:
        with pytest.raises(BlocktreeError):
            CHECKS[vector["kind"]](vector)


def test_the_program_makes_these_very_vectors() -> None:
    command = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
