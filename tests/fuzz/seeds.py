"""Makes the kept corpus from the vectors of the specifications; where there are none, `made_seeds` has some.

    python -m tests.fuzz.seeds            write tests/fuzz/corpus/TARGET/NAME

What the fuzzer found lies beside the seeds, under names that begin with `found-`; nothing here touches it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import values
from .made_seeds import made

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).resolve().parent / "corpus"
MAX_SEED = 8192

Seed = tuple[str, str, bytes]  # target, name, content

#: kind of a vector → target, and the fields that hold an input.
BY_KIND: dict[str, tuple[str, tuple[str, ...]]] = {
    "chain": ("chain", ("chain",)),
    "readcap": ("readcap", ("readcap",)),
    "key set": ("public-keys", ("encoding",)),
    "keys": ("public-keys", ("encoding",)),
    "principal": ("principal", ("text",)),
    "path": ("block-path", ("text",)),
    "credentials": ("credential-file", ("file",)),
    "signature": ("signature", ("signature",)),
    "seal": ("sealed", ("sealed",)),
    "words": ("words", ("words",)),
    "shares": ("share", ("shares",)),
    "header": ("header", ("encoding",)),
    "commit": ("signed-header", ("signed",)),
    "node of a tree": ("merkle-node", ("node",)),
    "sector": ("sector", ("stored",)),
    "sealed attributes": ("sealed-attributes", ("stored", "sealed")),
    "writer": ("writer-record", ("encoding", "record")),
    "run header": ("run-header", ("encoding",)),
}
#: file of bttp → target; every other one is a frame.
BTTP = {
    "preface": "preface",
    "refusal": "refusal",
    "auth": "auth",
    "subscription": "wish",
    "message": "topic-item",
    "losses": "topic-item",
}
SEALED = {"message": "sealed-message", "bundle": "key-bundle"}  #: kind of a vector of sealed topics → target
RECORDS = {"DomainRecord": 0, "ScopeRecord": 1, "Grants": 2}
FRAME_HEAD = 8


def seeds() -> Iterator[Seed]:
    """All of them."""
    for file in sorted((ROOT / "packages").glob("*/tests/**/vectors/**/*.json")):
        vector = json.loads(file.read_text(encoding="utf-8"))
        yield from _seeds_of(file, vector)
    yield from made()


def _seeds_of(file: Path, vector: dict[str, Any]) -> Iterator[Seed]:
    package = file.relative_to(ROOT / "packages").parts[0]
    name = file.stem
    if package == "btserde":
        yield "serde", name, bytes((values.NAMES.index(vector["type"]),)) + bytes.fromhex(vector["encoding"])
    elif package == "bttp" and "sealed" in file.parts:
        yield SEALED[vector["kind"]], name, bytes.fromhex(vector["bytes"])
    elif package == "bttp" and "cases" in vector:
        for number, case in enumerate(vector["cases"]):
            yield from _bttp(f"{name}-{number}", bytes.fromhex(case["bytes"]))
    elif package == "bttp":
        yield from _bttp(name, bytes.fromhex(vector["bytes"]))
    elif package == "btlib" and "groups" in file.parts:
        yield "membership", name, bytes.fromhex(vector["membership"])
    elif package == "btlib":
        yield from _by_kind(name, vector, "block" in file.parts)
    elif "messages" in file.parts:
        kind, side = name.split("-")[:2]
        target = {"fs": "file", "store": "store"}[kind] + "-" + {"request": "request", "reply": "reply"}[side]
        yield target.replace("file-request", "file-call"), name, bytes.fromhex(vector["bytes"])
        if name == "store-request-do-commit":
            yield "commit", name, bytes.fromhex(vector["bytes"])
    elif "endpoints" in file.parts and "bytes" in vector:
        yield "endpoint-record", name, bytes.fromhex(vector["bytes"])
        yield "endpoint-set", name, b"\x01\x01" + bytes.fromhex(vector["bytes"])
    else:
        yield from _btfproto(name, vector)


def _bttp(name: str, data: bytes) -> Iterator[Seed]:
    if name in BTTP:
        yield BTTP[name], name, data
        return
    for target, content in (("frames", b"\x05" + data), ("dissector", data), ("link-core", data)):
        yield target, name, content
    payload = data[FRAME_HEAD:]
    if name.startswith("extended"):
        yield "extended", name, payload
        yield "fields", name, payload[4 : 4 + payload[2]]
    elif name == "hello":
        yield "hello", name, payload
        yield "link-opening", name, data
    elif name in ("error", "reset", "credit"):
        yield "words-of-errors", name, payload


def _by_kind(name: str, vector: dict[str, Any], block: bool) -> Iterator[Seed]:
    kind = vector["kind"]
    if block and kind in ("node", "attributes"):
        kind = {"node": "node of a tree", "attributes": "sealed attributes"}[kind]
    if kind == "keys":
        yield "principal", name, vector["principal"].encode()
    target, fields = BY_KIND.get(kind, ("", ()))
    for field in fields:
        for number, value in enumerate(_listed(vector.get(field))):
            content = _content(value)
            yield (
                target,
                f"{name}-{number}" if number else name,
                b"\0\0" + content if kind.startswith("node") else content,
            )


def _btfproto(name: str, vector: dict[str, Any]) -> Iterator[Seed]:
    kind = vector.get("kind")
    if kind == "record" and vector["type"] in RECORDS:
        yield "domain-record", name, bytes((RECORDS[vector["type"]],)) + bytes.fromhex(vector["bytes"])
    elif kind == "record":
        yield "revocation-list", name, bytes.fromhex(vector["bytes"])
    elif kind == "node":
        yield "directory-node", name, bytes((vector["level"],)) + bytes.fromhex(vector["node"])
    elif kind == "attributes":
        yield "attributes", name, bytes((min(vector["sector_count"], 255),)) + bytes.fromhex(vector["attributes"])
    elif kind == "run header":
        yield from _by_kind(name, vector, block=False)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _content(value: Any) -> bytes:
    text = str(value)
    try:
        return bytes.fromhex(text)
    except ValueError:
        return text.encode(errors="surrogateescape")


def main() -> None:
    """Write them. One that is too large is left out: the fuzzer makes large ones from small ones."""
    for target, name, content in seeds():
        if len(content) <= MAX_SEED:
            file = CORPUS / target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


if __name__ == "__main__":
    main()
