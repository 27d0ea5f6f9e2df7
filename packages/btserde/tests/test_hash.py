"""The schema hash: the same where the bytes mean the same, another where they do not."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import msgspec
import pytest
from btserde import I8, U8, U16, Fixed, View, schema_hash

from .samples import Add, Chain, Directory, Leaf, Tree


def struct(name: str = "Message", tag: int | str | None = None, **fields: Any) -> Any:
    return msgspec.defstruct(name, list(fields.items()), tag=tag)


def enumeration(**members: object) -> Any:
    make: Any = enum.Enum
    return make("Kind", members)


DIFFERENT: list[tuple[Any, Any]] = [
    (U8, U16),
    (U8, I8),
    (U8, bool),
    (bytes, str),
    (Fixed[2], Fixed[3]),
    (U8, U8 | None),
    (list[U8], set[U8]),
    (list[U8], list[U16]),
    (dict[str, U8], dict[str, U16]),
    (tuple[U8, U16], tuple[U16, U8]),
    (struct(a=U8, b=U8), struct(b=U8, a=U8)),
    (struct(a=U8), struct(a=U8, b=U8)),
    (struct(a=U8), struct(b=U8)),
    (struct(a=U8), struct(a=U8, tag=1)),
    (struct(a=U8, tag=1), struct(a=U8, tag=2)),
    (struct(a=U8, tag=1), struct(a=U8, tag="1")),
    (struct(tag=1) | struct(tag=2), struct(tag=1) | struct(tag=3)),
    (enumeration(A=1), enumeration(A=2)),
    (enumeration(A=1), enumeration(B=1)),
    (enumeration(A=1), enumeration(A=1, B=2)),
    (enumeration(A="a", B="b"), enumeration(B="b", A="a")),
    (Tree, Chain),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_the_hash_changes_with_what_the_bytes_mean(one: Any, other: Any) -> None:
    assert schema_hash(one) != schema_hash(other)


SAME: list[tuple[Any, Any]] = [
    (struct("One", a=U8), struct("Other", a=U8)),
    (struct(a=U8), dataclasses.make_dataclass("Message", [("a", U8)])),
    (list[U8], tuple[U8, ...]),
    (set[U8], frozenset[U8]),
    (bytes, View),
    (struct(tag=1) | struct(tag=2), struct(tag=2) | struct(tag=1)),
    (enumeration(A="a"), enumeration(A="other")),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_hash_ignores_what_only_concerns_python(one: Any, other: Any) -> None:
    assert schema_hash(one) == schema_hash(other)


@pytest.mark.parametrize(
    ("tp", "known"),
    [
        (U8, 0xCBB1389BA37F491D),
        (Directory, 0xC9545F04CFFFC387),
        (Tree, 0x9CEFD72CEE81D3F7),
        (Add | Leaf, 0x9E5DDBC3A64F5140),
    ],
)
def test_the_hash_is_the_same_in_every_process_and_release(tp: Any, known: int) -> None:
    assert schema_hash(tp) == known
