"""Makes the vectors: one scenario a file, written to `vectors/`.

    python packages/btserde/tests/make_vectors.py            write all files anew
    python packages/btserde/tests/make_vectors.py --check    only say which files differ; exit status 1 if any does

A vector has a `comment`, the name of its type in `samples.py`, that type's description and hash, the `encoding` in
hexadecimal, and what to `expect`: "accept" with the `value`, or "reject" with the error. In a value, bytes are
hexadecimal, a member of an enum is its name, a tagged struct is wrapped in its name, a dict is a list of pairs.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from pathlib import Path
from typing import Any

import btserde
import msgspec
from btserde._api import _node
from btserde._hash import describe

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from packages.btserde.tests import samples as s  # noqa: E402

VECTORS = HERE / "vectors"

ID = bytes(range(16))
FILE = s.Entry(name="a.txt", kind=s.Kind.FILE, id=ID, size=1 << 40)
LINK = s.Entry(name="ä", kind=s.Kind.LINK, id=bytes(16), size=0)
LEAST = s.Numbers(a=0, b=0, c=0, d=0, e=-128, f=-(2**15), g=-(2**31), h=-(2**63), i=float("-inf"), j=False)
MOST = s.Numbers(
    a=255, b=2**16 - 1, c=2**32 - 1, d=2**64 - 1, e=127, f=2**15 - 1, g=2**31 - 1, h=2**63 - 1, i=1.5, j=True
)
COLLECTIONS = s.Collections(
    names=frozenset({"b", "a", "cc"}),
    sizes={"z": 1, "y": 2, "xx": 3},
    matrix=[[], [1], [2, 3]],
    pair=(7, "seven"),
    maybe=[None, 5],
    requests=[s.Close(handle=1), s.Open(path="p")],
    floats=[0.5, -2.0],
    bodies=[b"", b"\xff"],
    views=[b"v"],
    pairs=[("f", s.Kind.FILE), ("d", s.Kind.DIRECTORY)],
)

# name: (comment, type, value)
ACCEPTED: dict[str, tuple[str, str, object]] = {
    "header": ("fields of fixed size, one after another", "Header", s.Header(3, 0x1234, 70_001, ID)),
    "numbers-least": ("the least value of every number", "Numbers", LEAST),
    "numbers-most": ("the greatest value of every number", "Numbers", MOST),
    "negative-zero": ("negative zero is written as zero", "float", -0.0),
    "str-empty": ("no characters", "str", ""),
    "str-utf8": ("lengths count bytes, not characters", "str", "äöü€😀"),
    "length-252": ("the longest length of one byte", "bytes", bytes(252)),
    "length-253": ("the shortest length of three bytes", "bytes", bytes(253)),
    "view": ("a body in place is written like any bytes", "ReadReply", s.ReadReply(offset=9, body=b"body", last=True)),
    "enum-by-order": ("an enum whose values are strings", "Colour", s.Colour.BLUE),
    "optional-absent": ("no value", "optional U8", None),
    "optional-present": ("a value", "optional U8", 0),
    "list-of-structs": ("structs in a list are written by columns", "Directory", s.Directory(1, [FILE, LINK], 77)),
    "list-empty": ("no columns", "Directory", s.Directory(1, [], None)),
    "list-of-int": ("a column of numbers", "list of U16", [1, 256, 65535]),
    "list-of-str": ("all lengths, then all contents", "list of str", ["a", "", "€"]),
    "list-of-str-long": ("a length of three bytes among others", "list of str", ["a" * 253, "b"]),
    "set": ("items in order of their encodings: little-endian, so 256 before 1", "set of U16", {1, 2, 256}),
    "dict": ("pairs in order of the encodings of their keys, so the shorter first", "dict of str", {"b": 1, "aa": 2}),
    "tuple": ("fields without names", "tuple", (1, "one")),
    "dataclass": (
        "a dataclass is a struct like any other",
        "Shape",
        s.Shape(colour=s.Colour.RED, points=(s.Point(-1, 2),)),
    ),
    "collections": ("every kind of collection", "Collections", COLLECTIONS),
    "union-int": ("a tag of one byte", "Request", s.Open(path="x", write=True)),
    "union-no-fields": ("nothing but a tag", "Request", s.Nothing()),
    "union-str": ("a tag that is a string", "Pet", s.Dog(name="rex")),
    "tagged-alone": ("a tagged struct has its tag outside of a union too", "Open", s.Open(path="x", write=True)),
    "recursion-by-list": ("a tree", "Tree", s.Tree(1, [s.Tree(2), s.Tree(3, [s.Tree(4)])])),
    "recursion-by-optional": ("a chain", "Chain", s.Chain(1, s.Chain(2))),
    "recursion-by-union": ("a sum", "Sum", s.Add(s.Leaf(1), s.Add(s.Leaf(2), s.Leaf(3)))),
    "generic": ("a generic struct", "Page", s.Page([b"ab", b"cd"], more=True)),
    "generic-of-structs": (
        "columns inside columns",
        "Page of Point",
        s.Page([s.Point(1, 2), s.Point(3, 4)], more=False),
    ),
}

# name: (comment, type, encoding)
REJECTED: dict[str, tuple[str, str, str]] = {
    "empty": ("nothing where a struct should be", "Header", ""),
    "short-fixed": ("one byte of a run of fixed size is missing", "Header", "03341271110100" + ID[:-1].hex()),
    "trailing": ("one byte more", "U16", "010203"),
    "bool-2": ("neither 0 nor 1", "bool", "02"),
    "bool-2-in-column": ("neither 0 nor 1, as the second of a list", "list of bool", "020102"),
    "optional-2": ("neither 0 nor 1 before an optional value", "optional U8", "0205"),
    "enum-unknown": ("no member has this number", "Colour", "03"),
    "enum-unknown-in-column": ("no member has this number, as the second of a list", "list of Colour", "020003"),
    "float-nan": ("a NaN", "float", "000000000000f87f"),
    "float-negative-zero": ("negative zero", "float", "0000000000000080"),
    "float-negative-zero-in-column": ("negative zero in a list", "list of float", "010000000000000080"),
    "length-short": ("less content than the length says", "bytes", "0301"),
    "length-cut": ("the input ends in a length", "bytes", "fd01"),
    "length-not-minimal-two": ("252 in three bytes", "bytes", "fdfc00" + "00" * 252),
    "length-not-minimal-four": ("65535 in five bytes", "bytes", "feffff0000"),
    "length-255": ("255 does not begin a length", "bytes", "ff00000001"),
    "length-huge": ("a length of 4 GiB", "bytes", "feffffffff"),
    "count-huge": ("a count of 4 Gi items", "list of U16", "feffffffff"),
    "count-too-large": ("more items than bytes", "list of U16", "02000000"),
    "utf8-invalid": ("a byte that is never in UTF-8", "str", "0261ff"),
    "utf8-surrogate": ("a surrogate", "str", "03eda080"),
    "utf8-overlong": ("a slash in two bytes", "str", "02c0af"),
    "utf8-split": ("a character that ends in the next string", "list of str", "020102e282ac"),
    "set-misordered": ("items not in ascending order", "set of U16", "0202000100"),
    "set-duplicate": ("an item twice", "set of U16", "0201000100"),
    "dict-misordered": ("keys not in ascending order", "dict of str", "02016201016102"),
    "dict-duplicate": ("a key twice", "dict of str", "02016101016102"),
    "tag-unknown": ("no member of the union has this tag", "Request", "03"),
    "tag-unknown-str": ("no member of the union has this tag", "Pet", "0463617474"),
    "tag-wrong": ("another tag than that of the struct", "Open", "02017800"),
    "constructor": ("the class itself refuses the value", "Positive", "00"),
    "depth": ("a chain of 33 structs", "Chain", "010001" * 32 + "010000"),
    "column-cut": ("the input ends in the second column", "Directory", "01000000" + "02" + "0101" + "6162" + "01"),
}


def vectors() -> dict[str, bytes]:
    """The contents of all files."""
    files = {f"accept-{name}.json": _accepted(*scenario) for name, scenario in ACCEPTED.items()}
    files |= {f"reject-{name}.json": _rejected(*scenario) for name, scenario in REJECTED.items()}
    return {name: (json.dumps(vector, indent=1, ensure_ascii=False) + "\n").encode() for name, vector in files.items()}


def plain(value: Any) -> Any:
    """A value in the terms of JSON."""
    match value:
        case enum.Enum():
            return value.name
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case float() if value in (float("inf"), float("-inf")):
            return str(value)
        case list() | tuple():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted(plain(item) for item in value)
        case dict():
            return [[plain(key), plain(item)] for key, item in sorted(value.items())]
        case msgspec.Struct():
            fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
            return fields if value.__struct_config__.tag is None else {type(value).__name__: fields}
        case _ if dataclasses.is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return value


def _vector(comment: str, name: str, expect: str, encoding: bytes) -> dict[str, object]:
    tp = s.TYPES[name]
    return {
        "comment": comment,
        "type": name,
        "schema": describe(_node(tp)),
        "schema_hash": f"{btserde.schema_hash(tp):016x}",
        "expect": expect,
        "encoding": encoding.hex(),
    }


def _accepted(comment: str, name: str, value: object) -> dict[str, object]:
    tp = s.TYPES[name]
    encoding = btserde.encode(value, tp)
    return {**_vector(comment, name, "accept", encoding), "value": plain(btserde.decode(encoding, tp))}


def _rejected(comment: str, name: str, encoding: str) -> dict[str, object]:
    data = bytes.fromhex(encoding)
    try:
        btserde.decode(data, s.TYPES[name])
    except btserde.DecodeError as error:
        found = {"reason": error.reason, "path": error.path, "offset": error.offset}
        return {**_vector(comment, name, "reject", data), "error": found}
    raise AssertionError(f"{comment}: was accepted")


def main(arguments: list[str]) -> int:
    """Write or check the files; returns the exit status."""
    made = vectors()
    kept = {path.name: path.read_bytes() for path in VECTORS.glob("*.json")}
    if "--check" in arguments:
        wrong = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
        print("\n".join(f"differs: {name}" for name in wrong) or f"{len(made)} vectors are as they should be")
        return 1 if wrong else 0
    for name in kept.keys() - made.keys():
        (VECTORS / name).unlink()
    for name, content in made.items():
        (VECTORS / name).write_bytes(content)
    print(f"{len(made)} vectors written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
