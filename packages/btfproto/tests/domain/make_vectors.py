"""Makes the test vectors of `docs/spec/domain.md`, one scenario a file.

python packages/btfproto/tests/domain/make_vectors.py            write vectors/*.json beside this file
python packages/btfproto/tests/domain/make_vectors.py --check    compare instead, and fail on any difference
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from btfproto.domain import DomainRecord, Grants, ScopeRecord, domain_block, grants_block, public_content, scope_block
from btfproto.testing.domains import NOW, person
from btlib import BlockPath, Chain, Readcap, Rights, issue_writecap
from btserde import encode

HERE = Path(__file__).resolve().parent

Vector = dict[str, Any]

ROOT, ALICE = person(1), person(2)
SCOPE, INNER, DIRECTORY, SERIAL = b"root scope......", b"inner scope.....", b"root directory..", b"serial.........."
CHAIN = issue_writecap(
    ROOT.signer,
    Chain(),
    subject=ALICE.principal,
    path=BlockPath(ROOT.principal),
    scope=SCOPE,
    rights=Rights.WRITE,
    not_before=NOW,
    not_after=NOW + 86_400,
    may_delegate=False,
    serial=SERIAL,
)
READCAP = Readcap(subject=ALICE.principal, block=DIRECTORY, key_epoch=0, sealed=b"sealed; any bytes do here")


def vectors() -> Iterator[tuple[str, Vector]]:
    domain = DomainRecord(root=ROOT.public, directory=DIRECTORY, scope=SCOPE)
    yield "domain", record("the record of a domain", domain, domain_block(ROOT.principal))
    top = ScopeRecord(scope=SCOPE, parent=None, directory=DIRECTORY)
    yield "scope-root", record("the record of the root scope", top, scope_block(SCOPE))
    inner = ScopeRecord(scope=INNER, parent=SCOPE, directory=b"inner directory.")
    yield "scope-inner", record("the record of a scope in the root scope", inner, scope_block(INNER))
    nothing = Grants(principal=ALICE.principal)
    yield "grants-empty", record("grants of nothing", nothing, grants_block(SCOPE, ALICE.principal))
    grants = Grants(principal=ALICE.principal, readcaps=(READCAP,), chains=(CHAIN,))
    yield "grants", record("a readcap and a chain", grants, grants_block(SCOPE, ALICE.principal))
    for size in (0, 1, 16_384, 16_385, 40_000):
        yield f"content-{size}", content(size)


def record(comment: str, value: msgspec.Struct, block: bytes) -> Vector:
    encoded = encode(value)
    made = public_content(encoded)
    return {
        "kind": "record",
        "type": type(value).__name__,
        "comment": comment,
        "expect": "accept",
        "block": block.hex(),
        "bytes": encoded.hex(),
        "root": made.root.hex(),
    }


def content(size: int) -> Vector:
    made = public_content(data(size))
    return {
        "kind": "content",
        "comment": f"the Merkle root of a public block of {size} bytes; byte i is i mod 251",
        "expect": "accept",
        "size": size,
        "sectors": made.sector_count,
        "records": [[run.level, run.first, len(run.records)] for run in made.runs],
        "root": made.root.hex(),
    }


def data(size: int) -> bytes:
    return bytes(index % 251 for index in range(size))


def contents() -> dict[Path, str]:
    return {HERE / "vectors" / f"{name}.json": json.dumps(made, indent=1) + "\n" for name, made in vectors()}


def main() -> int:
    made = contents()
    if "--check" in sys.argv:
        found = {path: path.read_text(encoding="utf-8") for path in (HERE / "vectors").glob("*.json")}
        differ = sorted(path.name for path in made.keys() | found.keys() if made.get(path) != found.get(path))
        print("\n".join(f"differs: {name}" for name in differ) or "all vectors are as made")
        return 1 if differ else 0
    (HERE / "vectors").mkdir(exist_ok=True)
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
