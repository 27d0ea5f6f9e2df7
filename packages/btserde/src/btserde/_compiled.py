"""The compiled twin of an encoder, where the package `btspeed` is installed.

It takes a description of the type, and the reference: the encoder that was generated for it. Plain values it encodes
by itself; with any other it calls the reference, so what has an encoding and what is wrong is decided there alone.
A type that has a set or a dict anywhere is left to the reference, as their items must be sorted.

A description is one row for each node: (operation, size, flag, literal, things, parts), with parts (name, class whose
`__slots__` hold it, row). `btspeed` has the table of what each operation wants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any

from . import _schema as schema
from ._limits import Limits
from ._schema import Node

try:
    from btspeed import make_encoder
except ImportError:
    COMPILED = False
else:
    COMPILED = True

Encode = Callable[[Any], bytes]
Part = tuple[str | None, type | None, int]
Row = tuple[str, int, bool, bytes, tuple[object, ...], tuple[Part, ...]]


def with_compiled_twin(reference: Encode, node: Node, limits: Limits) -> Encode:
    """An encoder that does what `reference` does, faster where it can."""
    if not COMPILED:
        return reference
    try:
        rows = describe(node)
    except NotDescribedError:
        return reference
    depth, size, count = (min(bound, sys.maxsize) for bound in (limits.max_depth, limits.max_size, limits.max_count))
    return make_encoder(rows, depth, size, count, reference)


class NotDescribedError(Exception):
    """A type has a part that only the reference encodes."""


def describe(node: Node) -> tuple[Row, ...]:
    """The rows of a type. Raises NotDescribedError."""
    description = _Description()
    description.row_of(node)
    return tuple(description.rows[index] for index in range(len(description.rows)))


class _Description:
    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self._known: dict[int, int] = {}

    def row_of(self, node: Node) -> int:
        """The number of the row of a node; one under way already has its number."""
        if id(node) not in self._known:
            index = self._known[id(node)] = len(self._known)
            self.rows[index] = self._row(node)
        return self._known[id(node)]

    def _row(self, node: Node) -> Row:
        match node:
            case schema.Int(bits, signed):
                return "int", bits // 8, signed, b"", (), ()
            case schema.Float():
                return "float", 0, False, b"", (), ()
            case schema.Closed(_, members, _):
                return "closed", 0, False, bytes(members), tuple(members.values()), ()
            case schema.FixedBytes(size):
                return "fixed", size, False, b"", (), ()
            case schema.Bytes():
                return "bytes", 0, False, b"", (), ()
            case schema.Text():
                return "text", 0, False, b"", (), ()
            case schema.Optional(item):
                return "optional", 0, False, b"", (), (self._part(item),)
            case schema.List(item, build):
                return "list", 0, build is tuple, b"", (), (self._part(item),)
            case schema.Union(members):
                return "union", 0, False, b"", (), tuple(map(self._part, members.values()))
            case schema.Struct():
                tag = b"" if node.tag is None else schema.encoded_tag(node.tag)
                fields = tuple(self._field(node, field) for field in node.fields)
                return "struct", 0, node.recursive, tag, (node.cls,), fields
            case _:
                raise NotDescribedError

    def _part(self, node: Node) -> Part:
        return None, None, self.row_of(node)

    def _field(self, struct: schema.Struct, field: schema.Field) -> Part:
        if struct.is_tuple:
            return self._part(field.node)
        return sys.intern(field.name), _holder(struct.cls, field.name), self.row_of(field.node)


def _holder(cls: Any, name: str) -> type | None:
    """The class that holds an attribute in a slot, if reading the slot is all that reading the attribute does."""
    if cls.__getattribute__ is not object.__getattribute__ or hasattr(cls, "__getattr__"):
        return None
    holder: type = next(base for base in cls.__mro__ if name in vars(base) or base is object)
    slot = vars(holder).get(name)
    plain = isinstance(slot, MemberDescriptorType) and slot.__objclass__ is holder and slot.__name__ == name
    return holder if plain else None
