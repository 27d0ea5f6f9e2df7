"""The vectors of the specification: each does what it says, and is what the program makes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from btfproto.domain import (
    NOTHING_SEEN,
    DomainRecord,
    Grants,
    ScopeRecord,
    check_list,
    check_succession,
    domain_block,
    grants_block,
    is_renewable,
    revocations_block,
    scope_block,
    seen_list,
)
from btfproto.testing.domains import person
from btlib import Chain, Principal, PublicKeys
from btlib.block import Header, WriterRecord
from btlib.errors import BlocktreeError
from btlib.labels import Label
from btlib.revocations import RevocationList, Revocations
from btlib.verification import verify_chain
from btlib.writecaps import Rights
from btserde import decode, encode

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))
RECORDS = {
    "DomainRecord": DomainRecord,
    "ScopeRecord": ScopeRecord,
    "Grants": Grants,
    "RevocationList": RevocationList,
}
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
    if vector["kind"] == "list":
        judge(vector)
        return
    if vector["kind"] == "renewal":
        judge_renewal(vector)
        return
    encoded = bytes.fromhex(vector["bytes"])
    value = decode(encoded, RECORDS[vector["type"]])
    assert encode(value) == encoded
    assert slow_root(encoded).hex() == vector["root"]
    assert bytes.fromhex(vector["block"]) == block_of(value)


def judge(vector: dict[str, Any]) -> None:
    """What a reader says of a list that a store shows, perhaps after another one."""
    record = decode(bytes.fromhex(vector["bytes"]), RevocationList)
    assert encode(record).hex() == vector["bytes"]
    chain = Chain.decode(bytes.fromhex(vector["chain"]))
    writer = WriterRecord(chain=chain, public=decode(bytes.fromhex(vector["writer"]), PublicKeys))
    fields = vector["header"]
    header = header_of(fields["version"], bytes.fromhex(fields["scope"]), fields["written"])
    seen = NOTHING_SEEN
    if vector["seen"] is not None:
        before = decode(bytes.fromhex(vector["seen"]["bytes"]), RevocationList)
        seen = seen_list(before, header_of(before.version, SCOPE, vector["seen"]["written"]))
    root, scope = Principal.parse(vector["root"]), bytes.fromhex(vector["root_scope"])
    expected = nullcontext() if vector["expect"] == "accept" else pytest.raises(BlocktreeError, match=vector["expect"])
    with expected:
        check_list(record, header, writer, root=root, scope=scope)
        check_succession(seen, seen_list(record, header))


def judge_renewal(vector: dict[str, Any]) -> None:
    """The rules once more, the slow way, but for the chain itself, which `verify_chain` judges."""
    chain = Chain.decode(bytes.fromhex(vector["chain"]))
    server = Chain.decode(bytes.fromhex(vector["server"])).last
    last, now = chain.last, vector["now"]
    root, subject = Principal.parse(vector["root"]), Principal.parse(vector["subject"])
    revoked = Revocations(
        version=1,
        serials={bytes.fromhex(serial): since for serial, since in vector["revoked_serials"].items()},
        principals={Principal.parse(who): since for who, since in vector["revoked_principals"].items()},
    )
    assert is_renewable(chain, subject, root, now, revoked) or vector["expect"] == "refuse"
    if vector["follows"] is None:
        assert vector["expect"] == "refuse"
        return
    follows = Chain.decode(bytes.fromhex(vector["follows"])).last
    assert last is not None
    assert server is not None
    assert follows is not None
    assert follows.serial == hashlib.sha256(b"blocktree/1 renewed\0" + last.serial).digest()[:16]
    assert follows.not_before == max(server.not_before, now - 86_700)
    assert follows.not_after == min(server.not_after, now - 86_700 + last.not_after - last.not_before)
    assert (follows.path, follows.scope, follows.rights) == (last.path, last.scope, last.rights)
    new = Chain.decode(bytes.fromhex(vector["follows"]))
    assert verify_chain(new, root=root, subject=subject, right=Rights(0), now=now, revocations=revoked).allowed


def header_of(version: int, scope: bytes, written: int) -> Header:
    return Header(block=bytes(16), scope=scope, version=version, chain=bytes(32), written=written)


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
        case RevocationList():
            root = person(1).principal
            assert revocations_block(root) == slow_id(Label.REVOKED, root.digest)
            return revocations_block(root)
    raise AssertionError(value)


def test_the_vectors_are_what_the_program_makes() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "make_vectors.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
