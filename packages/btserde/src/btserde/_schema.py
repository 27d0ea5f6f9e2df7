"""From Python types to nodes: what a codec knows of a type, and nothing else.

A node says how a value lies on the wire and how it is rebuilt. All later steps (generated code, the slow walkers,
the schema hash) read nodes only. The grammar, in the words of the specification:

    Int Float Closed FixedBytes          fixed size; Closed is a bool or an enum, one byte of a closed set
    Bytes Text                           a length and that many bytes
    Optional List Set Dict Union Struct  made of others; a fixed tuple is a Struct without names

It does not use `msgspec.inspect`, which refuses `bytes | memoryview` and loses markers inside `Annotated`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from ._length import encode_length


@dataclass(frozen=True)
class Int:
    bits: int
    signed: bool

    @property
    def code(self) -> str:
        """The character of the `struct` module."""
        letter = {8: "b", 16: "h", 32: "i", 64: "q"}[self.bits]
        return letter if self.signed else letter.upper()


@dataclass(frozen=True)
class Float:
    code = "d"


@dataclass(frozen=True)
class Closed:
    """One byte out of a closed set of objects that exist once: False and True, or the members of an enum.

    A member that is not itself its number carries it in an attribute that members of no other class have: reading
    that is several times faster than a lookup by the slow `Enum.__hash__`, and a look-alike does not pass.
    """

    cls: type
    members: dict[int, Any]
    attribute: str | None

    def number(self, value: object) -> int | None:
        """The number of a member; None for anything else."""
        return next((number for number, member in self.members.items() if member is value), None)


@dataclass(frozen=True)
class FixedBytes:
    size: int

    @property
    def code(self) -> str:
        return f"{self.size}s"


@dataclass(frozen=True)
class Bytes:
    in_place: bool


@dataclass(frozen=True)
class Text:
    pass


@dataclass(frozen=True)
class Optional:
    item: Node


@dataclass(frozen=True)
class List:
    item: Node
    build: type[list[Any]] | type[tuple[Any, ...]]


@dataclass(frozen=True)
class Set:
    item: Node
    build: type[set[Any]] | type[frozenset[Any]]


@dataclass(frozen=True)
class Dict:
    key: Node
    value: Node


@dataclass(frozen=True)
class Field:
    name: str
    node: Node
    by_keyword: bool


@dataclass(eq=False)
class Struct:
    """A Struct, a dataclass or a fixed tuple. Compared by identity, since it may contain itself."""

    cls: Callable[..., Any]
    fields: tuple[Field, ...] = ()
    tag: int | str | None = None
    recursive: bool = False

    @property
    def name(self) -> str:
        return getattr(self.cls, "__name__", str(self.cls))

    @property
    def is_tuple(self) -> bool:
        return self.cls is tuple

    def rebuild(self, values: list[Any]) -> Any:
        """Make the object from the values of its fields."""
        if self.is_tuple:
            return tuple(values)
        pairs = list(zip(self.fields, values, strict=True))
        positional = [value for field, value in pairs if not field.by_keyword]
        return self.cls(*positional, **{field.name: value for field, value in pairs if field.by_keyword})


@dataclass(frozen=True)
class Union:
    """Tagged structs, by tag."""

    members: dict[int | str, Struct]

    @property
    def int_tags(self) -> bool:
        return isinstance(next(iter(self.members)), int)


Node = Int | Float | Closed | FixedBytes | Bytes | Text | Optional | List | Set | Dict | Struct | Union

BOOL = Closed(bool, {0: False, 1: True}, attribute=None)
_serial = count()
MAX_TAG = 255
ENDLESS = 1 << 62


@cache
def closed_enum(cls: type[enum.Enum]) -> Closed:
    """Number an enum: by value if all values are ints from 0 to 255, else by order of declaration."""
    members = list(cls)
    values = [member.value for member in members]
    if not all(type(value) is int and 0 <= value <= 255 for value in values):
        values = list(range(len(members)))
    if issubclass(cls, int) and all(value == member for value, member in zip(values, members, strict=True)):
        return Closed(cls, dict(zip(values, members, strict=True)), attribute=None)
    attribute = f"_btserde_{next(_serial)}"
    for value, member in zip(values, members, strict=True):
        object.__setattr__(member, attribute, value)
    return Closed(cls, dict(zip(values, members, strict=True)), attribute)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly inside a node."""
    match node:
        case Optional(item) | List(item, _) | Set(item, _):
            return (item,)
        case Dict(key, value):
            return (key, value)
        case Union(members):
            return tuple(members.values())
        case Struct():
            return tuple(field.node for field in node.fields)
        case _:
            return ()


def by_columns(node: Node) -> bool:
    """Whether items of this node in a list are written column by column."""
    return isinstance(node, Struct) and node.tag is None


def min_size(node: Node, open_structs: tuple[Struct, ...] = ()) -> int:
    """The least number of bytes a value takes; at least ENDLESS if every value would contain itself."""
    match node:
        case Int(bits, _):
            return bits // 8
        case Float():
            return 8
        case FixedBytes(size):
            return size
        case Struct() if node in open_structs:
            return ENDLESS
        case Struct():
            tag = b"" if node.tag is None else encoded_tag(node.tag)
            return len(tag) + sum(min_size(field.node, (*open_structs, node)) for field in node.fields)
        case Union(members):
            return min(min_size(member, open_structs) for member in members.values())
        case _:
            return 1


def hashable(node: Node) -> bool:
    """Whether decoded values can be put into a set and be found there by value."""
    match node:
        case Bytes(in_place):
            return not in_place
        case List(item, build):
            return build is tuple and hashable(item)
        case Set(_, build):
            return build is frozenset
        case Dict():
            return False
        case Struct() if node.recursive:
            return False
        case Struct():
            frozen = node.is_tuple or _hashes_by_value(node.cls)
            return frozen and all(hashable(field.node) for field in node.fields)
        case _:
            return all(hashable(child) for child in children(node))


def _hashes_by_value(cls: Any) -> bool:
    if dataclasses.is_dataclass(cls):
        return cls.__hash__ is not None and cls.__hash__ is not object.__hash__
    config = cls.__struct_config__
    return bool(config.frozen and config.eq)


def encoded_tag(tag: int | str) -> bytes:
    """What a tagged struct begins with: one byte, or a string with its length."""
    if isinstance(tag, int):
        return bytes([tag])
    content = tag.encode()
    return encode_length(len(content)) + content


def packed_tag(tag: int | str) -> tuple[str, int | bytes]:
    """The same as a code and a value of the `struct` module."""
    if isinstance(tag, int):
        return "B", tag
    return f"{len(encoded_tag(tag))}s", encoded_tag(tag)


def in_place(node: Node, seen: frozenset[int] = frozenset()) -> bool:
    """Whether decoded values may hold views of the input."""
    if isinstance(node, Bytes):
        return node.in_place
    if id(node) in seen:
        return False
    return any(in_place(child, seen | {id(node)}) for child in children(node))


def fixed_size(node: Node) -> int | None:
    """The number of bytes of every value, or None if it varies."""
    match node:
        case Int() | Float() | FixedBytes() | Closed():
            return min_size(node)
        case Struct() if not node.recursive:
            sizes = [fixed_size(field.node) for field in node.fields]
            return None if None in sizes else min_size(node)
        case _:
            return None
