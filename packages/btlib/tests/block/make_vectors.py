"""Makes the test vectors of `docs/spec/block.md`, one scenario a file.

    python packages/btlib/tests/block/make_vectors.py            write tests/block/vectors/*.json
    python packages/btlib/tests/block/make_vectors.py --check    compare instead, and fail on any difference

Everything is made from fixed seeds and nonces. Trees are made from the definition (`slow_tree`), not by `SectorTree`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3]))

import msgspec  # noqa: E402
from btlib import KeyPair, Label, Suite  # noqa: E402
from btlib.block import (  # noqa: E402
    REMOVED,
    Header,
    SectorCipher,
    SignedHeader,
    WriterRecord,
    derive_block_id,
    encode_header,
    encode_signed_header,
    encode_writer,
    leaf_hash,
    sign_commit,
)
from btlib.writecaps import Chain  # noqa: E402

from packages.btlib.tests.block.slow_tree import slow_tree  # noqa: E402

Vector = dict[str, Any]

SEED = bytes(range(32))
KEY, BLOCK, SCOPE, NONCE = bytes(range(32)), bytes(range(16)), bytes(range(16, 32)), bytes(range(12))
WRITTEN = 1_800_000_000


def header(version: int = 1, **fields: Any) -> Header:
    plain = Header(
        block=BLOCK,
        scope=SCOPE,
        version=version,
        sector_count=1,
        root=bytes(range(32)),
        chain=bytes(range(32, 64)),
        written=WRITTEN,
        attributes=b"sealed attributes",
    )
    return msgspec.structs.replace(plain, **fields)


def vectors() -> Iterator[tuple[str, Vector]]:
    yield from sectors()
    yield from trees()
    yield from headers()
    yield from commits()
    yield from records()


def sectors() -> Iterator[tuple[str, Vector]]:
    cipher = SectorCipher(KEY, BLOCK, 7)
    common = {"key": KEY.hex(), "block": BLOCK.hex(), "key_epoch": 7}
    for name, index, plain in (("sector", 3, b"content"), ("sector empty", 0, b""), ("sector last", 2**48 - 1, b"end")):
        stored = cipher.seal(index, plain, NONCE)
        vector = {"kind": "sector", "comment": f"sector {index}", "expect": "accept"} | common
        yield name, vector | {"index": index, "plain": plain.hex(), "stored": stored.hex()}
        vector |= {"comment": "the same at another index", "expect": "refuse", "index": index ^ 1}
        yield f"{name} moved", vector | {"stored": stored.hex()}
    sealed = cipher.seal_attributes(9, b"attributes", NONCE)
    vector = {"kind": "attributes", "comment": "attributes of version 9", "expect": "accept"} | common
    yield "attributes", vector | {"version": 9, "plain": b"attributes".hex(), "sealed": sealed.hex()}
    vector |= {"comment": "the same under another version", "expect": "refuse"}
    yield "attributes older", vector | {"version": 8, "sealed": sealed.hex()}


def trees() -> Iterator[tuple[str, Vector]]:
    shapes = {
        "tree empty": ({}, 0),
        "tree one": ({0: b"only"}, 1),
        "tree two": ({0: b"a", 1: b"b"}, 2),
        "tree hole": ({0: b"a", 2: b"c"}, 5),
        "tree all holes": ({}, 1000),
        "tree 256": ({i: b"%d" % i for i in range(256)}, 256),
        "tree 257": ({0: b"first", 256: b"last"}, 257),
        "tree sparse": ({0: b"first", 2**40 - 1: b"last"}, 2**40),
    }
    for name, (content, count) in shapes.items():
        root, nodes = slow_tree({i: leaf_hash(i, sector) for i, sector in content.items()}, count)
        yield (
            name,
            {
                "kind": "tree",
                "comment": f"{len(content)} stored sectors of {count}; nodes by level/index",
                "expect": "accept",
                "sector_count": count,
                "sectors": {str(i): sector.hex() for i, sector in content.items()},
                "nodes": {f"{level}/{index}": node.hex() for (level, index), node in sorted(nodes.items())},
                "root": root.hex(),
            },
        )
    yield from bad_nodes()


def bad_nodes() -> Iterator[tuple[str, Vector]]:
    a = leaf_hash(0, b"a")
    shapes = {
        "node ends in a hole": a + bytes(32),
        "node of half a hash": a[:16],
        "node empty": b"",
        "node of too many": a * 3,
    }
    for name, node in shapes.items():
        comment = "level 1, index 0 of a block of two sectors; its hash is right, its shape is not"
        yield name, {"kind": "node", "comment": comment, "expect": "refuse", "node": node.hex()}


def headers() -> Iterator[tuple[str, Vector]]:
    tombstone = header(5, flags=REMOVED, sector_count=0, root=bytes(32), attributes=b"")
    for name, value in (("header", header(4, key_epoch=2)), ("header tombstone", tombstone)):
        fields = {k: v.hex() if isinstance(v, bytes) else v for k, v in msgspec.structs.asdict(value).items()}
        encoding = encode_header(value).hex()
        yield name, {"kind": "header", "comment": name, "expect": "accept", "fields": fields, "encoding": encoding}
    good = encode_header(header())
    for comment, at, byte in (
        ("format 2", 0, 2),
        ("an unknown flag", 1, 4),
        ("version 0", 34, 0),
        ("sectors of 256 bytes", 46, 8),
        ("more than 2^48 sectors", 54, 2),
        ("a public block with attributes", 1, 1),
        ("a tombstone with sectors", 1, 2),
        ("a root without sectors", 47, 0),
    ):
        bad = good[:at] + bytes([byte]) + good[at + 1 :]
        yield (
            f"header with {comment}",
            {"kind": "header", "comment": comment, "expect": "refuse", "encoding": bad.hex()},
        )
    for comment, bad in (("a byte too many", good + b"\0"), ("a byte too few", good[:-1])):
        yield (
            f"header with {comment}",
            {"kind": "header", "comment": comment, "expect": "refuse", "encoding": bad.hex()},
        )


def commits() -> Iterator[tuple[str, Vector]]:
    keys = KeyPair.from_seed(Suite.ED25519_X25519, SEED)
    for count in (1, 2, 5):
        signed = sign_commit(keys, [header(version + 1) for version in range(count)])
        vector = {
            "kind": "commit",
            "comment": f"{count} headers, one signature",
            "expect": "accept",
            "seed": SEED.hex(),
        }
        yield f"commit of {count}", vector | {"signed": [encode_signed_header(one).hex() for one in signed]}
    first, second = sign_commit(keys, [header(1), header(2)])
    bad = {
        "the proof of another": SignedHeader(first.header, second.proof, first.signature),
        "another signature": SignedHeader(first.header, first.proof, bytes(64)),
        "a longer proof": SignedHeader(
            first.header,
            msgspec.structs.replace(first.proof, siblings=first.proof.siblings + bytes(32)),
            first.signature,
        ),
    }
    for comment, wrong in bad.items():
        vector = {"kind": "commit", "comment": comment, "expect": "refuse", "seed": SEED.hex()}
        yield f"commit with {comment}", vector | {"signed": [encode_signed_header(wrong).hex()]}


def records() -> Iterator[tuple[str, Vector]]:
    record = WriterRecord(Chain(), KeyPair.from_seed(Suite.ED25519_X25519, SEED).public)
    yield (
        "writer",
        {
            "kind": "writer",
            "comment": "the root's own record",
            "expect": "accept",
            "seed": SEED.hex(),
            "encoding": encode_writer(record).hex(),
            "id": record.id.hex(),
            "block": record.block.hex(),
        },
    )
    parts = [b"part", b"", b"another"]
    vector = {"kind": "derived", "comment": "a derived block id", "expect": "accept", "label": "GRANTS"}
    block = derive_block_id(Label.GRANTS, *parts).hex()
    yield "derived", vector | {"parts": [part.hex() for part in parts], "block": block}


def main() -> int:
    target = HERE / "vectors"
    made = {name.replace(" ", "-") + ".json": json.dumps(vector, indent=1) + "\n" for name, vector in vectors()}
    if "--check" in sys.argv[1:]:
        found = {path.name: path.read_text() for path in target.glob("*.json")}
        different = sorted(name for name in made.keys() | found.keys() if made.get(name) != found.get(name))
        print("\n".join(f"{name} differs" for name in different))
        return 1 if different else 0
    target.mkdir(exist_ok=True)
    for name, text in made.items():
        (target / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
