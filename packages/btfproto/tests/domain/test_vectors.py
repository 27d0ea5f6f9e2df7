"""The vectors of the specification: each does what it says, and is what the program makes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from btfproto.domain import DomainRecord, Grants, ScopeRecord, domain_block, grants_block, scope_block
from btlib.labels import Label
from btserde import decode, encode

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))
RECORDS = {"DomainRecord": DomainRecord, "ScopeRecord": ScopeRecord, "Grants": Grants}
SCOPE = b"root scope......"


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def slow_id(label: Label, *parts: bytes) -> bytes:
    joined = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    return hashlib.sha256(label.value + joined).digest()[:16]


def slow_root(content: bytes) -> bytes:
    """The obvious way: all leaves, then one node above them if there is more than one."""
    sectors = [content[start : start + 16_384] for start in range(0, len(content), 16_384)]
    leaves = [
        hashlib.sha256(Label.LEAF.value + index.to_bytes(8, "little") + sector).digest()
        for index, sector in enumerate(sectors)
    ]
    if len(leaves) < 2:
        return leaves[0] if leaves else bytes(32)
    return hashlib.sha256(Label.NODE.value + b"\x01" + bytes(8) + b"".join(leaves)).digest()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_vector_does_what_it_says(path: Path) -> None:
    vector = load(path)
    if vector["kind"] == "content":
        assert slow_root(bytes(i % 251 for i in range(vector["size"]))).hex() == vector["root"]
        return
    encoded = bytes.fromhex(vector["bytes"])
    value = decode(encoded, RECORDS[vector["type"]])
    assert encode(value) == encoded
    assert slow_root(encoded).hex() == vector["root"]
    assert bytes.fromhex(vector["block"]) == block_of(value)


def block_of(value: object) -> bytes:
    match value:
        case DomainRecord():
            assert domain_block(value.root.principal) == slow_id(Label.DOMAIN, value.root.principal.digest)
            return domain_block(value.root.principal)
        case ScopeRecord():
            assert scope_block(value.scope) == slow_id(Label.SCOPE, value.scope)
            return scope_block(value.scope)
        case Grants():
            assert grants_block(SCOPE, value.principal) == slow_id(Label.GRANTS, SCOPE, value.principal.digest)
            return grants_block(SCOPE, value.principal)
    raise AssertionError(value)


def test_the_vectors_are_what_the_program_makes() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "make_vectors.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
