"""Wrong values: always EncodeError, with the path of the wrong part."""

from __future__ import annotations

import enum
import math
from array import array
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from btserde import (
    I8,
    I64,
    U8,
    U64,
    EncodeError,
    Encoder,
    Fixed,
    Limits,
    View,
    encode,
)

from .samples import Chain, Close, Colour, Directory, Entry, Header, Kind, Open, Point, ReadReply, Shape, Tree

ENTRY = Entry(name="a", kind=Kind.FILE, id=bytes(16), size=1)


class Other(enum.Enum):
    RED = "r"


class SubHeader(Header, frozen=True):
    more: U8 = 0


class HeaderAlike(msgspec.Struct):
    kind: U8
    flags: U8
    stream: U8
    sender: bytes


def entry(**changes: Any) -> Entry:
    return msgspec.structs.replace(ENTRY, **changes)


def chain(length: int) -> Chain:
    found = Chain(0)
    for _ in range(length - 1):
        found = Chain(0, found)
    return found


def endless_tree() -> Tree:
    tree = Tree(1, [])
    tree.children.append(tree)
    return tree


WRONG: list[tuple[Any, Any, str, str]] = [
    (U8, 256, "", "out of range for U8"),
    (U8, -1, "", "out of range for U8"),
    (I8, 128, "", "out of range for I8"),
    (U64, 1 << 64, "", "out of range for U64"),
    (I64, 1 << 5000, "", "out of range for I64"),
    (U8, 1.0, "", "expected int, got float"),
    (U8, "1", "", "expected int, got str"),
    (U8, None, "", "expected int, got NoneType"),
    (bool, 1, "", "expected bool, got int"),
    (bool, None, "", "expected bool, got NoneType"),
    (float, "1", "", "expected float, got str"),
    (float, math.nan, "", "NaN has no encoding"),
    (float, 1 << 5000, "", "expected float, got int"),
    (float, 1j, "", "expected float, got complex"),
    (str, b"a", "", "expected str, got bytes"),
    (str, "a\ud800", "", "surrogate at character 1"),
    (bytes, "a", "", "expected contiguous bytes, got str"),
    (bytes, 3, "", "expected contiguous bytes, got int"),
    (View, memoryview(b"abcd")[::2], "", "expected contiguous bytes, got memoryview"),
    (Fixed[2], b"a", "", "expected 2 bytes, got 1"),
    (Fixed[2], b"abc", "", "expected 2 bytes, got 3"),
    (Fixed[2], "ab", "", "expected contiguous bytes, got str"),
    (Colour, "r", "", "expected Colour, got str"),
    (Colour, Other.RED, "", "expected Colour, got Other"),
    (Kind, 1, "", "expected Kind, got int"),
    (list[U8], (1,), "", "expected list, got tuple"),
    (list[str], "ab", "", "expected list, got str"),
    (list[U8], [1, 256], "[1]", "out of range for U8"),
    (list[bool], [True, 0], "[1]", "expected bool, got int"),
    (list[float], [0.0, math.nan], "[1]", "NaN has no encoding"),
    (list[str], ["a", "\ud800"], "[1]", "surrogate"),
    (list[str], ["a", 1], "[1]", "expected str, got int"),
    (list[bytes], [b"a", "b"], "[1]", "expected contiguous bytes"),
    (list[Fixed[2]], [b"ab", b"a"], "[1]", "expected 2 bytes, got 1"),
    (list[Colour], [Colour.RED, Other.RED], "[1]", "expected Colour"),
    (list[list[U8]], [[1], [2, "3"]], "[1][1]", "expected int, got str"),
    (tuple[U8, str], (1,), "", "expected 2 items, got 1"),
    (tuple[U8, str], [1, "a"], "", "expected tuple, got list"),
    (tuple[U8, str], (1, 2), "[1]", "expected str, got int"),
    (set[U8], frozenset({1}), "", "expected set, got frozenset"),
    (set[U8], {256}, "{0}", "out of range"),
    (dict[str, U8], {"a": 256}, "['a']", "out of range"),
    (dict[str, U8], {1: 1}, "{0}", "expected str, got int"),
    (dict[str, U8], [("a", 1)], "", "expected dict, got list"),
    (dict[str, U8], {"k" * 99: -1}, "['" + "k" * 39 + "…]", "out of range"),
    (Header, SubHeader(1, 2, 3, bytes(16)), "", "expected Header, got SubHeader"),
    (Header, HeaderAlike(1, 2, 3, bytes(16)), "", "expected Header, got HeaderAlike"),
    (Header, Header(1, 2, 3, b""), "sender", "expected 16 bytes, got 0"),
    (Header, Header(1, 70_000, 3, bytes(16)), "flags", "out of range for U16"),
    (Directory, Directory(1, [ENTRY, entry(name=3)]), "entries[1].name", "expected str, got int"),
    (Directory, Directory(1, [ENTRY, entry(kind=Colour.RED)]), "entries[1].kind", "expected Kind"),
    (Directory, Directory(1, [ENTRY, None]), "entries[1]", "expected Entry, got NoneType"),  # type: ignore[list-item]
    (Directory, Directory(1, [], -1), "cursor", "out of range for U64"),
    (Shape, Shape(colour=Colour.RED, points=(Point(1), Point("x"))), "points[1].x", "expected int"),  # type: ignore[arg-type]
    (Open | Close, Header(1, 2, 3, bytes(16)), "", "Header is not in the union"),
    (Open | Close, None, "", "NoneType is not in the union"),
    (Chain, chain(33), "next" + ".next" * 31, "nested deeper than 32"),
    (Tree, endless_tree(), "children[0]" + ".children[0]" * 31, "nested deeper than 32"),
]


@pytest.mark.parametrize(("tp", "value", "path", "reason"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_value_is_refused_with_its_path(tp: Any, value: Any, path: str, reason: str) -> None:
    encoder = Encoder(tp)
    for refuse in (encoder.encode, encoder.encode_parts):
        with pytest.raises(EncodeError) as caught:
            refuse(value)
        assert caught.value.path == path
        assert reason in caught.value.reason
        assert caught.value.__context__ is None or caught.value.__cause__ is caught.value.__context__


@pytest.mark.parametrize(
    ("tp", "value", "same"),
    [
        (U8, True, 1),
        (U8, Kind.FILE, 1),
        (float, 3, 3.0),
        (float, Fraction(1, 2), 0.5),
        (float, -0.0, 0.0),
        (bytes, bytearray(b"ab"), b"ab"),
        (bytes, array("H", [1]), b"\1\0"),
        (bytes, memoryview(array("H")), b""),
        (Fixed[2], memoryview(b"ab"), b"ab"),
        (Fixed[2], array("H", [1]), b"\1\0"),
        (list[Fixed[2]], [array("H", [1]), bytearray(b"ab")], [b"\1\0", b"ab"]),
        (list[bytes], [bytearray(b"a"), memoryview(b"b")], [b"a", b"b"]),
    ],
)
def test_what_python_takes_as_the_same_is_encoded_the_same(tp: Any, value: Any, same: Any) -> None:
    assert encode(value, tp) == encode(same, tp)


def test_a_deepest_chain_is_encoded() -> None:
    assert len(encode(chain(32))) == 32 * 3


def test_depth_beyond_the_stack_is_refused_too() -> None:
    with pytest.raises(EncodeError, match="stack"):
        Encoder(Chain, Limits(max_depth=10**6)).encode(chain(20_000))


def test_counts_and_sizes_are_limited() -> None:
    with pytest.raises(EncodeError, match="3 items, more than 2"):
        Encoder(list[U8], Limits(max_count=2)).encode([1, 2, 3])
    with pytest.raises(EncodeError, match="takes 4 bytes, more than 3"):
        Encoder(list[U8], Limits(max_size=3)).encode([1, 2, 3])
    with pytest.raises(EncodeError, match="takes 4 bytes, more than 3"):
        Encoder(list[U8], Limits(max_size=3)).encode_parts([1, 2, 3])
    with pytest.raises(EncodeError, match="takes 8 bytes, more than 7"):
        Encoder(U64, Limits(max_size=7)).encode(1)


def test_a_large_body_is_a_part_of_its_own_and_not_copied() -> None:
    body = bytes(4096)
    head, part, tail = Encoder(ReadReply).encode_parts(ReadReply(offset=1, body=body, last=True))
    assert part is body
    assert bytes(head) + body + bytes(tail) == encode(ReadReply(offset=1, body=body, last=True))


def test_large_bodies_in_a_list_are_not_copied() -> None:
    bodies = [bytes(5000), bytes(6000)]
    parts = Encoder(list[bytes]).encode_parts(bodies)
    assert [part for part in parts if len(part) >= 5000] == bodies
    assert all(any(part is body for part in parts) for body in bodies)


def test_small_parts_are_joined() -> None:
    assert Encoder(Directory).encode_parts(Directory(1, [ENTRY] * 3)) == [encode(Directory(1, [ENTRY] * 3))]
