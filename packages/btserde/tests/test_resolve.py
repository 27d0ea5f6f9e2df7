"""Which Python types have an encoding, and what is said of the others."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, Literal, NewType, Union

import btserde
import msgspec
import pytest
from btserde import U8, U16, Fixed, SchemaError, View, encode, schema_hash

from .samples import Add, Cat, Close, Directory, Leaf, Open

Size = NewType("Size", int)
Digest = Annotated[bytes, Fixed[4]]
Name = NewType("Name", str)


class Plain(msgspec.Struct):
    count: int


class Endless(msgspec.Struct):
    inner: Endless


class Untagged(msgspec.Struct):
    pass


class SameTag(msgspec.Struct, tag=1):
    pass


class LargeTag(msgspec.Struct, tag=256):
    pass


class Rights(enum.Flag):
    READ = 1


class Empty(enum.Enum):
    pass


class Mutable(msgspec.Struct):
    x: U8


@dataclasses.dataclass
class Computed:
    x: U8
    y: U8 = dataclasses.field(init=False)


class Unknown(msgspec.Struct):
    x: Missing  # type: ignore[name-defined]  # noqa: F821 # its absence is the test


Many = enum.Enum("Many", [f"M{i}" for i in range(257)])  # type: ignore[misc]
Odd = msgspec.defstruct("Odd", [("class", U8)])

REFUSED: list[tuple[Any, str]] = [
    (int, "no width"),
    (Size, "no width"),
    (Plain, r"Plain\.count: a plain int has no width"),
    (list[int], "no width"),
    (object, "no encoding"),
    (Any, "no encoding"),
    (list, "no encoding"),
    (Literal["a"], "no encoding"),
    (None, "no encoding"),
    (Endless, "without end"),
    (Open | Untagged, "with a tag"),
    (U8 | str, "with a tag"),
    (Open | SameTag, "the same tag 1"),
    (Open | Cat, "all ints or all strings"),
    (LargeTag, "not in 0..255"),
    (Rights, "Flag"),
    (Empty, "0 members"),
    (Many, "257 members"),
    (set[list[U8]], "hashable"),
    (set[View], "hashable"),
    (set[Mutable], "hashable"),
    (dict[set[U8], U8], "hashable"),
    (list[tuple[()]], "at least one byte"),
    (set[Untagged], "at least one byte"),
    (Computed, "constructor"),
    (Unknown, "cannot be read"),
    (Odd, "that is no name"),
    (Annotated[str, msgspec.Meta(max_length=3)], "would not be kept"),
    (Fixed[0], "positive"),
    (Fixed["4"], "positive"),
]


@pytest.mark.parametrize(("tp", "reason"), REFUSED, ids=[str(tp) for tp, _ in REFUSED])
def test_a_type_without_encoding_is_refused_with_a_reason(tp: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        btserde.Encoder(tp)
    with pytest.raises(SchemaError, match=reason):
        btserde.Decoder(tp)


SAME: list[tuple[Any, Any]] = [
    (Digest, Fixed[4]),
    (Annotated[Name, "a mark of another library"], str),
    (NewType("Count", U16), U16),
    (Union[U8, None], U8 | None),  # noqa: UP007 # the old spelling is the test
    (Open | Close, Close | Open),
    (View, bytes),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=[str(one) for one, _ in SAME])
def test_two_spellings_of_a_type_are_one(one: Any, other: Any) -> None:
    assert schema_hash(one) == schema_hash(other)


def test_an_int_keeps_its_width_through_new_type() -> None:
    assert encode(1, NewType("Count", U16)) == b"\1\0"


def test_recursion_through_list_and_union_is_allowed() -> None:
    for tp in (Directory, Add | Leaf):
        btserde.Encoder(tp)
