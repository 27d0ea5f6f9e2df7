"""Reads a Python type and makes its node, or says why it has none."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import keyword
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, NewType, get_args, get_origin

import msgspec

from . import _schema as schema
from ._schema import Node
from ._types import FixedSize, InPlace, IntWidth
from .errors import SchemaError

_INT_HINT = "state its width: U8, U16, U32, U64, I8, I16, I32 or I64"
_PLAIN: dict[object, Node] = {
    bool: schema.BOOL,
    float: schema.Float(),
    bytes: schema.Bytes(in_place=False),
    str: schema.Text(),
}


def resolve(tp: object) -> Node:
    """The node of a type. Raises SchemaError."""
    node = _Resolver().node(tp)
    _check(node, set())
    return node


class _Resolver:
    """Knows the structs under way, so that one may refer to itself."""

    def __init__(self) -> None:
        self._structs: dict[object, schema.Struct] = {}

    def node(self, tp: object) -> Node:
        while isinstance(tp, NewType):
            tp = tp.__supertype__
        if tp in _PLAIN:
            return _PLAIN[tp]
        if tp is int:
            raise SchemaError(f"a plain int has no width; {_INT_HINT}")
        origin, args = get_origin(tp), get_args(tp)
        if origin is Annotated:
            return self._annotated(args[0], args[1:])
        if origin in (typing.Union, types.UnionType):
            return self._union(args)
        if origin in (list, tuple, set, frozenset, dict):
            return self._collection(typing.cast(type, origin), args)
        if isinstance(tp, type) and issubclass(tp, enum.Enum):
            return _enum(tp)
        cls = origin or tp
        if isinstance(cls, type) and (issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls)):
            return self._struct(tp, cls)
        raise SchemaError(f"{_name(tp)} has no encoding")

    def _annotated(self, tp: object, marks: tuple[object, ...]) -> Node:
        for mark in marks:
            if get_origin(mark) is Annotated and get_args(mark)[0] is tp:
                return self._annotated(tp, get_args(mark)[1:])
            if isinstance(mark, IntWidth) and tp is int:
                return schema.Int(mark.bits, mark.signed)
            if isinstance(mark, FixedSize) and tp is bytes:
                return _fixed(mark.size)
            if isinstance(mark, InPlace):
                return schema.Bytes(in_place=True)
            if isinstance(mark, msgspec.Meta):
                raise SchemaError(f"constraints of msgspec.Meta on {_name(tp)} would not be kept")
        return self.node(tp)

    def _union(self, args: tuple[object, ...]) -> Node:
        members = [arg for arg in args if arg is not type(None)]
        item = self.node(members[0]) if len(members) == 1 else self._tagged([self.node(arg) for arg in members])
        return item if len(members) == len(args) else schema.Optional(item)

    def _tagged(self, nodes: list[Node]) -> schema.Union:
        members: dict[int | str, schema.Struct] = {}
        for node in nodes:
            if not isinstance(node, schema.Struct) or node.tag is None:
                raise SchemaError("only Structs with a tag can be in a union")
            if members.setdefault(node.tag, node) is not node:
                raise SchemaError(f"{node.name} and {members[node.tag].name} have the same tag {node.tag!r}")
        if len({type(tag) for tag in members}) > 1:
            raise SchemaError("the tags of a union are all ints or all strings")
        return schema.Union(members)

    def _collection(self, origin: type, args: tuple[Any, ...]) -> Node:
        if origin is dict:
            return schema.Dict(self.node(args[0]), self.node(args[1]))
        if origin is tuple and args[-1:] != (Ellipsis,):
            fields = (schema.Field(f"[{i}]", self.node(arg), False) for i, arg in enumerate(args))
            return schema.Struct(tuple, tuple(fields))
        item = self.node(args[0])
        return schema.List(item, origin) if origin in (list, tuple) else schema.Set(item, origin)

    def _struct(self, tp: object, cls: type) -> schema.Struct:
        if tp in self._structs:
            return self._structs[tp]
        struct = self._structs[tp] = schema.Struct(cls, tag=_tag(cls))
        try:
            hints = _field_types(tp, cls)
        except (NameError, TypeError) as error:
            raise SchemaError(f"the annotations of {_name(tp)} cannot be read: {error}") from error
        struct.fields = tuple(self._field(struct, name, hint) for name, hint in hints)
        return struct

    def _field(self, struct: schema.Struct, name: str, hint: object) -> schema.Field:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise SchemaError(f"{struct.name} has a field that is no name: {name!r}")
        try:
            return schema.Field(name, self.node(hint), name in _keyword_only(struct.cls))
        except SchemaError as error:
            raise SchemaError(f"{struct.name}.{name}: {error}") from error


def _field_types(tp: object, cls: type) -> list[tuple[str, object]]:
    if issubclass(cls, msgspec.Struct):
        return [(field.name, field.type) for field in msgspec.structs.fields(typing.cast(Any, tp))]
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = dataclasses.fields(typing.cast(Any, cls))
    if not all(field.init for field in fields):
        raise SchemaError(f"{_name(tp)} has fields that its constructor does not take")
    return [(field.name, hints[field.name]) for field in fields]


@cache
def _keyword_only(cls: Callable[..., object]) -> frozenset[str]:
    parameters = inspect.signature(cls).parameters.values()
    return frozenset(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def _tag(cls: type) -> int | str | None:
    if not issubclass(cls, msgspec.Struct):
        return None
    tag = cls.__struct_config__.tag
    if isinstance(tag, int) and not 0 <= tag <= schema.MAX_TAG:
        raise SchemaError(f"the tag {tag} of {_name(cls)} is not in 0..{schema.MAX_TAG}")
    return tag


def _fixed(size: object) -> schema.FixedBytes:
    if type(size) is not int or size < 1:
        raise SchemaError(f"Fixed takes a positive number of bytes, not {size!r}")
    return schema.FixedBytes(size)


def _enum(cls: type[enum.Enum]) -> schema.Closed:
    if issubclass(cls, enum.Flag):
        raise SchemaError(f"{_name(cls)} is a Flag, whose values are open; use an int of stated width")
    if not 1 <= len(cls) <= schema.MAX_TAG + 1:
        raise SchemaError(f"{_name(cls)} has {len(cls)} members; an enum of 1 to 256 fits")
    return schema.closed_enum(cls)


def _check(node: Node, seen: set[int], open_structs: tuple[schema.Struct, ...] = ()) -> None:
    """Mark the structs that contain themselves, and refuse what cannot be encoded or rebuilt."""
    if isinstance(node, schema.Struct):
        if node in open_structs:
            for struct in open_structs[open_structs.index(node) :]:
                struct.recursive = True
            return
        if schema.min_size(node) >= schema.ENDLESS:
            raise SchemaError(f"{node.name} contains itself without end")
        open_structs = (*open_structs, node)
    for child in schema.children(node):
        _check(child, seen, open_structs)
    if isinstance(node, schema.List | schema.Set | schema.Dict) and id(node) not in seen:
        seen.add(id(node))
        _check_items(node)


def _check_items(node: schema.List | schema.Set | schema.Dict) -> None:
    item = node.key if isinstance(node, schema.Dict) else node.item
    if schema.min_size(item) == 0:
        raise SchemaError("the items of a collection must take at least one byte each")
    if not isinstance(node, schema.List) and not schema.hashable(item):
        raise SchemaError("the items of a set and the keys of a dict must be hashable by value")


def _name(tp: object) -> str:
    return tp.__qualname__ if isinstance(tp, type) else str(tp)
