"""Makes the test vectors of `docs/spec/filesystem.md`, one scenario a file.

    python packages/btfproto/tests/localfs/make_vectors.py            write tests/localfs/vectors/*.json
    python packages/btfproto/tests/localfs/make_vectors.py --check    compare instead, and fail on any difference

Everything is made from fixed keys. Leaves are put together from the byte tables, not by the code under test.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from btfproto.localfs._attributes import SealedAttributes, encode_attributes
from btfproto.provider import FileKind

VECTORS = Path(__file__).resolve().parent / "vectors"
KEY, BLOCK, CHILD_KEY = bytes(range(32)), bytes(range(16)), bytes(range(32, 64))
NAMES = ("a", "notes.txt", "größe", "x" * 255)

Vector = dict[str, Any]


def name_hash(name: str) -> int:
    derived = hashlib.blake2b(b"blocktree/1 name hash\0", key=KEY, digest_size=32).digest()
    digest = hashlib.blake2b(name.encode(), key=derived, digest_size=8).digest()
    return int.from_bytes(digest, "little") // 64 or 1


def entry(name: str, ordinal: int = 0, kind: int = 0) -> bytes:
    raw = name.encode()
    return bytes([ordinal, kind]) + BLOCK + CHILD_KEY + bytes([len(raw)]) + raw


def leaf(*entries: bytes) -> bytes:
    return b"\1\0" + len(entries).to_bytes(2, "little") + b"".join(entries)


def node(comment: str, data: bytes, expect: str = "refuse", level: int = 0, **more: Any) -> Vector:
    return {
        "kind": "node",
        "comment": comment,
        "expect": expect,
        "key": KEY.hex(),
        "level": level,
        "node": data.hex(),
        **more,
    }


def vectors() -> Iterator[tuple[str, Vector]]:
    keys = {name: name_hash(name) * 32 for name in NAMES}
    yield "name-keys", {"kind": "names", "comment": "ordinal 0", "expect": "accept", "key": KEY.hex(), "keys": keys}
    ordered = sorted(NAMES, key=lambda name: keys[name])
    entries = [entry(name) for name in ordered]
    yield "leaf", node("in order of their keys", leaf(*entries), "accept", names=ordered)
    yield "leaf-empty", node("no entries: it would have been freed", leaf())
    yield "leaf-out-of-order", node("the first two exchanged", leaf(entries[1], entries[0]))
    yield "leaf-twin", node("one name twice, under two ordinals", leaf(entry("a"), entry("a", 1)))
    yield "leaf-cut", node("the last byte is missing", leaf(*entries)[:-1])
    yield "leaf-longer", node("a byte too many", leaf(*entries) + b"\0")
    yield "leaf-of-format-2", node("unknown format", b"\2" + leaf(*entries)[1:])
    yield "leaf-dot-dot", node("a name that is none", leaf(entry("..")))
    yield "leaf-slash", node("a name with a slash", leaf(entry("a/b")))
    yield "leaf-ordinal-32", node("an ordinal of more than 5 bits", leaf(entry("a", 32)))
    yield "leaf-kind-7", node("an unknown kind", leaf(entry("a", 0, 7)))
    children = b"".join(child.to_bytes(4, "little") for child in (5, 1, 9))
    separators = b"".join((32 * number).to_bytes(8, "little") for number in (100, 2**57))
    inner = b"\1\1\3\0" + children + separators
    yield "inner", node("three children", inner, "accept", level=1)
    yield "inner-of-level-2", node("a level that does not belong here", b"\1\2" + inner[2:], level=1)
    yield "inner-names-the-root", node("a child 0", inner.replace(children[:4], bytes(4)), level=1)
    unaligned = inner.replace((3200).to_bytes(8, "little"), (3201).to_bytes(8, "little"))
    yield "inner-unaligned", node("a separator that parts one hash", unaligned, level=1)
    yield from _attributes()


def _attributes() -> Iterator[tuple[str, Vector]]:
    common: dict[str, Any] = {"mode": 0o644, "uid": 1000, "gid": 100, "links": 1, "device": 0}
    common |= {"accessed": 1, "modified": -2, "changed": 3}
    nothing: dict[str, Any] = {"xattrs": {}, "target": "", "entries": 0, "free": [], "size": 0, "stored": 0}
    file = SealedAttributes(kind=FileKind.FILE, **common, **{**nothing, "size": 20_000, "stored": 1})
    tagged = SealedAttributes(kind=FileKind.FILE, **common, **{**nothing, "xattrs": {"user.b": b"2", "user.a": b""}})
    directory = SealedAttributes(kind=FileKind.DIRECTORY, **common, **{**nothing, "entries": 900, "free": [4, 2]})
    symlink = SealedAttributes(kind=FileKind.SYMLINK, **common, **{**nothing, "target": "../größe"})
    lying = SealedAttributes(kind=FileKind.FILE, **common, **{**nothing, "size": 2**63})
    yield "attributes-file", _sealed("a sparse file of two sectors", file, 2)
    yield "attributes-xattrs", _sealed("an empty file with extended attributes, in order of their names", tagged, 0)
    yield "attributes-directory", _sealed("six nodes, of which two are free", directory, 6)
    yield "attributes-symlink", _sealed("a symlink", symlink, 0)
    yield "attributes-too-large", {**_sealed("2^63 bytes", lying, 2**49), "expect": "refuse"}
    yield "attributes-other-count", {**_sealed("20000 bytes in three sectors", file, 3), "expect": "refuse"}


def _sealed(comment: str, attributes: SealedAttributes, sector_count: int) -> Vector:
    return {
        "kind": "attributes",
        "comment": comment,
        "expect": "accept",
        "sector_count": sector_count,
        "attributes": encode_attributes(attributes).hex(),
    }


def main() -> int:
    made = {f"{name}.json": json.dumps(vector, indent=1, ensure_ascii=False) + "\n" for name, vector in vectors()}
    if "--check" in sys.argv[1:]:
        stored = {path.name: path.read_text(encoding="utf-8") for path in VECTORS.glob("*.json")}
        different = sorted(name for name in made.keys() | stored.keys() if made.get(name) != stored.get(name))
        for name in different:
            print(f"{name} differs")
        return 1 if different else 0
    VECTORS.mkdir(exist_ok=True)
    for path in VECTORS.glob("*.json"):
        path.unlink()
    for name, text in made.items():
        (VECTORS / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
