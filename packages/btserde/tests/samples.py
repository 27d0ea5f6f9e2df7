"""Types that the tests and the vectors share: at least one of everything that can be encoded."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Generic, TypeVar

import msgspec
from btserde import I8, I16, I32, I64, U8, U16, U32, U64, Fixed, View

T = TypeVar("T")

Id = Annotated[bytes, Fixed[16]]


class Kind(enum.IntEnum):
    """Numbered by value."""

    FILE = 1
    DIRECTORY = 2
    LINK = 7


class Colour(enum.Enum):
    """Numbered by order of declaration."""

    RED = "r"
    GREEN = "g"
    BLUE = "b"


class Header(msgspec.Struct, frozen=True):
    kind: U8
    flags: U16
    stream: U32
    sender: Id


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    a: U8
    b: U16
    c: U32
    d: U64
    e: I8
    f: I16
    g: I32
    h: I64
    i: float
    j: bool


class ReadReply(msgspec.Struct, frozen=True, kw_only=True):
    offset: U64
    body: View
    last: bool = False


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: Kind
    id: Id
    size: U64


class Directory(msgspec.Struct, frozen=True):
    version: U32
    entries: list[Entry]
    cursor: U64 | None = None


@dataclasses.dataclass(frozen=True)
class Point:
    x: I32
    y: I32 = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    colour: Colour
    points: tuple[Point, ...]
    label: str | None = None


class Open(msgspec.Struct, frozen=True, tag=1):
    path: str
    write: bool = False


class Close(msgspec.Struct, frozen=True, tag=2):
    handle: U32


class Nothing(msgspec.Struct, frozen=True, tag=255):
    pass


Request = Open | Close | Nothing


class Cat(msgspec.Struct, frozen=True, tag="cat"):
    lives: U8


class Dog(msgspec.Struct, frozen=True, tag="dog"):
    name: str


class Tree(msgspec.Struct, frozen=True):
    """Refers to itself through a list, so by columns."""

    value: U8
    children: list[Tree] = []


class Chain(msgspec.Struct, frozen=True):
    """Refers to itself directly."""

    value: U16
    next: Chain | None = None


class Add(msgspec.Struct, frozen=True, tag=1):
    """Refers to itself through a union."""

    left: Add | Leaf
    right: Add | Leaf


class Leaf(msgspec.Struct, frozen=True, tag=0):
    value: U8


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    more: bool


class Collections(msgspec.Struct, frozen=True):
    names: frozenset[str]
    sizes: dict[str, U32]
    matrix: list[list[U8]]
    pair: tuple[U8, str]
    maybe: list[U16 | None]
    requests: list[Open | Close]
    floats: list[float]
    bodies: list[bytes]
    views: list[View]
    pairs: list[tuple[str, Kind]]


class Positive(msgspec.Struct, frozen=True):
    """Refuses some values by itself."""

    value: U8

    def __post_init__(self) -> None:
        if self.value == 0:
            raise ValueError("zero is not positive")


TYPES: dict[str, object] = {
    "Header": Header,
    "Numbers": Numbers,
    "ReadReply": ReadReply,
    "Directory": Directory,
    "Shape": Shape,
    "Request": Request,
    "Pet": Cat | Dog,
    "Open": Open,
    "Tree": Tree,
    "Chain": Chain,
    "Sum": Add | Leaf,
    "Page": Page[Annotated[bytes, Fixed[2]]],
    "Collections": Collections,
    "Positive": Positive,
    "Page of Point": Page[Point],
    "bool": bool,
    "float": float,
    "str": str,
    "bytes": bytes,
    "Colour": Colour,
    "U16": U16,
    "I8": I8,
    "list of U16": list[U16],
    "list of str": list[str],
    "list of bool": list[bool],
    "list of Colour": list[Colour],
    "list of float": list[float],
    "set of U16": set[U16],
    "dict of str": dict[str, U8],
    "optional U8": U8 | None,
    "tuple": tuple[U8, str],
}
